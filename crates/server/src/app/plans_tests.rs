//! Plans as the server makes and keeps them, and what people do to rollouts: in a whole server with hosts beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use watchpost_core::id::SensorId;
use watchpost_core::rehearsal::{LIVE_UPDATE_TAKES, RolloutPlan};
use watchpost_core::sync::{Report, UpdateProgress};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::*;
use crate::lifecycle::Running;
use crate::testing::{A, Answer, B, House, T0, proven, running};

const MINUTE: Duration = Duration::from_secs(60);

/// A host that takes what a plan assumes: it fetches for as long, then runs it and proves it.
struct Host {
    id: SensorId,
    report: Report,
    arrives: Option<(Timestamp, Version, u64)>,
}

impl Host {
    async fn enrol(house: &House, app: &App, number: u8, is_delayed: bool) -> Self {
        // One after another, so that the order of enrolment is the order of their turns.
        house.clock.set(house.clock.now() + Duration::from_millis(1));
        let id = house.host(app, number, is_delayed, A).await;
        Self { id, report: running(A), arrives: None }
    }

    /// Checks in, once the planner has looked at what everybody said, and hears what follows from it.
    async fn hear(&mut self, app: &App, now: Timestamp) {
        let desired = app.check_in(self.id, self.report.clone(), now).await.unwrap().desired;
        self.report.generation = desired.generation;
        if desired.cleared {
            self.report.update = UpdateProgress::Idle;
        } else if let Some(version) = desired.version.filter(|version| Some(*version) != self.report.version) {
            self.arrives = self.arrives.or(Some((now + LIVE_UPDATE_TAKES, version, desired.generation)));
        }
    }

    fn switch(&mut self, now: Timestamp) {
        if let Some((at, version, generation)) = self.arrives.take_if(|(at, ..)| *at <= now) {
            let update = UpdateProgress::AwaitingClearance { version, switched_at: at };
            self.report = Report { update, ..proven(version, generation, at) };
        }
    }
}

/// Lets a minute pass on every host.
async fn minute(house: &House, app: &App, hosts: &mut [Host]) {
    let now = house.clock.now() + MINUTE;
    house.clock.set(now);
    for host in hosts.iter_mut() {
        host.switch(now);
        app.check_in(host.id, host.report.clone(), now).await.unwrap();
    }
    app.plan().await.unwrap();
    for host in hosts.iter_mut() {
        host.hear(app, now).await;
    }
}

async fn get(house: &House, server: &Running, path: &str) -> Answer {
    house.call(server, Method::GET, &format!("/api/v1/{path}"), b"").await
}

async fn post(house: &House, server: &Running, path: &str, body: &Value) -> Answer {
    house.call(server, Method::POST, &format!("/api/v1/{path}"), body.to_string().as_bytes()).await
}

async fn publish_held(house: &mut House, server: &Running, version: Version) {
    let package = house.package(version, "canary");
    let bytes = std::fs::read(&package).unwrap();
    assert_eq!(house.call(server, Method::POST, "/api/v1/packages", &bytes).await.status, StatusCode::CREATED);
    let mut body = house.publication(&package);
    body["hold"] = json!(true);
    let published = post(house, server, "releases", &body).await;
    assert_eq!(published.status, StatusCode::CREATED);
    assert_eq!(published.json()["state"], "paused");
}

