//! Evidence over real TLS: lost replies, lost disks, two at once, and sensors that lie.

use serde_json::{Value, json};
use watchpost_core::evidence::{Batch, MAX_BATCH_BYTES, MAX_BATCH_ITEMS};
use watchpost_core::id::SensorId;
use watchpost_protocol::{EvidenceReply, EvidenceRequest};

use super::*;
use crate::app::alerts::AlertQuery;
use crate::app::devices::DeviceQuery;
use crate::testing::batch;

fn bytes(batch: &Batch) -> Vec<u8> {
    serde_json::to_vec(batch).unwrap()
}

async fn send(sensor: &SimSensor, batch: &Batch) -> (String, u64) {
    let reply = sensor.client().send_evidence(bytes(batch)).await.unwrap();
    (reply.stream, reply.taken_through)
}

async fn counts(running: &Running) -> (u64, u64) {
    let app = running.seat.app();
    let alerts = app.count_alerts(&AlertQuery::default()).await.unwrap();
    (alerts, app.count_devices(&DeviceQuery::default()).await.unwrap())
}

#[tokio::test]
async fn a_batch_whose_reply_was_lost_is_taken_once() {
    let running = Running::start().await;
    let sensor = running.enrolled("DC1").await;
    let first = batch(&[1, 2], &[1], "aa", 3);
    let mut heard = running.seat.app().listen();
    // The sensor sends, and its connection is gone before the answer.
    let mut raw = Raw::sensor(running.at, sensor.identity()).await;
    let request = EvidenceRequest::encode(bytes(&first));
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", paths::EVIDENCE, request.len());
    raw.send(&[head.as_bytes(), &request].concat()).await;
    while heard.recv().await.unwrap() != crate::events::Event::Alerts(sensor.id.unwrap()) {}
    drop(raw);
    assert_eq!(send(&sensor, &first).await, ("aa".to_owned(), 3));
    assert_eq!(counts(&running).await, (2, 1));
    // What came after the lost reply travels together with what is there already.
    assert_eq!(send(&sensor, &batch(&[1, 2, 3], &[1, 2], "aa", 5)).await.1, 5);
    assert_eq!(counts(&running).await, (3, 2));
    assert_eq!(send(&sensor, &first).await.1, 5, "an older batch is told how far the stream is");
    assert_eq!(counts(&running).await, (3, 2));
    assert_eq!(send(&sensor, &Batch { stream: "aa".to_owned(), ..Batch::default() }).await.1, 5, "an empty one asks");
}

#[tokio::test]
async fn a_sensor_that_lost_its_disk_begins_again_and_no_alert_is_there_twice() {
    let running = Running::start().await;
    let sensor = running.enrolled("DC1").await;
    send(&sensor, &batch(&[1, 2, 3], &[1], "aa", 40)).await;
    assert_eq!(send(&sensor, &batch(&[2, 3, 4], &[1], "bb", 4)).await, ("bb".to_owned(), 4));
    assert_eq!(counts(&running).await, (4, 1));
    // Another sensor with the same stream and the same ids is another sensor.
    let other = running.enrolled("DC2").await;
    assert_eq!(send(&other, &batch(&[1], &[1], "aa", 1)).await.1, 1);
    assert_eq!(counts(&running).await, (5, 1), "one device, seen by two");
}

#[tokio::test]
async fn batches_that_race_are_all_there_once() {
    let running = Running::start().await;
    let sensor = running.enrolled("DC1").await;
    let batches: Vec<_> = (0..16_u64).map(|n| batch(&[n, n + 1, n + 2], &[1], "aa", n + 3)).collect();
    // Each on a connection of its own, the later ones first.
    let sent = batches.iter().rev().map(async |batch| {
        let mut raw = Raw::sensor(running.at, sensor.identity()).await;
        let answer = raw.ask("POST", paths::EVIDENCE, "", &EvidenceRequest::encode(bytes(batch))).await;
        EvidenceReply::from_bytes(&answer.body).unwrap().taken_through
    });
    let taken = futures_util::future::join_all(sent).await;
    assert!(taken.iter().all(|through| (3..=18).contains(through)), "{taken:?}");
    assert_eq!(counts(&running).await, (18, 1));
    assert_eq!(send(&sensor, &batch(&[], &[], "aa", 0)).await.1, 18);
}

