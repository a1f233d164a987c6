//! Alerts, devices and settings from outside: pages, filters, roles, and the way of a setting to the host and back.

use std::collections::BTreeSet;

use std::time::Duration;

use serde_json::Value;
use watchpost_core::id::SensorId;

use super::*;
use crate::lifecycle::Running;
use crate::testing::{Answer, T0, batch, running};

async fn get(house: &House, server: &Running, path: &str) -> Value {
    let answer = house.call(server, Method::GET, path, b"").await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

async fn patch(house: &House, server: &Running, path: &str, body: &Value) -> Answer {
    house.call(server, Method::PATCH, path, body.to_string().as_bytes()).await
}

/// A house with `alerts` alerts and three devices of one sensor, and one of each of another.
async fn full(alerts: u64) -> (House, Running, SensorId) {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let one = house.host(app, 1, false, A).await;
    let two = house.host(app, 2, false, A).await;
    let numbers: Vec<_> = (0..alerts).collect();
    for (turn, some) in numbers.chunks(200).enumerate() {
        app.take_evidence(one, batch(some, &[1, 2, 3], "aa", turn as u64 + 1), T0).await.unwrap();
    }
    app.take_evidence(two, batch(&[7], &[1], "aa", 1), T0).await.unwrap();
    (house, server, one)
}

#[tokio::test]
async fn a_full_page_of_alerts_and_every_page_after_it() {
    let (house, server, one) = full(2_500).await;
    let mut path = "/api/v1/alerts?sensor=DC01&$count=true".to_owned();
    let (mut ids, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = get(&house, &server, &path).await;
        let rows = page["value"].as_array().unwrap();
        sizes.push(rows.len());
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        if sizes.len() == 1 {
            assert_eq!(page["@odata.count"], 2_500);
        }
        // What comes in between moves no page.
        let new = 10_000 + sizes.len() as u64;
        server.app().take_evidence(one, batch(&[new], &[], "aa", new), T0 + Duration::from_secs(9)).await.unwrap();
        match page["@odata.nextLink"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(sizes[..2], [1_000, 1_000]);
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first, none twice");
    let seen: BTreeSet<_> = ids.iter().collect();
    assert!(seen.len() >= 2_500 && seen.len() == ids.len());
}

#[tokio::test]
async fn an_alert_says_everything_and_the_filters_narrow() {
    let (house, server, one) = full(10).await;
    let list = get(&house, &server, "/api/v1/alerts?engine=sigma&level=high&sensor=DC01&$top=1").await;
    let alert = &list["value"][0];
    for (key, value) in [
        ("at", json!("2026-01-05T00:00:00Z")),
        ("receivedAt", json!("2026-01-05T00:00:00Z")),
        ("sensor", json!({ "id": one, "name": "DC01" })),
        ("site", json!("hq")),
        ("zone", json!("core")),
        ("engine", json!("sigma")),
        ("ruleTitle", json!("Many failed logons")),
        ("level", json!("high")),
        ("status", json!("new")),
        ("event", json!({ "TargetUserName": "alice", "IpAddress": "10.0.0.7" })),
        ("devices", json!(["10.0.0.7"])),
        ("hasPackets", json!(false)),
    ] {
        assert_eq!(alert[key], value, "{key}");
    }
    let id = alert["id"].as_str().unwrap();
    assert_eq!(&get(&house, &server, &format!("/api/v1/alerts/{id}")).await, alert);
    for (filter, wanted) in [
        ("", 11),
        ("sensor=DC02", 1),
        ("sensor=DC09", 0),
        ("site=hq&zone=core", 11),
        ("site=elsewhere", 0),
        ("engine=suricata", 6),
        ("level=low,high", 11),
        ("status=active,closed", 0),
        ("from=2026-01-05T00:00:00Z", 11),
        ("to=2026-01-05T00:00:00Z", 0),
    ] {
        let list = get(&house, &server, &format!("/api/v1/alerts?{filter}")).await;
        assert_eq!(list["value"].as_array().unwrap().len(), wanted, "{filter}");
    }
    for bad in
        ["$top=0", "$top=1001", "level=dire", "status=gone", "engine=x", "from=now", "$skiptoken=1", "colour=red"]
    {
        let answer = house.call(&server, Method::GET, &format!("/api/v1/alerts?{bad}"), b"").await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "badQuery".to_owned()), "{bad}");
    }
    let lost = house.call(&server, Method::GET, "/api/v1/alerts/alr_00000000000000000000000000", b"").await;
    assert_eq!(lost.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_became_of_an_alert_is_said_once_audited_and_survives_its_repeat() {
    let (house, server, one) = full(1).await;
    let list = get(&house, &server, "/api/v1/alerts?sensor=DC01").await;
    let path = format!("/api/v1/alerts/{}", list["value"][0]["id"].as_str().unwrap());
    let console = Principal::console();
    let (_, viewer) = server.app().create_token(&console, "look", Role::Viewer, &[], None).await.unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", viewer.reveal());
    let refused = call(&server, Method::PATCH, &path, &bearer, br#"{"status":"closed"}"#).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "forbidden".to_owned()));
    let (_, user) = server.app().create_token(&console, "work", Role::User, &[], None).await.unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", user.reveal());
    let mut heard = server.app().listen();
    for _ in 0..2 {
        let body = br#"{"status":"closed","reason":"a test"}"#;
        let answer = call(&server, Method::PATCH, &path, &bearer, body).await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (StatusCode::OK, Some("closed")));
    }
    assert_eq!(heard.recv().await.unwrap(), crate::events::Event::Alerts(one));
    assert!(heard.try_recv().is_err(), "the second time changed nothing");
    server.app().take_evidence(one, batch(&[0], &[], "aa", 1), T0).await.unwrap();
    assert_eq!(get(&house, &server, &path).await["status"], "closed");
    let rows = server.app().audit_log(0, 100).await.unwrap();
    let rows: Vec<_> = rows.iter().filter(|row| row.entry.action == "alert.status").collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].entry.before, Some(json!({ "status": "new" })));
    assert_eq!(rows[0].entry.after, Some(json!({ "status": "closed" })));
    assert_eq!(rows[0].entry.reason.as_deref(), Some("a test"));
    for bad in [json!({ "status": "gone" }), json!({}), json!({ "status": "new", "x": 1 })] {
        assert_eq!(patch(&house, &server, &path, &bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_device_is_there_once_with_the_sensors_that_saw_it() {
    let (house, server, _) = full(1).await;
    let list = get(&house, &server, "/api/v1/devices?$count=true").await;
    assert_eq!((list["@odata.count"].as_u64(), list["value"].as_array().unwrap().len()), (Some(3), 3));
    let names = |row: &Value| row["sensors"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&list["value"][0]).len(), 2);
    assert_eq!(names(&list["value"][1]), ["DC01"]);
    let first = get(&house, &server, "/api/v1/devices?$top=2&site=hq&search=plc").await;
    let next = get(&house, &server, first["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(next["value"][0]["key"], "02:00:00:00:00:03");
    assert!(next.get("@odata.nextLink").is_none());
    for (filter, wanted) in [("search=plc-2", 1), ("search=10.0.0.3", 1), ("sensor=DC02", 1), ("site=x", 0)] {
        let list = get(&house, &server, &format!("/api/v1/devices?{filter}")).await;
        assert_eq!(list["value"].as_array().unwrap().len(), wanted, "{filter}");
    }
    for key in ["02:00:00:00:00:01", "02%3A00%3A00%3A00%3A00%3A01"] {
        let one = get(&house, &server, &format!("/api/v1/devices/{key}")).await;
        assert_eq!(one["sensors"].as_array().unwrap().len(), 2);
        assert_eq!(one["sensors"][0]["serves"], json!(["modbus"]));
        assert_eq!(one["sensors"][0]["site"], "hq");
    }
    let none = house.call(&server, Method::GET, "/api/v1/devices/nobody", b"").await;
    assert_eq!((none.status, none.code()), (StatusCode::NOT_FOUND, "notFound".to_owned()));
}

#[tokio::test]
async fn a_setting_goes_to_the_host_and_the_sensor_syncs_until_it_is_in_effect() {
    let (house, server, one) = full(0).await;
    let app = server.app();
    let path = "/api/v1/sensors/DC01";
    let body = json!({
        "settings": { "description": "rack 7", "captureInterfaces": ["eth1"], "homeNetworks": ["10.0.0.0/8"] },
        "delayedUpdate": true, "reason": "a mirror port was connected",
    });
    let answer = patch(&house, &server, path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let shown = answer.json();
    assert_eq!(shown["deploymentStatus"], "syncing");
    for (key, value) in [
        ("description", json!("rack 7")),
        ("captureInterfaces", json!(["eth1"])),
        ("homeNetworks", json!(["10.0.0.0/8"])),
        ("isDelayedDeploymentEnabled", json!(true)),
        ("generation", json!(1)),
        ("generationInEffect", json!(0)),
    ] {
        assert_eq!(shown["settings"][key], value, "{key}");
    }
    // The same once more changes nothing, and the ring alone is nothing for the host.
    assert_eq!(patch(&house, &server, path, &body).await.json()["settings"]["generation"], 1);
    let ring = patch(&house, &server, path, &json!({ "delayedUpdate": false })).await.json();
    assert_eq!(
        (&ring["settings"]["generation"], &ring["settings"]["captureInterfaces"]),
        (&json!(1), &json!(["eth1"]))
    );

    let wanted = app.check_in(one, running(A), T0).await.unwrap().desired;
    assert_eq!(wanted.settings_generation, 1);
    assert!(wanted.settings.capture_interfaces.contains("eth1"));
    let mut applied = running(A);
    applied.settings_generation = 1;
    app.check_in(one, applied, T0).await.unwrap();
    let shown = get(&house, &server, path).await;
    assert_eq!(
        (shown["deploymentStatus"].as_str(), &shown["settings"]["generationInEffect"]),
        (Some("upToDate"), &json!(1))
    );

    let rows = app.audit_log(0, 100).await.unwrap();
    let rows: Vec<_> = rows.iter().filter(|row| row.entry.action == "sensor.configure").collect();
    assert_eq!(rows.len(), 2);
    let (before, after) = (rows[1].entry.before.clone().unwrap(), rows[1].entry.after.clone().unwrap());
    assert_eq!((&before["settingsGeneration"], &after["settingsGeneration"]), (&json!(0), &json!(1)));
    assert_eq!((&before["settings"]["description"], &after["settings"]["description"]), (&json!(""), &json!("rack 7")));
    assert_eq!(rows[1].entry.reason.as_deref(), Some("a mirror port was connected"));

    server.stop().await.unwrap();
    let again = house.start().await;
    let kept = get(&house, &again, path).await;
    assert_eq!((&kept["settings"]["generation"], &kept["settings"]["description"]), (&json!(1), &json!("rack 7")));
}

#[tokio::test]
async fn a_setting_that_may_not_be_is_refused_by_code_and_changes_nothing() {
    let (house, server, _) = full(0).await;
    let app = server.app();
    let mut request = house.enrolment("FS01", false);
    request.sensor_type = "adfsIntegrated".to_owned();
    app.enroll(request, [9; 32], T0).await.unwrap();
    for (sensor, settings, code) in [
        ("DC01", json!({ "captureInterfaces": ["eth1; rm -rf"] }), "badInterface"),
        ("DC01", json!({ "homeNetworks": ["10.0.0.0"] }), "badNetwork"),
        ("DC01", json!({ "description": "a\u{1b}b" }), "badDescription"),
        ("DC01", json!({ "captureInterfaces": (0..17).map(|n| format!("eth{n}")).collect::<Vec<_>>() }), "tooMany"),
        ("DC01", json!({ "domainControllerDnsNames": ["dc02.corp.example"] }), "domainControllersReadOnly"),
        ("FS01", json!({ "domainControllerDnsNames": ["not a name"] }), "badDomainController"),
        ("DC01", json!({ "colour": "red" }), "badBody"),
    ] {
        let answer =
            patch(&house, &server, &format!("/api/v1/sensors/{sensor}"), &json!({ "settings": settings })).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_REQUEST, code), "{settings}");
    }
    assert_eq!(get(&house, &server, "/api/v1/sensors/DC01").await["settings"]["generation"], 0);
    assert_eq!(get(&house, &server, "/api/v1/sensors/FS01").await["deploymentStatus"], "notConfigured");
    let named = json!({ "settings": { "domainControllerDnsNames": ["dc01.corp.example"] } });
    let answer = patch(&house, &server, "/api/v1/sensors/FS01", &named).await.json();
    assert_eq!((answer["deploymentStatus"].as_str(), &answer["settings"]["generation"]), (Some("syncing"), &json!(1)));
    let lost = patch(&house, &server, "/api/v1/sensors/DC09", &json!({})).await;
    assert_eq!(lost.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn evidence_is_forgotten_after_90_days() {
    let (house, server, one) = full(5).await;
    let day = Duration::from_secs(86_400);
    server.app().take_evidence(one, batch(&[100], &[], "aa", 9), T0 + day).await.unwrap();
    house.clock.set(T0 + day * 90);
    assert_eq!(server.app().forget_evidence().await.unwrap(), 0);
    house.clock.set(T0 + day * 90 + Duration::from_millis(1));
    server.app().forget_evidence().await.unwrap();
    assert_eq!(get(&house, &server, "/api/v1/alerts").await["value"].as_array().unwrap().len(), 0);
    assert_eq!(get(&house, &server, "/api/v1/devices").await["value"].as_array().unwrap().len(), 0);
}