async fn plan_of(house: &House, server: &Running, path: &str) -> RolloutPlan {
    let answer = get(house, server, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_value(answer.json()).unwrap()
}

/// When each sensor was started and cleared, as the timeline has it.
async fn ran(app: &App) -> BTreeMap<String, (Option<Timestamp>, Option<Timestamp>)> {
    let mut ran = BTreeMap::new();
    for row in app.timeline(B).await.unwrap() {
        let Some(name) = row.sensor_name else { continue };
        let entry: &mut (Option<Timestamp>, Option<Timestamp>) = ran.entry(name).or_default();
        match row.event.what.word() {
            "started" => entry.0 = Some(row.event.at),
            "cleared" => entry.1 = Some(row.event.at),
            _ => {}
        }
    }
    ran
}

#[tokio::test]
async fn the_plan_is_stated_before_the_rollout_starts_and_is_what_runs() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.publish(&server, A).await;
    let mut hosts = Vec::new();
    for number in 1..=4 {
        hosts.push(Host::enrol(&house, &app, number, number == 4).await);
    }
    // From here on everybody checks in at the same instant of every minute.
    house.clock.set(T0);
    minute(&house, &app, &mut hosts).await;
    publish_held(&mut house, &server, B).await;
    let first = plan_of(&house, &server, "rollouts/2.255.1.0/plan").await;
    assert_eq!((first.generation, first.assumes.is_resumed, first.steps.len()), (1, false, 4));
    for _ in 0..3 {
        minute(&house, &app, &mut hosts).await;
    }
    assert!(ran(&app).await.is_empty(), "a held release starts nowhere");

    let started = post(&house, &server, "rollouts/2.255.1.0/start", &json!({ "reason": "read the plan" })).await;
    assert_eq!(started.status, StatusCode::OK, "{}", String::from_utf8_lossy(&started.body));
    let plan = plan_of(&house, &server, "rollouts/2.255.1.0/plan").await;
    assert_eq!((plan.generation, plan.made_at), (2, T0 + MINUTE * 4));
    let names: Vec<_> = plan.steps.iter().map(|step| step.sensor.as_str()).collect();
    assert_eq!(names, ["DC01", "DC02", "DC03", "DC04"]);
    assert_eq!(plan.steps[3].starts_at, first.published_at + Duration::from_secs(72 * 3_600));

    app.plan().await.unwrap();
    for host in &mut hosts {
        host.hear(&app, house.clock.now()).await;
    }
    while house.clock.now() < T0 + MINUTE * 20 {
        minute(&house, &app, &mut hosts).await;
    }
    // The days until the gate opens are uneventful; the last check-in before it is a minute before.
    house.clock.set(plan.steps[3].starts_at - MINUTE * 2);
    for _ in 0..5 {
        minute(&house, &app, &mut hosts).await;
    }
    let shown: BTreeMap<_, _> =
        plan.steps.iter().map(|step| (step.sensor.clone(), (Some(step.starts_at), step.cleared_at))).collect();
    assert_eq!(ran(&app).await, shown);
    assert_eq!(plan.ends_at, plan.steps[3].cleared_at);

    // It is what it was, also after a restart and after everything has happened; so is the one before it.
    server.stop().await.unwrap();
    let server = house.start().await;
    assert_eq!(plan_of(&house, &server, "rollouts/2.255.1.0/plan").await, plan);
    assert_eq!(plan_of(&house, &server, "rollouts/2.255.1.0/plan?generation=1").await, first);
    assert_eq!(get(&house, &server, "rollouts/2.255.1.0/plan?generation=3").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_rehearsal_of_the_living_fleet_changes_nothing_and_takes_other_settings() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.publish(&server, A).await;
    for number in 1..=3 {
        Host::enrol(&house, &app, number, false).await;
    }
    app.plan().await.unwrap();
    let before = app.fleet_ref(|fleet| (fleet.sensors.clone(), fleet.planner.clone(), fleet.catalogue.clone()));
    let wanted = json!({ "version": "2.255.1.0", "bytes": 1000 });
    let plan: RolloutPlan = serde_json::from_value(post(&house, &server, "rehearsals", &wanted).await.json()).unwrap();
    assert_eq!((plan.generation, plan.steps.len(), plan.bytes), (0, 3, 3_000));
    let settings = json!({ "coverage": { "hq/core": 3 } });
    let wanted = json!({ "version": "2.255.1.0", "settings": settings });
    let plan: RolloutPlan = serde_json::from_value(post(&house, &server, "rehearsals", &wanted).await.json()).unwrap();
    let reasons: Vec<_> = plan.skipped.iter().map(|row| row.reason.as_str()).collect();
    assert_eq!((plan.ends_at, reasons), (None, vec!["coverage"; 3]));
    let after = app.fleet_ref(|fleet| (fleet.sensors.clone(), fleet.planner.clone(), fleet.catalogue.clone()));
    assert_eq!(after, before);
    for bad in [json!({ "maxInFlight": 0 }), json!({ "coverage": { "core": 1 } })] {
        let wanted = json!({ "version": "2.255.1.0", "settings": bad });
        assert_eq!(post(&house, &server, "rehearsals", &wanted).await.code(), "badSettings");
    }
}

#[tokio::test]
async fn coverage_that_is_set_holds_from_the_next_look_on_and_after_a_restart() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.publish(&server, A).await;
    let host = Host::enrol(&house, &app, 1, false).await;
    let set = json!({ "settings": { "coverage": { "hq/core": 1 } }, "reason": "one is all there is" });
    let path = "/api/v1/rollout-settings";
    let answer = house.call(&server, Method::PATCH, path, set.to_string().as_bytes()).await;
    assert_eq!(answer.json(), json!({ "maxInFlight": null, "restartForMajor": "off", "coverage": { "hq/core": 1 } }));
    house.publish(&server, B).await;
    app.plan().await.unwrap();
    let waits = |app: &App| app.sensor("DC01", app.clock().now()).unwrap().0.waiting_for.unwrap();
    assert_eq!(waits(&app), "its turn: skipped for now (coverage)");
    server.stop().await.unwrap();
    let server = house.start().await;
    let app = server.app().clone();
    app.check_in(host.id, running(A), house.clock.now()).await.unwrap();
    app.plan().await.unwrap();
    assert_eq!(waits(&app), "its turn: skipped for now (coverage)");
    let set = json!({ "settings": { "coverage": {}, "maxInFlight": 2 } });
    house.call(&server, Method::PATCH, path, set.to_string().as_bytes()).await;
    app.plan().await.unwrap();
    assert!(waits(&app).starts_with("the host to fetch"), "{}", waits(&app));
}

