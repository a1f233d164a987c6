//! The store against its contract: nothing acknowledged is lost, nothing is there twice, damage is survived.

mod budget;
mod stream;

use std::collections::BTreeSet;

use serde_json::Value;
use watchpost_core::evidence::AlertLevel;
use watchpost_core::facts::EngineKind;

use super::*;

const MINUTE: i64 = 60_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn alert(number: u64) -> Alert {
    Alert {
        id: format!("{number:032x}"),
        at: at(i64::try_from(number).unwrap() * 1_000),
        engine: EngineKind::Suricata,
        rule_id: "1:2000001".to_owned(),
        rule_title: "a rule".to_owned(),
        level: AlertLevel::High,
        event: serde_json::Map::from_iter([("port".to_owned(), Value::from(502))]),
        devices: BTreeSet::from(["10.0.0.1".to_owned()]),
        has_packets: true,
    }
}

fn entry(number: u64, text: &str) -> TimelineEntry {
    let instant = at(i64::try_from(number).unwrap());
    TimelineEntry { at: instant, kind: "logon".to_owned(), text: format!("{text} {number}"), devices: BTreeSet::new() }
}

fn glimpse(millis: i64, address: &str) -> Sighting {
    Sighting { at: at(millis), address: Some(address.to_owned()), ..Sighting::default() }
}

fn everything(evidence: &mut Evidence) -> Vec<(u64, TimelineEntry)> {
    let query = TimelineQuery { from: at(i64::MIN), until: at(i64::MAX), before: None, limit: usize::MAX };
    evidence.timeline(&query).unwrap()
}

fn all_alerts(evidence: &mut Evidence) -> Vec<Alert> {
    evidence.alerts(at(i64::MIN), at(i64::MAX), u64::MAX).unwrap()
}

fn open(root: &Path) -> Evidence {
    Evidence::open(Folders::of(root), RetentionPolicy::default()).unwrap()
}

#[test]
fn what_was_recorded_is_there_after_reopening_and_an_alert_is_there_once() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    let recorded = Recorded {
        alerts: vec![alert(1), alert(2)],
        sightings: vec![glimpse(5 * MINUTE, "10.0.0.1")],
        timeline: vec![entry(1, "e"), entry(2, "e")],
        ..Recorded::default()
    };
    assert_eq!(evidence.record(&recorded).unwrap(), BTreeSet::from([alert(1).id, alert(2).id]));
    let again = Recorded { alerts: vec![alert(2), alert(3)], ..Recorded::default() };
    assert_eq!(evidence.record(&again).unwrap(), BTreeSet::from([alert(3).id]));
    let (stream, waiting) = (evidence.stream().unwrap().to_owned(), evidence.waiting().unwrap());
    assert_eq!((stream.len(), waiting), (32, 4));
    drop(evidence);

    let mut evidence = open(root.path());
    assert_eq!(evidence.stream().unwrap(), stream);
    assert_eq!(all_alerts(&mut evidence), [alert(3), alert(2), alert(1)]);
    assert_eq!(evidence.alerts(at(2_000), at(3_000), 9).unwrap(), [alert(2)]);
    assert_eq!(everything(&mut evidence), [(2, entry(2, "e")), (1, entry(1, "e"))]);
    assert_eq!(evidence.device("10.0.0.1").unwrap().last_seen, at(5 * MINUTE));
    assert_eq!(evidence.devices().count(), 1);
    assert!(evidence.bytes() > 0 && evidence.set_aside().is_none());
}

#[test]
fn the_timeline_is_read_in_pages_and_by_time() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    let timeline: Vec<TimelineEntry> = (1..=2_000).map(|n| entry(n, "event")).collect();
    evidence.record(&Recorded { timeline, ..Recorded::default() }).unwrap();
    let mut query = TimelineQuery { from: at(0), until: at(i64::MAX), before: None, limit: 300 };
    let mut read = Vec::new();
    loop {
        let page = evidence.timeline(&query).unwrap();
        let Some((number, _)) = page.last() else { break };
        query.before = Some(*number);
        read.extend(page);
    }
    let expected: Vec<(u64, TimelineEntry)> = (1..=2_000).rev().map(|n| (n, entry(n, "event"))).collect();
    assert_eq!(read, expected);
    let some = TimelineQuery { from: at(700), until: at(702), before: None, limit: 300 };
    assert_eq!(evidence.timeline(&some).unwrap(), [(701, entry(701, "event")), (700, entry(700, "event"))]);
}

