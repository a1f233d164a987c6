//! One order for many: a rehearsal of one in a hundred first, and the others by a person.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use watchpost_core::id::SensorId;
use watchpost_core::identity::{PATIENCE, Pin, Role};

use crate::lifecycle::Running;
use crate::testing::{A, Answer, House, T0, call, running};

const HOSTS: u8 = 3;

async fn post(house: &House, server: &Running, path: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/certificate-rotation{path}");
    house.call(server, Method::POST, &path, body.to_string().as_bytes()).await
}

async fn fleet(house: &House, server: &Running) -> Vec<(SensorId, u8)> {
    let mut all = Vec::new();
    for number in 1..=HOSTS {
        all.push((house.host(server.app(), number, false, A).await, number));
    }
    all
}

/// Whether a host that checks in is told to replace its certificate.
fn is_told(server: &Running, host: SensorId) -> bool {
    server.app().standing_at_check_in(host, server.app().clock().now()).is_some_and(|standing| standing.renew)
}

/// What a host does that is told.
async fn replaces(server: &Running, (host, number): (SensorId, u8)) {
    let (app, now) = (server.app(), server.app().clock().now());
    let next = Pin::from([number + 100; 32]);
    app.propose_certificate(host, [number; 32], next, now).await.unwrap();
    let standing = app.confirm_certificate(host, *next.bytes(), now).await.unwrap();
    assert_eq!(standing.role(next), Some(Role::Active));
    app.check_in(host, running(A), now).await.unwrap();
}

#[tokio::test]
async fn the_rest_waits_for_the_rehearsal_and_for_a_person() {
    let house = House::new().await;
    let server = house.start().await;
    let hosts = fleet(&house, &server).await;
    let early = post(&house, &server, "/continue", &json!({})).await;
    assert_eq!((early.status, early.code().as_str()), (StatusCode::CONFLICT, "noRehearsal"));
    house.clock.set(T0 + Duration::from_secs(10));
    let begun = post(&house, &server, "", &json!({ "rehearse": true, "spreadSeconds": 60 })).await;
    assert_eq!((begun.json()["stage"].as_str(), begun.json()["count"].as_u64()), (Some("rehearsing"), Some(1)));
    let told: Vec<_> = hosts.iter().filter(|(host, _)| is_told(&server, *host)).copied().collect();
    assert_eq!(told.len(), 1, "one in a hundred, at least one");
    for path in ["", "/continue"] {
        let refused = post(&house, &server, path, &json!({})).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "rehearsalUnderWay"));
    }
    server.stop().await.unwrap();
    let server = house.start().await;
    assert!(is_told(&server, told[0].0), "a restart forgets nothing");
    replaces(&server, told[0]).await;
    assert!(!is_told(&server, told[0].0));
    let shown = house.call(&server, Method::GET, "/api/v1/certificate-rotation", b"").await.json();
    assert_eq!(shown["stage"], "rehearsed");
    assert_eq!(hosts.iter().filter(|(host, _)| is_told(&server, *host)).count(), 0);
    let gone_on = post(&house, &server, "/continue", &json!({ "reason": "went well" })).await.json();
    assert_eq!((gone_on["stage"].as_str(), gone_on["count"].as_u64()), (Some("running"), Some(3)));
    // After the minute that it is spread over, all have been told.
    house.clock.set(T0 + Duration::from_secs(71));
    for host in hosts.iter().filter(|(host, _)| *host != told[0].0) {
        assert!(is_told(&server, host.0));
        replaces(&server, *host).await;
    }
    let shown = house.call(&server, Method::GET, "/api/v1/certificate-rotation", b"").await.json();
    assert_eq!((shown["stage"].as_str(), shown["doneCount"].as_u64()), (Some("done"), Some(3)));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_rehearsal_in_which_somebody_fails_is_halted_and_a_selection_goes_at_once() {
    let house = House::new().await;
    let server = house.start().await;
    let hosts = fleet(&house, &server).await;
    house.clock.set(T0 + Duration::from_secs(10));
    post(&house, &server, "", &json!({ "rehearse": true })).await;
    house.clock.set(T0 + Duration::from_secs(10) + PATIENCE);
    let halted = house.call(&server, Method::GET, "/api/v1/certificate-rotation", b"").await.json();
    assert_eq!((halted["stage"].as_str(), halted["failed"].as_array().map(Vec::len)), (Some("halted"), Some(1)));
    let refused = post(&house, &server, "/continue", &json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "rehearsalFailed"));
    let some = json!({ "sensors": ["DC01", hosts[1].0.to_string()], "spreadSeconds": 0 });
    assert_eq!(post(&house, &server, "", &some).await.json()["count"], 2);
    let told: Vec<bool> = hosts.iter().map(|(host, _)| is_told(&server, *host)).collect();
    assert_eq!(told, [true, true, false]);
    assert_eq!(post(&house, &server, "", &json!({ "sensors": ["DC99"] })).await.status, StatusCode::NOT_FOUND);
    let made = br#"{"displayName":"ci","role":"user"}"#;
    let made = house.call(&server, Method::POST, "/api/v1/tokens", made).await.json();
    let user = format!("Authorization: Bearer {}\r\n", made["token"].as_str().unwrap());
    let denied = call(&server, Method::POST, "/api/v1/certificate-rotation", &user, b"{}").await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    server.stop().await.unwrap();
}
