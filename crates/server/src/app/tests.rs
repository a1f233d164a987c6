//! The control plane's main job without hosts: enrol, publish, one after another, clearance, restart.

use std::time::Duration;

use http::{Method, StatusCode};
use watchpost_core::id::SensorId;
use watchpost_core::sensor::SensorStatus;
use watchpost_core::sync::{Desired, UpdateProgress};

use super::enrollment::{EnrollRefused, EnrollRequest};
use super::releases::Begin;
use super::rollouts::Steer;
use super::sensors::CheckInRefused;
use super::*;
use crate::auth::access::{Action, Principal};
use crate::testing::{A, B, House, T0, proven, running, until};

const MINUTE: Duration = Duration::from_secs(60);

async fn desired(app: &App, id: SensorId) -> Desired {
    let report = app.with_sensors(|sensors| sensors.clone().find(|s| s.id == id).unwrap().report.clone());
    app.check_in(id, report, app.clock().now()).await.unwrap().desired
}

/// The words of the audit log, oldest first.
async fn audited(app: &App) -> Vec<String> {
    let rows = app.audit_log(0, 100).await.unwrap();
    rows.iter().rev().map(|row| row.entry.action.clone()).collect()
}

fn status(app: &App, name: &str) -> SensorStatus {
    app.sensor(name, app.clock().now()).unwrap().0.status.value
}

#[tokio::test]
async fn an_unchanged_check_in_runs_no_sql_and_a_changed_one_is_durable_first() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    let id = house.host(&app, 1, false, A).await;
    until("the planner is done", || app.fleet_ref(|fleet| fleet.changes() > 0)).await;
    app.plan().await.unwrap();
    app.write_behind().await.unwrap();
    let before = app.statements();
    for second in 1..=100 {
        let reply = app.check_in(id, running(A), T0 + Duration::from_secs(second)).await.unwrap();
        let wait = reply.come_back_after;
        assert!(wait >= MINUTE * 9 / 10 && wait <= MINUTE * 11 / 10, "{wait:?} is not 60 s ± 10 %");
    }
    assert_eq!(app.statements() - before, 0, "an unchanged check-in ran SQL");
    let mut changed = running(A);
    changed.alert_count = 1;
    app.check_in(id, changed, T0 + MINUTE).await.unwrap();
    assert!(app.statements() > before);
    let before = app.statements();
    app.check_in(
        id,
        {
            let mut same = running(A);
            same.alert_count = 1;
            same
        },
        T0 + MINUTE,
    )
    .await
    .unwrap();
    app.write_behind().await.unwrap();
    assert_eq!(app.statements() - before, 1, "last contacts are written behind in one statement");
    assert!(matches!(
        app.check_in(SensorId::from_parts(T0, 99), running(A), T0).await.unwrap_err(),
        CheckInRefused::Unknown
    ));
}

#[tokio::test]
async fn enrolment_is_idempotent_and_refuses_strangers_and_replays() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let request = house.enrolment("DC01", false);
    let first = app.enroll(request.clone(), [1; 32], T0).await.unwrap().sensor;
    assert_eq!(app.enroll(request.clone(), [1; 32], T0).await.unwrap().sensor, first);
    assert_eq!(app.sensor_by_pin(&[1; 32]), Some(first));
    let refused = app.enroll(request.clone(), [2; 32], T0).await.unwrap_err();
    assert!(matches!(refused, EnrollRefused::Replayed), "{refused}");
    let mut other = house.enrolment("DC02", false);
    let refused = app.enroll(other.clone(), [1; 32], T0).await.unwrap_err();
    assert!(matches!(refused, EnrollRefused::PinInUse), "{refused}");
    other.secret = "A".repeat(43);
    let refused = app.enroll(other, [2; 32], T0).await.unwrap_err();
    assert!(matches!(refused, EnrollRefused::UnknownAccessKey), "{refused}");
    type Spoil = fn(&mut EnrollRequest);
    let spoils: [(&str, Spoil); 4] = [
        ("name", |r| r.name = "DC\u{1b}".into()),
        ("sensorType", |r| r.sensor_type = "toaster".into()),
        ("domain", |r| r.domain = "corp example".into()),
        ("zone", |r| r.zone = "a/b".into()),
    ];
    for (field, spoil) in spoils {
        let mut bad = house.enrolment("DC03", false);
        spoil(&mut bad);
        let refused = app.enroll(bad, [3; 32], T0).await.unwrap_err();
        assert!(matches!(refused, EnrollRefused::Invalid { field: f, .. } if f == field), "{refused}");
    }
    assert_eq!(app.sensor_count(), 1);
    assert_eq!(audited(app).await, ["server.init", "zone.create", "sensor.enrol"]);
}

