//! Budgets: at every look the disk is within them, and what is missing is always the oldest.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

const MIB: u64 = 1 << 20;

fn small(evidence_bytes: u64) -> RetentionPolicy {
    RetentionPolicy { evidence_bytes, ..RetentionPolicy::default() }
}

fn is_the_newest(kept: &[u64], last: u64) -> bool {
    kept.iter().rev().copied().eq((last + 1).saturating_sub(kept.len() as u64)..=last)
}

#[test]
fn the_disk_budget_holds_at_every_look_and_the_oldest_go() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = Evidence::open(Folders::of(root.path()), small(16 * MIB)).unwrap();
    let mut last = 0;
    for round in 0..150 {
        let timeline = (0..2_000).map(|n| entry(last + 1 + n, &"x".repeat(120))).collect();
        last += 2_000;
        evidence.record(&Recorded { alerts: vec![alert(round)], timeline, ..Recorded::default() }).unwrap();
        assert!(evidence.bytes() <= 16 * MIB, "round {round}: {} bytes", evidence.bytes());
    }
    let kept: Vec<u64> = everything(&mut evidence).iter().map(|(number, _)| *number).collect();
    // Three quarters of the budget are for the file; an entry has about 130 bytes.
    assert!(kept.len() > 60_000 && is_the_newest(&kept, last), "{} kept", kept.len());
    assert_eq!(all_alerts(&mut evidence).len(), 150);
}

#[test]
fn alerts_go_after_the_timeline_and_those_that_only_we_have_go_last() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = Evidence::open(Folders::of(root.path()), small(16 * MIB)).unwrap();
    let text = Value::from("y".repeat(250));
    let large = |number: u64| {
        let event = (0..40).map(|n| (format!("k{n}"), text.clone())).collect();
        Alert { event, ..alert(number) }
    };
    let record = |evidence: &mut Evidence, from: u64, to: u64| {
        for first in (from..to).step_by(20) {
            let alerts = (first..first + 20).map(large).collect();
            let timeline = vec![entry(first, "e")];
            evidence.record(&Recorded { alerts, timeline, ..Recorded::default() }).unwrap();
            assert!(evidence.bytes() <= 16 * MIB, "{first}: {}", evidence.bytes());
        }
    };
    record(&mut evidence, 1, 401);
    let stream = evidence.stream().unwrap().to_owned();
    evidence.taken(&stream, 300).unwrap();
    record(&mut evidence, 401, 1_201);
    let kept: Vec<u64> =
        all_alerts(&mut evidence).iter().map(|alert| u64::from_str_radix(&alert.id, 16).unwrap()).collect();
    assert!(is_the_newest(&kept, 1_200), "{kept:?}");
    assert!(kept.len() < 1_200 - 300 || kept.last().copied() >= Some(1), "{}", kept.len());
    // Taken alerts went first: as long as one of them is there, none that waits may be missing.
    let waits = kept.iter().filter(|number| **number > 300).count();
    assert!(kept.len() == waits || waits == 900, "{} kept, {waits} of them wait", kept.len());
}

#[test]
fn the_timeline_has_no_more_events_than_it_may() {
    let root = tempfile::tempdir().unwrap();
    let policy = RetentionPolicy { timeline_events: 5_000, ..RetentionPolicy::default() };
    let mut evidence = Evidence::open(Folders::of(root.path()), policy).unwrap();
    for round in 0..20_u64 {
        let timeline = (0..700).map(|n| entry(round * 700 + n, "e")).collect();
        evidence.record(&Recorded { timeline, ..Recorded::default() }).unwrap();
        assert!(evidence.timeline_events().unwrap() <= 5_000);
    }
    let kept: Vec<u64> = everything(&mut evidence).iter().map(|(number, _)| *number).collect();
    assert!(kept.len() > 4_400 && is_the_newest(&kept, 14_000), "{} kept", kept.len());
}

