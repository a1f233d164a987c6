//! Rule packages on the control plane: published, offered, braked, pulled back, pushed.

use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use watchpost_core::content::{RulesFailure, RulesReport};
use watchpost_core::sync::Report;

use super::*;
use crate::lifecycle::Running;
use crate::testing::{A, Answer, House, T0, running};

fn build(day: u64) -> Timestamp {
    T0 - Duration::from_secs(30 * 86_400) + Duration::from_secs(day * 86_400)
}

async fn send(house: &House, server: &Running, package: &Path, path: &str) -> Answer {
    let bytes = std::fs::read(package).unwrap();
    let uploaded = house.call(server, Method::POST, "/api/v1/packages", &bytes).await;
    assert_eq!(uploaded.status, StatusCode::CREATED);
    let body = house.publication(package).to_string();
    house.call(server, Method::POST, path, body.as_bytes()).await
}

async fn post(house: &House, server: &Running, path: &str, body: Value) -> Answer {
    house.call(server, Method::POST, &format!("/api/v1/{path}"), body.to_string().as_bytes()).await
}

fn with(rules: RulesReport) -> Report {
    Report { rules, ..running(A) }
}

async fn offered(app: &App, number: u8, rules: RulesReport) -> Option<Timestamp> {
    let id = app.sensor_by_pin(&[number; 32]).unwrap();
    app.check_in(id, with(rules), app.clock().now()).await.unwrap().desired.rules.map(|rules| rules.build)
}

fn failed(day: u64) -> RulesReport {
    let failure = RulesFailure { build: build(day), reason: "sigma refused 1 rules".to_owned(), at: T0 };
    RulesReport { failed: Some(failure), bad: [build(day)].into(), ..RulesReport::default() }
}

#[tokio::test]
async fn a_package_is_published_offered_and_shown_with_what_the_engines_say() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.host(&app, 1, false, A).await;
    assert_eq!(offered(&app, 1, RulesReport::default()).await, None);
    let package = house.rules(build(1));
    let answer = send(&house, &server, &package, "/api/v1/rule-packages").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!((&answer.json()["build"], &answer.json()["state"]), (&json!(build(1)), &json!("offered")));
    let again = send(&house, &server, &package, "/api/v1/rule-packages").await;
    assert_eq!(again.status, StatusCode::OK, "the same again changes nothing");
    assert_eq!(offered(&app, 1, RulesReport::default()).await, Some(build(1)));
    let loaded = RulesReport { build: Some(build(1)), ..RulesReport::default() };
    offered(&app, 1, loaded.clone()).await;
    let before = app.statements();
    assert_eq!(offered(&app, 1, loaded).await, Some(build(1)));
    assert_eq!(app.statements(), before, "an unchanged check-in ran SQL");
    let shown = house.call(&server, Method::GET, "/api/v1/sensors/DC01", b"").await.json();
    assert_eq!((&shown["rulesStatus"], &shown["rulesMode"]), (&json!("ok"), &json!("automatic")));
    assert_eq!(shown["rulesBuild"], json!(build(1)));
    let list = house.call(&server, Method::GET, "/api/v1/rule-packages", b"").await.json();
    assert_eq!((&list["value"][0]["loadedCount"], &list["value"][0]["failedCount"]), (&json!(1), &json!(0)));
    drop(server);
    let server = house.start().await;
    assert_eq!(server.app().rule_packages().len(), 1, "it is there after a restart");
}

#[tokio::test]
async fn a_sensor_is_no_rule_package_and_a_rule_package_no_release() {
    let mut house = House::new().await;
    let server = house.start().await;
    let (rules, sensor) = (house.rules(build(1)), house.package(A, "canary"));
    let answer = send(&house, &server, &rules, "/api/v1/releases").await;
    assert_eq!((answer.status.is_client_error(), answer.code().as_str()), (true, "notARelease"));
    let answer = send(&house, &server, &sensor, "/api/v1/rule-packages").await;
    assert_eq!((answer.status.is_client_error(), answer.code().as_str()), (true, "notARulePackage"));
    assert!(server.app().rule_packages().is_empty() && server.app().releases().is_empty());
}