#[tokio::test]
async fn hostile_batches_are_refused_or_made_harmless_and_the_connection_goes_on() {
    let running = Running::start().await;
    let mut raw = running.raw("DC1").await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(batch(&[1], &[1], "aa", 1)).unwrap();
        change(&mut value);
        EvidenceRequest::encode(serde_json::to_vec(&value).unwrap())
    };
    let many = batch(&vec![0; MAX_BATCH_ITEMS + 1], &[], "aa", 1);
    let large = EvidenceRequest::encode([b"{".to_vec(), vec![b' '; MAX_BATCH_BYTES], b"}".to_vec()].concat());
    let nested = format!("{{\"alerts\":{}", "[".repeat(10_000));
    for (why, body, code) in [
        ("no protobuf", b"\xff\xff".to_vec(), Code::Malformed),
        ("no version", Vec::new(), Code::ProtocolUnsupported),
        ("no JSON", EvidenceRequest::encode(b"{".to_vec()), Code::Malformed),
        ("no stream", EvidenceRequest::encode(b"{}".to_vec()), Code::Malformed),
        ("a path as stream", with(&|b| b["stream"] = json!("../../x")), Code::Malformed),
        ("deeply nested", EvidenceRequest::encode(nested.into_bytes()), Code::Malformed),
        ("too many", EvidenceRequest::encode(bytes(&many)), Code::Malformed),
        ("a large batch", large, Code::Malformed),
        ("a large body", vec![0; REQUEST_BYTES + 1], Code::TooLarge),
        ("a short id", with(&|b| b["alerts"][0]["id"] = json!("00")), Code::Malformed),
        ("an id of other letters", with(&|b| b["alerts"][0]["id"] = json!("'".repeat(32))), Code::Malformed),
        ("an unknown engine", with(&|b| b["alerts"][0]["engine"] = json!("toaster")), Code::Malformed),
        ("a device without key", with(&|b| b["devices"][0]["key"] = json!("")), Code::Malformed),
        ("a number beyond count", with(&|b| b["through"] = json!(u64::MAX)), Code::Malformed),
        ("a negative number", with(&|b| b["through"] = json!(-1)), Code::Malformed),
    ] {
        assert_eq!(raw.ask("POST", paths::EVIDENCE, "", &body).await.code(), code, "{why}");
        assert_eq!(counts(&running).await, (0, 0), "{why} left something behind");
    }
    assert_eq!(raw.get(paths::EVIDENCE).await.code(), Code::MethodNotAllowed);

    let lie = with(&|b| {
        b["alerts"][0]["at"] = json!("9999-12-30T00:00:00Z");
        b["alerts"][0]["ruleTitle"] = json!("\u{1b}]0;owned\u{7}");
        b["alerts"][0]["event"] = json!({ "a\nb": "x".repeat(5_000) });
        b["devices"][0]["names"] = json!(["\u{202e}evil\r\n"]);
        b["devices"][0]["lastSeen"] = json!("9999-12-30T00:00:00Z");
    });
    assert_eq!(raw.ask("POST", paths::EVIDENCE, "", &lie).await.status, 200);
    let app = running.seat.app();
    let alert = app.alerts(&AlertQuery::default(), 0, 10).await.unwrap().remove(0).row;
    let five_minutes = Duration::from_secs(300);
    assert_eq!((alert.alert.at, alert.received_at), (NOW + five_minutes, NOW));
    assert_eq!(alert.alert.rule_title, " ]0;owned ");
    assert_eq!(alert.alert.event["a b"].as_str().unwrap().len(), 256);
    let device = app.devices(&DeviceQuery::default(), 0, 10).await.unwrap().remove(0);
    assert_eq!((device.last_seen, device.names.first().unwrap().as_str()), (NOW + five_minutes, " evil  "));
}

#[tokio::test]
async fn strangers_and_the_revoked_send_no_evidence() {
    let running = Running::start().await;
    let stranger = running.sensor("DC1");
    let refused = stranger.client().send_evidence(bytes(&batch(&[1], &[], "aa", 1))).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::SensorUnknown));
    let sensor = running.enrolled("DC2").await;
    send(&sensor, &batch(&[1], &[], "aa", 1)).await;
    running.seat.revoke(sensor.id.unwrap());
    let refused = sensor.client().send_evidence(bytes(&batch(&[2], &[], "aa", 2))).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::SensorUnknown));
    assert_eq!(counts(&running).await, (1, 0));
}

#[tokio::test]
async fn who_sends_too_fast_waits_alone_and_a_lost_store_acknowledges_nothing() {
    let running = Running::start().await;
    let (fast, other) = (running.enrolled("DC1").await, running.enrolled("DC2").await);
    let app = running.seat.app();
    let id: SensorId = fast.id.unwrap();
    for n in 1..=600 {
        app.take_evidence(id, batch(&[], &[], "aa", n), NOW).await.unwrap();
    }
    let refused = fast.client().send_evidence(bytes(&batch(&[1], &[], "aa", 601))).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::TooManyRequests));
    let TransportError::Refused { retry_after: Some(wait), .. } = refused else { panic!("no time to wait") };
    assert_eq!(wait, Duration::from_secs(61), "the rest of the minute, rounded up");
    assert_eq!(send(&other, &batch(&[1], &[], "aa", 1)).await.1, 1);
    app.take_evidence(id, batch(&[1], &[], "aa", 601), NOW + Duration::from_secs(60)).await.unwrap();

    running.seat.lose_store().await;
    let refused = other.client().send_evidence(bytes(&batch(&[2], &[], "aa", 2))).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::Unavailable));
    let TransportError::Refused { retry_after: Some(wait), .. } = refused else { panic!("no time to wait") };
    assert!(wait >= crate::app::evidence::COME_BACK_AFTER);
}

#[tokio::test]
async fn what_a_sensor_measures_is_in_memory_alone_and_its_facts_are_clean() {
    let running = Running::start().await;
    let mut sensor = running.enrolled("DC1").await;
    let id = sensor.id.unwrap();
    sensor.report.facts.host.settings_refused = Some("\u{1b}[31mno".to_owned());
    sensor.sync().await.unwrap();
    let before = running.seat.app().statements();
    for n in 1..=5 {
        let measurements = Measurements { events_read: n, ..Measurements::default() };
        sensor.client().sync(&sensor.report, &measurements).await.unwrap();
    }
    assert_eq!(running.seat.app().statements(), before, "the same unclean report ran SQL");
    let (at, measured) = running.seat.app().measured(id).unwrap();
    assert_eq!((at, measured.events_read), (NOW, 5));
    let (_, kept) = running.seat.app().sensor("DC1", NOW).unwrap();
    assert_eq!(kept.report.facts.host.settings_refused.as_deref(), Some(" [31mno"));
}