#[test]
fn a_second_process_is_told_and_a_giant_record_is_refused_whole() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    let timeline: Vec<TimelineEntry> = (0..100_000).map(|n| entry(n, &"x".repeat(250))).collect();
    let too_much = evidence.record(&Recorded { alerts: vec![alert(1)], timeline, ..Recorded::default() });
    assert!(matches!(too_much, Err(EvidenceError::TooMuch { .. })), "{too_much:?}");
    assert!(all_alerts(&mut evidence).is_empty());
    let second = Evidence::open(Folders::of(root.path()), RetentionPolicy::default());
    assert!(matches!(second.map(|_| ()), Err(EvidenceError::InUse(_))));
}

#[test]
fn a_file_that_is_no_database_is_set_aside_with_a_reason() {
    for garbage in [vec![b'x'; 100_000], b"SQLite format 3\0".repeat(600)] {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("evidence.db"), &garbage).unwrap();
        let mut evidence = open(root.path());
        assert!(evidence.set_aside().is_some());
        assert_eq!(fs::read(state.join("evidence.damaged.db")).unwrap(), garbage);
        evidence.record(&Recorded { alerts: vec![alert(1)], ..Recorded::default() }).unwrap();
        assert_eq!(all_alerts(&mut evidence), [alert(1)]);
    }
}

#[test]
fn damage_at_any_place_never_stops_recording_and_begins_another_stream() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    let timeline: Vec<TimelineEntry> = (0..5_000).map(|n| entry(n, "event")).collect();
    let alerts = (1..200).map(alert).collect();
    let sightings = (1..200).map(|n| glimpse(n, &format!("10.0.0.{n}"))).collect();
    evidence.record(&Recorded { alerts, sightings, timeline, ..Recorded::default() }).unwrap();
    let stream = evidence.stream().unwrap().to_owned();
    drop(evidence);
    let whole = fs::read(root.path().join("state/evidence.db")).unwrap();
    let mut was_set_aside = 0;
    for page in 0..whole.len() / 4096 {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("state")).unwrap();
        let mut broken = whole.clone();
        broken[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(root.path().join("state/evidence.db"), broken).unwrap();
        let mut evidence = open(root.path());
        let recorded = Recorded {
            alerts: vec![alert(1_000)],
            sightings: vec![glimpse(9 * MINUTE, "10.0.0.77")],
            timeline: vec![entry(9_000, "after")],
            ..Recorded::default()
        };
        // A refusal for damage has begun another file: the second attempt goes there.
        if let Err(error) = evidence.record(&recorded) {
            assert!(matches!(error, EvidenceError::Damaged(_)), "page {page}: {error:?}");
            evidence.record(&recorded).unwrap();
        }
        let _ = evidence.next_batch();
        let _ = evidence.retain(at(0));
        let _ = evidence.alerts(at(0), at(i64::MAX), 1_000);
        let query = TimelineQuery { from: at(0), until: at(i64::MAX), before: None, limit: 10_000 };
        let _ = evidence.timeline(&query);
        let _ = evidence.captures();
        evidence.record(&Recorded { alerts: vec![alert(1_001)], ..recorded }).unwrap();
        if evidence.set_aside().is_some() {
            was_set_aside += 1;
            assert_ne!(evidence.stream().unwrap(), stream, "page {page}");
        }
        assert!(all_alerts(&mut evidence).contains(&alert(1_001)), "page {page}");
        assert!(evidence.device("10.0.0.77").is_some());
    }
    assert!(was_set_aside > 3, "damage was noticed {was_set_aside} times");
}