#[test]
fn alerts_and_devices_are_kept_for_ninety_days_to_the_millisecond() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    let days = |days: i64| days * 24 * 60 * MINUTE;
    let sightings = vec![glimpse(MINUTE, "10.0.0.1"), glimpse(2 * MINUTE, "10.0.0.2")];
    evidence
        .record(&Recorded {
            alerts: vec![alert(60), alert(61)],
            sightings,
            timeline: vec![entry(1, "e")],
            ..Recorded::default()
        })
        .unwrap();
    assert_eq!(evidence.retain(at(days(90) + MINUTE)).unwrap(), Retained::default());
    let retained = evidence.retain(at(days(90) + MINUTE + 1)).unwrap();
    assert_eq!((retained.alerts, retained.devices), (1, 1));
    assert_eq!(all_alerts(&mut evidence), [alert(61)]);
    assert_eq!(evidence.devices().map(|device| device.key.as_str()).collect::<Vec<_>>(), ["10.0.0.2"]);
    assert_eq!(everything(&mut evidence).len(), 1, "the timeline has no time limit");
    drop(evidence);
    assert_eq!(open(root.path()).devices().count(), 1);
}

#[test]
fn a_lowered_budget_gives_the_disk_back() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    for round in 0..40_u64 {
        let timeline = (0..8_000).map(|n| entry(round * 8_000 + n, &"x".repeat(120))).collect();
        evidence.record(&Recorded { timeline, ..Recorded::default() }).unwrap();
    }
    assert!(evidence.bytes() > 32 * MIB);
    drop(evidence);
    let mut evidence = Evidence::open(Folders::of(root.path()), small(16 * MIB)).unwrap();
    evidence.retain(at(0)).unwrap();
    assert!(evidence.bytes() <= 16 * MIB, "{}", evidence.bytes());
    let kept: Vec<u64> = everything(&mut evidence).iter().map(|(number, _)| *number).collect();
    assert!(kept.len() > 60_000 && is_the_newest(&kept, 320_000));
}

#[test]
fn a_damaged_file_goes_when_there_is_no_room_for_it() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("state")).unwrap();
    let damaged = usize::try_from(8 * MIB).unwrap();
    fs::write(root.path().join("state/evidence.db"), vec![7; damaged]).unwrap();
    let mut evidence = Evidence::open(Folders::of(root.path()), small(16 * MIB)).unwrap();
    let aside = root.path().join("state/evidence.damaged.db");
    assert!(aside.exists());
    for round in 0..60_u64 {
        let timeline = (0..2_000).map(|n| entry(round * 2_000 + n, &"x".repeat(120))).collect();
        evidence.record(&Recorded { timeline, ..Recorded::default() }).unwrap();
        assert!(evidence.bytes() <= 16 * MIB, "round {round}: {}", evidence.bytes());
    }
    assert!(!aside.exists());
}

#[test]
fn captured_packets_stay_within_their_budget_and_an_alert_finds_its_own() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("engine/log");
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, bytes: usize, second: u64| {
        fs::write(folder.join(name), vec![1; bytes]).unwrap();
        let file = File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    };
    for n in 0..10_u64 {
        write(&format!("alert.1.pcap.{}", 1_000 + n * 100), 1_000, 1_090 + n * 100);
    }
    write("notes.txt", 5_000, 1);
    let policy = RetentionPolicy { capture_bytes: 4_500, ..RetentionPolicy::default() };
    let mut evidence = Evidence::open(Folders::of(root.path()), policy).unwrap();
    let found = |evidence: &mut Evidence, second: u64| {
        let files = evidence.captures_of(&alert(second)).unwrap();
        files.into_iter().map(|file| file.name).collect::<Vec<_>>()
    };
    assert_eq!(evidence.captures().unwrap().len(), 10);
    assert_eq!(found(&mut evidence, 1_150), ["alert.1.pcap.1100"]);
    assert_eq!(found(&mut evidence, 1_095), [""; 0]);
    let dropped = evidence.retain(at(0)).unwrap().captures;
    let expected: Vec<String> = (0..6).map(|n| format!("alert.1.pcap.{}", 1_000 + n * 100)).collect();
    assert_eq!(dropped, expected);
    assert_eq!((evidence.captures().unwrap().len(), evidence.capture_bytes().unwrap()), (4, 4_000));
    assert!(found(&mut evidence, 1_150).is_empty());
    // The file that is written grows: the index follows.
    write("alert.1.pcap.1900", 2_000, 2_500);
    assert_eq!(found(&mut evidence, 2_400), ["alert.1.pcap.1900"]);
    assert!(folder.join("notes.txt").exists());
}