#[tokio::test]
async fn a_release_reaches_one_sensor_after_another_and_the_delayed_one_after_72_hours() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    assert_eq!(house.publish(&server, A).await.status, StatusCode::CREATED);
    // Turns are taken in the order of enrolment.
    let one = house.host(&app, 1, false, A).await;
    house.clock.set(T0 + Duration::from_millis(1));
    let two = house.host(&app, 2, false, A).await;
    let late = house.host(&app, 3, true, A).await;
    assert_eq!(house.publish(&server, B).await.status, StatusCode::CREATED);
    until("the first is started", || status(&app, "DC01") == SensorStatus::Updating).await;
    let wanted = desired(&app, one).await;
    assert_eq!((wanted.version, wanted.cleared), (Some(B), false));
    assert_eq!(wanted.target.unwrap().name, format!("sensor-{B}-6.cab"));
    assert_ne!(desired(&app, two).await.version, Some(B), "one after another");

    house.clock.set(T0 + MINUTE);
    let mut switched = proven(B, wanted.generation, T0 + MINUTE);
    switched.update = UpdateProgress::AwaitingClearance { version: B, switched_at: T0 + MINUTE };
    app.check_in(one, switched, T0 + MINUTE).await.unwrap();
    until("the second is started", || status(&app, "DC02") == SensorStatus::Updating).await;
    assert!(desired(&app, one).await.cleared);
    let second = desired(&app, two).await;
    app.check_in(two, proven(B, second.generation, T0 + MINUTE), T0 + MINUTE).await.unwrap();
    until("both are cleared", || app.rollout_view(B, T0).unwrap().summary.cleared == 2).await;

    let view = app.rollout_view(B, app.clock().now()).unwrap();
    assert_eq!((view.summary.pending, view.rollout.peak_in_flight), (1, 1));
    let opens = view.published_at.unwrap() + Duration::from_secs(72 * 3600);
    assert_eq!(view.waiting_for.unwrap(), format!("the delayed ring, which opens at {opens}"));
    let before = opens - MINUTE;
    house.clock.set(before);
    app.check_in(late, running(A), before).await.unwrap();
    app.plan().await.unwrap();
    assert_ne!(desired(&app, late).await.version, Some(B));
    house.clock.set(opens);
    until("the delayed one is started", || status(&app, "DC03") == SensorStatus::Updating).await;

    let events = app.timeline(B).await.unwrap();
    let words: Vec<_> = events
        .iter()
        .map(|row| format!("{} {}", row.sensor_name.as_deref().unwrap_or("-"), row.event.what.word()))
        .collect();
    assert_eq!(
        words,
        [
            "- planned",
            "- started",
            "DC01 started",
            "DC01 switched",
            "DC01 cleared",
            "DC02 started",
            "DC02 cleared",
            "DC03 started"
        ]
    );
}

