//! The three steps of the server's key: in order, by whom they may be taken, and over a restart at each of them.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use watchpost_core::access_key::AccessKey;
use watchpost_core::id::SensorId;
use watchpost_core::server_keys::{ServerKey, ServerKeys};
use watchpost_core::sync::Report;

use crate::lifecycle::Running;
use crate::testing::{A, Answer, House, T0, call, running};

async fn step(house: &House, server: &Running, step: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/server-key/{step}");
    house.call(server, Method::POST, &path, body.to_string().as_bytes()).await
}

async fn holds(server: &Running, host: SensorId, keys: &ServerKeys) {
    let report = Report { server_keys: keys.clone(), ..running(A) };
    server.app().check_in(host, report, T0).await.unwrap();
}

fn access_key(server: &Running) -> AccessKey {
    server.app().access_key().unwrap().parse().unwrap()
}

async fn restarted(house: &House, server: Running) -> Running {
    server.stop().await.unwrap();
    house.start().await
}

#[tokio::test]
async fn the_key_is_renewed_step_by_step_and_a_restart_between_loses_nothing() {
    let house = House::new().await;
    let server = house.start().await;
    let founded = access_key(&server);
    let old = ServerKey::from(founded.server_key);
    let host = house.host(server.app(), 1, false, A).await;
    assert!(!server.app().should_learn_server_keys(host), "there is nothing to learn before the first renewal");
    for too_early in ["switch", "retire"] {
        let refused = step(&house, &server, too_early, &json!({})).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "notNext"));
    }
    let announced = step(&house, &server, "announce", &json!({ "reason": "yearly" })).await;
    assert_eq!(announced.status, StatusCode::OK);
    let new: ServerKey = announced.json()["nextSha256"].as_str().unwrap().parse().unwrap();
    assert!(server.app().should_learn_server_keys(host));
    let refused = step(&house, &server, "switch", &json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "wouldLockOut"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("DC01"));

    let server = restarted(&house, server).await;
    assert_eq!(access_key(&server), founded, "the announced key does not serve yet");
    holds(&server, host, &[old, new].into()).await;
    assert!(!server.app().should_learn_server_keys(host));
    let switched = step(&house, &server, "switch", &json!({ "force": false })).await;
    assert_eq!(
        (switched.status, switched.json()["previousSha256"].as_str()),
        (StatusCode::OK, Some(&*old.to_string()))
    );
    let expected = AccessKey { server_key: *new.bytes(), ..founded.clone() };
    assert_eq!(access_key(&server), expected);

    let server = restarted(&house, server).await;
    assert_eq!(access_key(&server), expected);
    assert_eq!(server.app().gateway_certificate().unwrap().key_hash().unwrap(), *new.bytes());
    assert_eq!(step(&house, &server, "retire", &json!({})).await.json()["stage"], "settled");
    assert!(server.app().should_learn_server_keys(host), "it holds the old one still");

    let server = restarted(&house, server).await;
    holds(&server, host, &[new].into()).await;
    assert!(!server.app().should_learn_server_keys(host));
    let audit = server.app().audit_log(0, 100).await.unwrap();
    let actions: Vec<_> =
        audit.iter().map(|row| row.entry.action.as_str()).filter(|a| a.starts_with("serverKey")).collect();
    assert_eq!(actions, ["serverKey.retire", "serverKey.switch", "serverKey.announce"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_administrator_alone_renews_the_key_and_may_force_it() {
    let house = House::new().await;
    let server = house.start().await;
    house.host(server.app(), 1, false, A).await;
    let made = json!({ "displayName": "ci", "role": "user" }).to_string();
    let made = house.call(&server, Method::POST, "/api/v1/tokens", made.as_bytes()).await.json();
    let user = format!("Authorization: Bearer {}\r\n", made["token"].as_str().unwrap());
    for path in ["announce", "switch", "retire"] {
        let path = format!("/api/v1/server-key/{path}");
        let refused = call(&server, Method::POST, &path, &user, b"{}").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(call(&server, Method::GET, "/api/v1/server-key", &user, b"").await.json()["stage"], "settled");
    step(&house, &server, "announce", &json!({})).await;
    let forced = step(&house, &server, "switch", &json!({ "force": true })).await;
    assert_eq!((forced.status, forced.json()["waiting"][0].as_str()), (StatusCode::OK, Some("DC01")));
    server.stop().await.unwrap();
}