#[tokio::test]
async fn who_is_excluded_is_passed_over_until_a_retry_and_an_aborted_rollout_reaches_nobody() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.publish(&server, A).await;
    Host::enrol(&house, &app, 1, false).await;
    publish_held(&mut house, &server, B).await;
    let order = json!({ "sensor": "dc01", "reason": "a change freeze there" });
    assert_eq!(post(&house, &server, "rollouts/2.255.1.0/exclude", &order).await.status, StatusCode::OK);
    assert_eq!(post(&house, &server, "rollouts/2.255.1.0/start", &json!({})).await.status, StatusCode::OK);
    app.plan().await.unwrap();
    let plan = plan_of(&house, &server, "rollouts/2.255.1.0/plan").await;
    assert_eq!((plan.steps.len(), plan.skipped[0].reason.as_str()), (0, "excluded"));
    assert_eq!(post(&house, &server, "rollouts/2.255.1.0/retry", &order).await.status, StatusCode::OK);
    assert_eq!(post(&house, &server, "rollouts/2.255.1.0/retry", &order).await.code(), "wrongState");
    app.plan().await.unwrap();
    assert_eq!(app.rollout_view(B, T0).unwrap().summary.in_flight, 1);
    let unknown = json!({ "sensor": "DC99" });
    assert_eq!(post(&house, &server, "rollouts/2.255.1.0/exclude", &unknown).await.status, StatusCode::NOT_FOUND);
    let aborted = post(&house, &server, "rollouts/2.255.1.0/abort", &json!({})).await;
    assert_eq!(aborted.json()["state"], "aborted");
    assert_eq!(post(&house, &server, "rollouts/2.255.1.0/start", &json!({})).await.code(), "wrongState");
}

#[tokio::test]
async fn a_pulled_back_release_is_handed_to_nobody_also_after_a_restart() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.publish(&server, A).await;
    Host::enrol(&house, &app, 1, false).await;
    publish_held(&mut house, &server, B).await;
    let pulled = post(&house, &server, "releases/2.255.1.0/pull-back", &json!({ "reason": "it loses packets" })).await;
    assert!(pulled.json()["pulledBackDateTime"].is_string());
    post(&house, &server, "rollouts/2.255.1.0/start", &json!({})).await;
    app.plan().await.unwrap();
    assert_eq!(app.rollout_view(B, T0).unwrap().summary.in_flight, 0);
    server.stop().await.unwrap();
    let server = house.start().await;
    server.app().plan().await.unwrap();
    assert!(server.app().release(B).unwrap().pulled_back_at.is_some());
    assert_eq!(server.app().rollout_view(B, T0).unwrap().summary.in_flight, 0);
    assert_eq!(post(&house, &server, "releases/9.9.9.9/pull-back", &json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_new_enrolment_never_gets_a_halted_version() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.publish(&server, A).await;
    app.plan().await.unwrap();
    let mut hosts = Vec::new();
    for number in 1..=3 {
        hosts.push(Host::enrol(&house, &app, number, false).await);
    }
    house.publish(&server, B).await;
    // Two go back: a ring of three bears one failure.
    for host in &hosts[..2] {
        app.plan().await.unwrap();
        let now = house.clock.now();
        let wanted = app.check_in(host.id, running(A), now).await.unwrap().desired;
        assert_eq!(wanted.version, Some(B));
        let reason = "it does not detect".to_owned();
        let update = UpdateProgress::Failed { version: B, reverted: true, reason, at: now };
        let report = Report { update, generation: wanted.generation, ..running(A) };
        app.check_in(host.id, report, now).await.unwrap();
    }
    app.plan().await.unwrap();
    assert_eq!(app.rollout_view(B, T0).unwrap().rollout.state.word(), "halted");
    let request = house.enrolment("DC09", false);
    let id = app.enroll(request, [9; 32], house.clock.now()).await.unwrap().sensor;
    app.check_in(id, Report::default(), house.clock.now()).await.unwrap();
    app.plan().await.unwrap();
    let desired = app.check_in(id, Report::default(), house.clock.now()).await.unwrap().desired;
    assert_eq!(desired.version, Some(A), "what others have completed, not what halted");
}