#[tokio::test]
async fn a_server_that_starts_again_knows_what_it_knew() {
    let mut house = House::new().await;
    let server = house.start().await;
    assert_eq!(house.publish(&server, A).await.status, StatusCode::CREATED);
    let app = server.app().clone();
    house.host(&app, 1, false, A).await;
    let mut ill = running(A);
    ill.conditions.insert("someNetworkTrafficNotAnalyzed".into());
    let id = house.host(&app, 2, true, A).await;
    app.check_in(id, ill, T0).await.unwrap();
    until("an issue is opened", || !app.health_issues().is_empty()).await;
    app.plan().await.unwrap();
    let picture = |app: &App| {
        let fleet: Vec<_> =
            app.fleet_ref(|fleet| (fleet.sensors.clone(), fleet.planner.rollouts.clone())).0.into_values().collect();
        (fleet, app.rollouts_view(T0), app.health_issues(), app.releases(), app.tokens())
    };
    let before = picture(&app);
    let refused = house.try_start().await.err().unwrap();
    assert!(
        std::error::Error::source(&refused).unwrap().to_string().contains("another server already runs"),
        "{refused}"
    );
    server.stop().await.unwrap();
    let again = house.start().await;
    assert_eq!(picture(again.app()), before);
}

#[tokio::test]
async fn every_change_of_a_person_leaves_an_audit_row_in_its_own_transaction() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    house.publish(&server, A).await;
    house.host(app, 1, false, A).await;
    house.publish(&server, B).await;
    until("the first is started", || status(app, "DC01") == SensorStatus::Updating).await;
    let console = Principal::console();
    app.steer(&console, B, Steer::Pause, Some("change freeze".to_owned())).await.unwrap();
    assert!(app.steer(&console, B, Steer::Pause, None).await.is_err(), "it is paused already");
    app.steer(&console, B, Steer::Resume, None).await.unwrap();
    let role = crate::auth::access::Role::Viewer;
    let (token, _) = app.create_token(&console, "ci", role, &[Action::ReadFleet], None).await.unwrap();
    app.revoke_token(&console, token.id).await.unwrap();
    let secret = house.founded.sign_in_secret.reveal().to_owned();
    let reference = app.sign_in(&secret, [127, 0, 0, 1].into()).await.unwrap();
    let visitor = app.session_visitor(reference.reveal()).unwrap();
    app.sign_out(&visitor.principal).await.unwrap();
    assert!(app.session_visitor(reference.reveal()).is_none());
    let of_people: Vec<_> = audited(app)
        .await
        .into_iter()
        .filter(|word| !word.starts_with("rollout.c") && word != "rollout.started")
        .collect();
    assert_eq!(
        of_people,
        [
            "server.init",
            "release.publish",
            "zone.create",
            "sensor.enrol",
            "release.publish",
            "rollout.pause",
            "rollout.resume",
            "token.create",
            "token.revoke",
            "session.open",
            "session.close"
        ]
    );
    let rows = app.audit_log(0, 100).await.unwrap();
    let pause = rows.iter().find(|row| row.entry.action == "rollout.pause").unwrap();
    assert_eq!(pause.entry.reason.as_deref(), Some("change freeze"));
    assert_eq!(pause.entry.after, Some(serde_json::json!({ "state": "paused" })));
}

#[tokio::test]
async fn a_session_ends_after_30_idle_minutes_and_after_12_hours() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let peer = [127, 0, 0, 1].into();
    let secret = house.founded.sign_in_secret.reveal().to_owned();
    let reference = app.sign_in(&secret, peer).await.unwrap();
    assert!(app.sign_in(&secret, peer).await.is_err(), "it works once");
    let mut at = T0;
    for _ in 0..24 {
        at = at + MINUTE * 29;
        house.clock.set(at);
        assert!(app.session_visitor(reference.reveal()).is_some(), "{at}");
    }
    house.clock.set(T0 + Duration::from_secs(12 * 3600));
    assert!(app.session_visitor(reference.reveal()).is_none(), "12 hours are over");
    app.tidy_sessions().await.unwrap();

    let settings = house.settings();
    let (_, secret) = crate::founding::new_sign_in_secret(&settings, &house.clock).await.unwrap();
    let reference = app.sign_in(secret.reveal(), peer).await.unwrap();
    house.clock.set(house.clock.now() + MINUTE * 30);
    assert!(app.session_visitor(reference.reveal()).is_none(), "30 idle minutes are over");
    for _ in 0..5 {
        assert!(app.sign_in("guess", peer).await.is_err());
    }
    let refused = app.sign_in("guess", peer).await.unwrap_err();
    assert!(matches!(refused, accounts::SignInRefused::TooMany(_)), "{refused}");
}