#[tokio::test]
async fn a_build_that_failed_goes_to_no_further_sensor_until_it_is_pushed() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.host(&app, 1, false, A).await;
    house.host(&app, 2, false, A).await;
    for day in [1, 2] {
        let package = house.rules(build(day));
        send(&house, &server, &package, "/api/v1/rule-packages").await;
    }
    // One of two is more than 2 %.
    assert_eq!(offered(&app, 1, failed(2)).await, Some(build(1)), "not what failed there");
    assert_eq!(offered(&app, 2, RulesReport::default()).await, Some(build(1)));
    let shown = house.call(&server, Method::GET, "/api/v1/sensors/DC01", b"").await.json();
    assert_eq!(shown["rulesStatus"], json!("failed"));
    assert!(shown["why"]["rulesStatus"]["reason"].as_str().unwrap().contains("sigma refused 1 rules"));
    let answer =
        post(&house, &server, "sensors/DC02/rules/push", json!({ "build": build(2), "reason": "a test" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(offered(&app, 2, RulesReport::default()).await, Some(build(2)));
    let rows = app.audit_log(0, 100).await.unwrap();
    let pushed = rows.iter().find(|row| row.entry.action == "rules.push").unwrap();
    assert_eq!((pushed.entry.subject.as_str(), pushed.entry.reason.as_deref()), ("DC02", Some("a test")));
}

#[tokio::test]
async fn a_manual_sensor_waits_for_a_push_and_a_build_that_was_pulled_back_goes_from_all() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.host(&app, 1, false, A).await;
    let package = house.rules(build(1));
    send(&house, &server, &package, "/api/v1/rule-packages").await;
    let answer = post(&house, &server, "sensors/DC01/rules/mode", json!({ "mode": "manual" })).await;
    assert_eq!(answer.json()["rulesMode"], json!("manual"));
    let package = house.rules(build(2));
    send(&house, &server, &package, "/api/v1/rule-packages").await;
    let one = || RulesReport { build: Some(build(1)), ..RulesReport::default() };
    assert_eq!(offered(&app, 1, one()).await, Some(build(1)));
    let shown = house.call(&server, Method::GET, "/api/v1/sensors/DC01", b"").await.json();
    assert_eq!(shown["rulesStatus"], json!("updateAvailable"));
    assert_eq!(post(&house, &server, "sensors/DC01/rules/push", json!({})).await.status, StatusCode::OK);
    assert_eq!(offered(&app, 1, one()).await, Some(build(2)), "the newest unless one is named");
    let path = format!("rule-packages/{}/pull-back", build(2));
    let pulled = post(&house, &server, &path, json!({ "reason": "floods" })).await;
    assert_eq!((pulled.status, &pulled.json()["state"]), (StatusCode::OK, &json!("pulledBack")));
    assert_eq!(offered(&app, 1, one()).await, Some(build(1)));
    let refused = post(&house, &server, "sensors/DC01/rules/push", json!({ "build": build(2) })).await;
    assert_eq!(refused.code(), "pulledBack");
    let none = post(&house, &server, "rule-packages/2020-01-01T00:00:00Z/pull-back", json!({})).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&house, &server, "sensors/NONE/rules/push", json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_covered_zone_loads_one_after_another_and_no_update_starts_meanwhile() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    house.publish(&server, A).await;
    house.host(&app, 1, false, A).await;
    // Turns are taken in the order of enrolment.
    let now = T0 + Duration::from_millis(1);
    house.clock.set(now);
    house.host(&app, 2, false, A).await;
    app.plan().await.unwrap();
    let set = json!({ "settings": { "coverage": { "hq/core": 1 } } });
    house.call(&server, Method::PATCH, "/api/v1/rollout-settings", set.to_string().as_bytes()).await;
    app.plan().await.unwrap();
    let package = house.rules(build(1));
    send(&house, &server, &package, "/api/v1/rule-packages").await;
    app.plan().await.unwrap();
    let none = RulesReport::default();
    let told = [offered(&app, 1, none.clone()).await, offered(&app, 2, none.clone()).await];
    assert_eq!(told, [Some(build(1)), None], "one of two may load");
    let shown = house.call(&server, Method::GET, "/api/v1/sensors/DC02", b"").await.json();
    assert!(shown["why"]["rulesStatus"]["reason"].as_str().unwrap().contains("hq/core can spare nobody"));
    house.publish(&server, crate::testing::B).await;
    app.plan().await.unwrap();
    let in_flight = |app: &App| app.rollout_view(crate::testing::B, now).unwrap().summary.in_flight;
    assert_eq!(in_flight(&app), 1, "who is away for its rules may as well be updated");
    let waits = app.sensor("DC02", now).unwrap().0.waiting_for;
    assert_eq!(waits.as_deref(), Some("DC01 to be cleared"));
    assert_eq!(offered(&app, 2, none).await, None, "while the other one loads and is updated");
}
