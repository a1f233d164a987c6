//! Evidence in the store: once each, newest word wins, pages, and forgetting.

use std::collections::BTreeSet;

use watchpost_core::evidence::{Alert, AlertLevel, AlertStatus, Device};
use watchpost_core::facts::EngineKind;
use watchpost_core::id::AlertId;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn alert(house: &House, sensor_number: u8, n: u32) -> AlertRow {
    let alert = Alert {
        id: format!("{n:032x}"),
        at: T0 + SECOND * n,
        engine: if n.is_multiple_of(2) { EngineKind::Sigma } else { EngineKind::Suricata },
        rule_id: "2:7".into(),
        rule_title: "Title “x”".into(),
        level: if n.is_multiple_of(3) { AlertLevel::High } else { AlertLevel::Low },
        event: json!({ "name": "value", "count": 7 }).as_object().unwrap().clone(),
        devices: BTreeSet::from(["10.0.0.1".to_owned()]),
        has_packets: n % 2 == 1,
    };
    let bits = u128::from(n) << 8 | u128::from(sensor_number);
    let id = AlertId::from_parts(alert.at, bits);
    let status = AlertStatus::New;
    AlertRow { id, sensor: sensor(house, sensor_number).sensor.id, received_at: T0, status, alert }
}

fn device(key: &str, seen: u32) -> Device {
    let at = T0 + SECOND * seen;
    Device { key: key.into(), names: vec![format!("name-{seen}")], first_seen: at, last_seen: at, ..Device::default() }
}

async fn two_sensors() -> (House, Transaction) {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    for n in [1, 2] {
        tx.insert_sensor(&sensor(&house, n)).await.unwrap();
    }
    (house, tx)
}

#[tokio::test]
async fn alerts_read_back_newest_first_and_each_is_there_once_whatever_its_status() {
    let (house, mut tx) = two_sensors().await;
    let rows: Vec<_> = (0..200).map(|n| alert(&house, 1, n)).collect();
    let before = house.store.statements();
    assert_eq!(tx.take_alerts(&rows).await.unwrap(), 200);
    assert_eq!(house.store.statements() - before, 1);
    tx.save_alert_status(rows[7].id, AlertStatus::Closed).await.unwrap();
    assert_eq!(tx.take_alerts(&rows).await.unwrap(), 0, "a repeat changes nothing");
    assert_eq!(tx.alert(rows[7].id).await.unwrap().unwrap().status, AlertStatus::Closed);
    // Another sensor may give the same id to an alert of its own.
    assert_eq!(tx.take_alerts(&[alert(&house, 2, 3)]).await.unwrap(), 1);
    let all = AlertFilter::default();
    assert_eq!(tx.count_alerts(&all).await.unwrap(), 201);
    let first = tx.alerts(&all, 0, 100).await.unwrap();
    assert_eq!(first[0], rows[199]);
    let rest = AlertFilter { before: Some(first[99].id), ..AlertFilter::default() };
    let rest = tx.alerts(&rest, 0, 1_000).await.unwrap();
    let ids: BTreeSet<_> = first.iter().chain(&rest).map(|row| row.id).collect();
    assert_eq!((ids.len(), rest.len()), (201, 101));
    assert!(first.iter().chain(&rest).is_sorted_by(|a, b| (a.alert.at, a.id) > (b.alert.at, b.id)));
}

#[tokio::test]
async fn alerts_are_filtered_by_everything_at_once() {
    let (house, mut tx) = two_sensors().await;
    let rows: Vec<_> = (0..30).map(|n| alert(&house, 1 + u8::try_from(n % 2).unwrap(), n)).collect();
    tx.take_alerts(&rows).await.unwrap();
    tx.save_alert_status(rows[6].id, AlertStatus::Active).await.unwrap();
    let (one, two) = (rows[0].sensor, rows[1].sensor);
    let filter = AlertFilter::default;
    for (wanted, filter) in [
        (15, AlertFilter { sensors: Some(vec![one]), ..filter() }),
        (30, AlertFilter { sensors: Some(vec![one, two]), ..filter() }),
        (0, AlertFilter { sensors: Some(vec![]), ..filter() }),
        (10, AlertFilter { levels: vec![AlertLevel::High], ..filter() }),
        (30, AlertFilter { levels: vec![AlertLevel::High, AlertLevel::Low], ..filter() }),
        (1, AlertFilter { statuses: vec![AlertStatus::Active, AlertStatus::Closed], ..filter() }),
        (15, AlertFilter { engine: Some(EngineKind::Suricata), ..filter() }),
        (10, AlertFilter { from: Some(T0 + SECOND * 20), ..filter() }),
        (20, AlertFilter { until: Some(T0 + SECOND * 20), ..filter() }),
        (
            3,
            AlertFilter {
                sensors: Some(vec![one]),
                engine: Some(EngineKind::Sigma),
                levels: vec![AlertLevel::High],
                statuses: vec![AlertStatus::New],
                from: Some(T0 + SECOND * 12),
                ..filter()
            },
        ),
    ] {
        assert_eq!(tx.count_alerts(&filter).await.unwrap(), wanted, "{filter:?}");
        assert_eq!(tx.alerts(&filter, 0, 100).await.unwrap().len() as u64, wanted, "{filter:?}");
    }
}