#[tokio::test]
async fn the_same_release_published_by_two_at_once_is_one_release() {
    let mut house = House::new().await;
    let server = house.start().await;
    let package = house.package(A, "canary");
    let bytes = std::fs::read(&package).unwrap();
    assert_eq!(house.call(&server, Method::POST, "/api/v1/packages", &bytes).await.status, StatusCode::CREATED);
    let (app, console) = (server.app(), Principal::console());
    let name = package.file_name().unwrap().to_str().unwrap();
    let (one, two) = tokio::join!(
        app.publish(&console, house.metadata(), name, Begin::AtOnce, None),
        app.publish(&console, house.metadata(), name, Begin::AtOnce, None)
    );
    let mut were_there = [one.unwrap().was_there, two.unwrap().was_there];
    were_there.sort_unstable();
    assert_eq!(were_there, [false, true]);
    assert_eq!(app.releases().len(), 1);
    assert_eq!(audited(app).await.iter().filter(|word| *word == "release.publish").count(), 1);
}

#[tokio::test]
async fn a_pause_while_a_release_is_handed_out_stops_the_next_and_lets_the_one_in_flight_end() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    assert_eq!(house.publish(&server, A).await.status, StatusCode::CREATED);
    let one = house.host(&app, 1, false, A).await;
    house.clock.set(T0 + Duration::from_millis(1));
    let two = house.host(&app, 2, false, A).await;
    assert_eq!(house.publish(&server, B).await.status, StatusCode::CREATED);
    until("the first is started", || status(&app, "DC01") == SensorStatus::Updating).await;
    let wanted = desired(&app, one).await;
    // Both ask at the same moment: a person to pause, the host for its clearance.
    let (console, report) = (Principal::console(), proven(B, wanted.generation, T0 + MINUTE));
    house.clock.set(T0 + MINUTE);
    let (paused, heard) =
        tokio::join!(app.steer(&console, B, Steer::Pause, None), app.check_in(one, report, T0 + MINUTE));
    assert_eq!(paused.unwrap().rollout.state.word(), "paused");
    heard.unwrap();
    until("the one in flight is cleared", || app.rollout_view(B, T0 + MINUTE).unwrap().summary.cleared == 1).await;
    app.plan().await.unwrap();
    assert!(desired(&app, one).await.cleared);
    assert_ne!(desired(&app, two).await.version, Some(B), "a paused rollout was handed out");
    app.steer(&console, B, Steer::Resume, None).await.unwrap();
    until("the second is started", || status(&app, "DC02") == SensorStatus::Updating).await;
}

#[tokio::test]
async fn what_the_server_keeps_is_for_its_owner_alone_even_in_a_folder_that_others_may_enter() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("shared");
    std::fs::create_dir(&data_dir).unwrap();
    std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let plan = crate::founding::Plan { data_dir: data_dir.clone(), image_root: None, portal: any, gateway: any };
    let founded = crate::founding::found(plan, &Clock::fixed(T0)).await.unwrap();
    let settings = crate::config::Settings::read(&founded.config).unwrap();
    let server = crate::lifecycle::Server::start(settings, Clock::fixed(T0)).await.unwrap();
    for entry in std::fs::read_dir(&data_dir).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
    }
    server.stop().await.unwrap();
}
