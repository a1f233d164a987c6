//! Newcomers over the API: held, shown, decided by one who may, and bounded.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use watchpost_core::clones::MAX_NEWCOMERS_OF_HOST;
use watchpost_core::health::{IssueStatus, IssueType};
use watchpost_core::id::SensorId;

use super::enrollment::{EnrollRefused, EnrollRequest};
use crate::lifecycle::Running;
use crate::testing::{A, House, T0, call, until};

const NEW: [u8; 32] = [77; 32];

/// The host DC01 once more, with another key.
fn again(house: &House, number: u8) -> EnrollRequest {
    EnrollRequest { enrolment_id: format!("again-{number}"), ..house.enrolment("DC01", false) }
}

async fn ask(house: &House, server: &Running, pin: [u8; 32]) -> Result<SensorId, EnrollRefused> {
    server.app().enroll(again(house, pin[0]), pin, house.clock.now()).await.map(|enrolled| enrolled.sensor)
}

async fn listed(house: &House, server: &Running) -> Vec<Value> {
    let answer = house.call(server, Method::GET, "/api/v1/clones", b"").await;
    answer.json()["value"].as_array().unwrap().clone()
}

async fn decide(house: &House, server: &Running, decision: &str) -> StatusCode {
    let path = format!("/api/v1/clones/{}/decide", hex::encode(NEW));
    let body = json!({ "decision": decision, "reason": "looked at both" }).to_string();
    house.call(server, Method::POST, &path, body.as_bytes()).await.status
}

fn has_issue(server: &Running, sensor: SensorId) -> bool {
    let (_, sensor) = server.app().sensor(&sensor.to_string(), T0).unwrap();
    sensor.issues.get(&IssueType::PossibleClone).is_some_and(|issue| issue.status == IssueStatus::Open)
}

#[tokio::test]
async fn a_newcomer_is_held_shown_beside_the_enrolled_one_and_takes_its_place_by_one_decision() {
    let house = House::new().await;
    let server = house.start().await;
    let host = house.host(server.app(), 1, false, A).await;
    for _ in 0..3 {
        assert!(matches!(ask(&house, &server, NEW).await, Err(EnrollRefused::Quarantined)));
    }
    until("the issue is open", || has_issue(&server, host)).await;
    server.stop().await.unwrap();
    let server = house.start().await;
    let shown = &listed(&house, &server).await[0];
    assert_eq!((shown["state"].as_str(), shown["fingerprint"].as_str()), (Some("waiting"), Some(&*hex::encode(NEW))));
    assert_eq!(shown["newcomer"]["address"], "192.0.2.1");
    assert_eq!(shown["newcomer"]["attempts"], 1, "noted once a minute");
    assert_eq!(shown["enrolled"]["id"], host.to_string());
    assert_eq!(shown["enrolled"]["certificateSha256"], hex::encode([1; 32]));

    assert_eq!(decide(&house, &server, "replace").await, StatusCode::NO_CONTENT);
    assert_eq!(server.app().sensor_by_pin(&[1; 32]), None, "the key before is revoked at once");
    assert_eq!(server.app().sensor_by_pin(&NEW), Some(host));
    assert_eq!(ask(&house, &server, NEW).await.unwrap(), host);
    assert_eq!(listed(&house, &server).await.len(), 0);
    until("the issue is closed", || !has_issue(&server, host)).await;
    assert_eq!(decide(&house, &server, "replace").await, StatusCode::NOT_FOUND);
    // Who was the host is now the newcomer.
    let other = server.app().enroll(again(&house, 2), [1; 32], T0).await;
    assert!(matches!(other, Err(EnrollRefused::Quarantined)), "{other:?}");
    server.stop().await.unwrap();
    let server = house.start().await;
    assert_eq!(server.app().sensor_by_pin(&NEW), Some(host));
    assert_eq!(server.app().sensor_by_pin(&[1; 32]), None);
    let audit = server.app().audit_log(0, 100).await.unwrap();
    let decided = audit.iter().find(|row| row.entry.action == "clone.decide").unwrap();
    assert_eq!(decided.entry.reason.as_deref(), Some("looked at both"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn two_hosts_stay_two_and_each_may_set_itself_up_again() {
    let house = House::new().await;
    let server = house.start().await;
    let host = house.host(server.app(), 1, false, A).await;
    assert!(ask(&house, &server, NEW).await.is_err());
    assert_eq!(decide(&house, &server, "separate").await, StatusCode::NO_CONTENT);
    let second = ask(&house, &server, NEW).await.unwrap();
    assert_ne!(second, host);
    assert_eq!(server.app().sensor_by_pin(&[1; 32]), Some(host));
    // With fresh enrolment ids, as after each has replaced its certificate.
    for (pin, sensor) in [([1; 32], host), (NEW, second)] {
        let request = EnrollRequest { enrolment_id: format!("later-{}", pin[0]), ..again(&house, 0) };
        assert_eq!(server.app().enroll(request, pin, T0).await.unwrap().sensor, sensor);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_refused_newcomer_is_blocked_and_who_may_not_decide_does_not() {
    let house = House::new().await;
    let server = house.start().await;
    let host = house.host(server.app(), 1, false, A).await;
    assert!(ask(&house, &server, NEW).await.is_err());
    let made = json!({ "displayName": "ci", "role": "user" }).to_string();
    let made = house.call(&server, Method::POST, "/api/v1/tokens", made.as_bytes()).await.json();
    let user = format!("Authorization: Bearer {}\r\n", made["token"].as_str().unwrap());
    let path = format!("/api/v1/clones/{}/decide", hex::encode(NEW));
    let denied = call(&server, Method::POST, &path, &user, br#"{"decision":"replace"}"#).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert_eq!(decide(&house, &server, "shrug").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(decide(&house, &server, "refuse").await, StatusCode::NO_CONTENT);
    assert!(matches!(ask(&house, &server, NEW).await, Err(EnrollRefused::Blocked)));
    assert_eq!(listed(&house, &server).await[0]["state"], "refused");
    until("nobody waits", || !has_issue(&server, host)).await;
    assert_eq!(decide(&house, &server, "replace").await, StatusCode::NO_CONTENT, "a refusal can be taken back");
    assert_eq!(ask(&house, &server, NEW).await.unwrap(), host);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_flood_of_keys_grows_no_table() {
    let house = House::new().await;
    let server = house.start().await;
    house.host(server.app(), 1, false, A).await;
    let mut full = 0;
    for number in 2..50 {
        match ask(&house, &server, [number; 32]).await {
            Err(EnrollRefused::Quarantined) => {}
            Err(EnrollRefused::PossibleClone) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((listed(&house, &server).await.len(), full), (MAX_NEWCOMERS_OF_HOST, 48 - MAX_NEWCOMERS_OF_HOST));
    server.stop().await.unwrap();
}