#[tokio::test]
async fn a_page_of_alerts_is_found_by_an_index_and_never_sorted() {
    let (_house, mut tx) = two_sensors().await;
    for narrowed in ["", "AND sensor_id = 'x'", "AND status = 'new'"] {
        let text = format!(
            "EXPLAIN QUERY PLAN SELECT id FROM alerts WHERE workspace_id = 'w' {narrowed} AND id < 'alr_' \
             ORDER BY id DESC LIMIT 100"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(tx.statement()).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, "detail")).collect();
        assert!(
            plan.iter().all(|step| step.contains("INDEX") && !step.contains("TEMP B-TREE")),
            "{narrowed}: {plan:?}"
        );
    }
}

#[tokio::test]
async fn a_stream_never_goes_back_and_a_lost_disk_begins_another() {
    let (house, mut tx) = two_sensors().await;
    let id = sensor(&house, 1).sensor.id;
    for (stream, through, ordinal, taken) in
        [("a", 10, 1, 10), ("a", 10, 1, 10), ("a", 7, 1, 10), ("b", 3, 2, 3), ("a", 8, 1, 10), ("a", 12, 1, 12)]
    {
        let found = tx.take_stream(id, stream, through, T0).await.unwrap();
        assert_eq!(found, Taken { ordinal, through: taken }, "{stream} {through}");
    }
    for n in 0..50 {
        tx.take_stream(id, &format!("s{n}"), 1, T0).await.unwrap();
    }
    let sql = "SELECT COUNT(*) FROM evidence_streams";
    let kept: i64 = sqlx::query_scalar(sql).fetch_one(tx.statement()).await.unwrap();
    assert_eq!(kept, 8, "whoever begins a stream with each batch fills nothing");
}

#[tokio::test]
async fn of_a_device_the_newest_word_of_each_sensor_counts() {
    let (house, mut tx) = two_sensors().await;
    let (one, two) = (sensor(&house, 1).sensor.id, sensor(&house, 2).sensor.id);
    let word = |ordinal, through| Taken { ordinal, through };
    assert_eq!(tx.take_devices(one, word(1, 10), &[device("a", 5), device("b", 5)]).await.unwrap(), 2);
    for (ordinal, through, changes) in [(1, 10, 0), (1, 9, 0), (1, 11, 1), (2, 1, 1), (1, 99, 0)] {
        let said = device("a", 6);
        let changed = tx.take_devices(one, word(ordinal, through), &[said]).await.unwrap();
        assert_eq!(changed, changes, "{ordinal} {through}");
    }
    tx.take_devices(two, word(1, 1), &[device("a", 9)]).await.unwrap();
    let seen = tx.device("a").await.unwrap();
    let described: Vec<_> = seen.iter().map(|row| (row.sensor, row.device.names[0].as_str())).collect();
    assert_eq!(described, [(one, "name-6"), (two, "name-9")]);
    assert_eq!(seen[0].device.first_seen, T0 + SECOND * 5, "a disk that was lost does not make a device younger");
    assert_eq!(seen[0].device.last_seen, T0 + SECOND * 6);
    assert!(tx.device("c").await.unwrap().is_empty());
}

#[tokio::test]
async fn devices_are_paged_by_key_and_found_by_any_part_of_a_name() {
    let (house, mut tx) = two_sensors().await;
    let (one, two) = (sensor(&house, 1).sensor.id, sensor(&house, 2).sensor.id);
    let word = Taken { ordinal: 1, through: 1 };
    let devices: Vec<_> = (0..25).map(|n| device(&format!("10.0.0.{n:02}"), n)).collect();
    tx.take_devices(one, word, &devices).await.unwrap();
    tx.take_devices(two, word, &devices[..5]).await.unwrap();
    let odd = Device { names: vec!["50%_OFF\\".into()], ..device("x", 1) };
    tx.take_devices(two, word, &[odd]).await.unwrap();
    let all = DeviceFilter::default();
    assert_eq!(tx.count_devices(&all).await.unwrap(), 26);
    let page = tx.devices(&all, 0, 10).await.unwrap();
    assert_eq!(page.len(), 10);
    assert_eq!((page["10.0.0.00"].len(), page["10.0.0.09"].len()), (2, 1), "each with every sensor that saw it");
    let next = DeviceFilter { after: Some("10.0.0.09".into()), ..DeviceFilter::default() };
    assert_eq!(tx.devices(&next, 0, 10).await.unwrap().keys().next().unwrap(), "10.0.0.10");
    let with = |text: &str| DeviceFilter { text: Some(text.into()), ..DeviceFilter::default() };
    for (text, wanted) in [("NAME-7", 1), ("10.0.0.", 25), ("%", 1), ("_", 1), ("\\", 1), ("50%_off", 1), ("'", 0)] {
        assert_eq!(tx.count_devices(&with(text)).await.unwrap(), wanted, "{text}");
    }
    let of_two = DeviceFilter { sensors: Some(vec![two]), ..DeviceFilter::default() };
    assert_eq!(tx.devices(&of_two, 0, 100).await.unwrap().len(), 6);
}

#[tokio::test]
async fn the_oldest_is_forgotten_first_and_in_pieces() {
    let (house, mut tx) = two_sensors().await;
    let rows: Vec<_> = (0..10).map(|n| alert(&house, 1, n)).collect();
    tx.take_alerts(&rows).await.unwrap();
    let id = rows[0].sensor;
    let limit = T0 + SECOND * 4;
    assert_eq!(tx.forget_alerts(limit, 3).await.unwrap(), 3);
    assert_eq!(tx.forget_alerts(limit, 3).await.unwrap(), 1);
    assert_eq!(tx.forget_alerts(limit, 3).await.unwrap(), 0);
    assert_eq!(tx.alerts(&AlertFilter::default(), 0, 100).await.unwrap().last(), Some(&rows[4]));
    assert_eq!(tx.sensors_over_alerts(6).await.unwrap(), []);
    assert_eq!(tx.sensors_over_alerts(4).await.unwrap(), [(id, 2)]);
    tx.forget_oldest_alerts(id, 2).await.unwrap();
    assert_eq!(tx.alerts(&AlertFilter::default(), 0, 100).await.unwrap().last(), Some(&rows[6]));

    let devices: Vec<_> = (0..10).map(|n| device(&format!("d{n}"), n)).collect();
    tx.take_devices(id, Taken { ordinal: 1, through: 1 }, &devices).await.unwrap();
    assert_eq!(tx.forget_devices(limit, 100).await.unwrap(), 4);
    assert_eq!(tx.sensors_over_devices(5).await.unwrap(), [(id, 1)]);
    tx.forget_longest_unseen(id, 1).await.unwrap();
    let left: Vec<_> = tx.devices(&DeviceFilter::default(), 0, 100).await.unwrap().into_keys().collect();
    assert_eq!(left, ["d5", "d6", "d7", "d8", "d9"]);
}

#[tokio::test]
async fn another_workspace_sees_no_evidence() {
    let (house, mut tx) = two_sensors().await;
    let row = alert(&house, 1, 1);
    tx.take_alerts(std::slice::from_ref(&row)).await.unwrap();
    tx.take_devices(row.sensor, Taken { ordinal: 1, through: 1 }, &[device("a", 1)]).await.unwrap();
    tx.commit().await.unwrap();
    let mut other = house.store.begin(WorkspaceId::from_parts(T0, 2)).await.unwrap();
    assert_eq!(other.alert(row.id).await.unwrap(), None);
    assert!(other.alerts(&AlertFilter::default(), 0, 10).await.unwrap().is_empty());
    assert!(other.devices(&DeviceFilter::default(), 0, 10).await.unwrap().is_empty());
    assert_eq!(other.forget_alerts(T0 + SECOND * 100, 10).await.unwrap(), 0);
}

#[tokio::test]
async fn a_full_disk_keeps_nothing_of_a_batch() {
    let (house, tx) = two_sensors().await;
    let id = sensor(&house, 1).sensor.id;
    tx.commit().await.unwrap();
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(tx.statement()).await.unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2));
    sqlx::query(limit).execute(tx.statement()).await.unwrap();
    tx.take_stream(id, "a", 1_000, T0).await.unwrap();
    let rows: Vec<_> = (0..1_000).map(|n| alert(&house, 1, n)).collect();
    let error = tx.take_alerts(&rows).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull(_)), "{error:?}");
    drop(tx);
    let mut tx = house.store.read(house.workspace).await.unwrap();
    assert_eq!(tx.count_alerts(&AlertFilter::default()).await.unwrap(), 0);
    let sql = "SELECT COUNT(*) FROM evidence_streams";
    let streams: i64 = sqlx::query_scalar(sql).fetch_one(tx.statement()).await.unwrap();
    assert_eq!(streams, 0, "the stream would be acknowledged without its alerts");
}
