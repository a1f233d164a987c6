//! A sensor's evidence on a real disk: a day's worth within its budget, a full disk, and `kill -9`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use watchpost_agent::evidence::{Evidence, EvidenceError, Folders, Recorded, TimelineQuery};
use watchpost_core::evidence::{Alert, AlertLevel, Sighting, TimelineEntry};
use watchpost_core::facts::EngineKind;
use watchpost_core::policy::RetentionPolicy;
use watchpost_core::time::Timestamp;
use watchpost_tests::evidence::{Load, run};
use watchpost_tests::kill::Chance;
use watchpost_tests::site::{Ballast, has_own_mounts};
use watchpost_tests::tools;

/// Set in the process that records and is killed: its folder.
const RECORDER: &str = "WATCHPOST_TEST_RECORDS_IN";
/// Kills of the recorder.
const KILLS: u64 = 12;

fn open(root: &Path) -> Evidence {
    Evidence::open(Folders::of(root), RetentionPolicy::default()).unwrap()
}

/// Everything that carries this number: an alert, a device and an entry of the timeline.
fn numbered(number: u64) -> Recorded {
    let at = Timestamp::from_millis(i64::try_from(number).unwrap() * 60_000);
    let address = format!("10.{}.{}.1", number / 250, number % 250);
    Recorded {
        alerts: vec![Alert {
            id: format!("{number:032x}"),
            at,
            engine: EngineKind::Sigma,
            rule_id: "r".to_owned(),
            rule_title: "a rule".to_owned(),
            level: AlertLevel::Low,
            event: serde_json::Map::new(),
            devices: BTreeSet::new(),
            has_packets: false,
        }],
        sightings: vec![Sighting { at, address: Some(address), ..Sighting::default() }],
        timeline: vec![TimelineEntry { at, kind: "e".to_owned(), text: number.to_string(), devices: BTreeSet::new() }],
        ..Recorded::default()
    }
}

/// The numbers of the alerts, and of the entries of the timeline, newest first.
fn read(evidence: &mut Evidence) -> (Vec<u64>, Vec<u64>) {
    let (from, until) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    let alerts = evidence.alerts(from, until, u64::MAX).unwrap();
    let query = TimelineQuery { from, until, before: None, limit: usize::MAX };
    let timeline = evidence.timeline(&query).unwrap();
    let alerts = alerts.iter().map(|alert| u64::from_str_radix(&alert.id, 16).unwrap()).collect();
    (alerts, timeline.iter().map(|(_, entry)| entry.text.parse().unwrap()).collect())
}

#[test]
fn evidence_of_two_hours_stays_within_its_disk_and_the_oldest_go_first() {
    let root = tempfile::tempdir().unwrap();
    let evidence = run(Load { hours: 2, rate: 200, budget_mb: 24 }, root.path()).unwrap();
    assert_eq!(evidence["events"], 1_440_000);
    assert!(evidence["kept"]["timeline"]["dropped"].as_u64() > Some(0), "{evidence}");
    assert!(evidence["mostBytes"].as_u64() <= Some(24 << 20), "{evidence}");
}

#[test]
fn evidence_on_a_full_disk_is_refused_by_name_and_none_is_lost() {
    let name = "evidence::evidence_on_a_full_disk_is_refused_by_name_and_none_is_lost";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(root.path());
    tools::run(&mut mount, "apt-get install mount").unwrap();
    let mut evidence = open(root.path());
    for number in 1..=200 {
        evidence.record(&numbered(number)).unwrap();
    }
    let ballast = Ballast::fill(root.path()).unwrap();
    // The database's log may have some room left: it is used up first.
    let mut last = 200;
    let refused = loop {
        match evidence.record(&numbered(last + 1)) {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
        assert!(last < 100_000, "the disk is never full");
    };
    assert!(matches!(refused, EvidenceError::DiskFull(_)), "{refused:?}");
    let everything: Vec<u64> = (1..=last).rev().collect();
    assert_eq!(read(&mut evidence), (everything.clone(), everything.clone()));
    assert!(matches!(evidence.record(&numbered(last + 1)), Err(EvidenceError::DiskFull(_))));
    drop(evidence);
    drop(ballast);
    let mut evidence = open(root.path());
    assert_eq!(read(&mut evidence), (everything.clone(), everything));
    let ballast = Ballast::fill(root.path()).unwrap();
    while evidence.record(&numbered(last + 1)).is_ok() {
        last += 1;
    }
    drop(ballast);
    // The same process goes on as soon as there is room.
    assert_eq!(evidence.record(&numbered(last + 1)).unwrap().len(), 1);
    let everything: Vec<u64> = (1..=last + 1).rev().collect();
    assert_eq!(read(&mut evidence), (everything.clone(), everything));
    assert_eq!(evidence.devices().count() as u64, last + 1);
}

/// The process that is killed: records numbers from where the store is, and says each one that was acknowledged.
fn record_for_ever(root: &Path) {
    let mut evidence = open(root);
    let first = read(&mut evidence).0.first().copied().unwrap_or(0) + 1;
    for number in first.. {
        evidence.record(&numbered(number)).unwrap();
        // Straight to the pipe: what the parent reads was acknowledged.
        let mut out = std::io::stdout().lock();
        writeln!(out, "recorded {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_nine_and_is_there_once() {
    let name = "evidence::what_was_acknowledged_survives_kill_nine_and_is_there_once";
    if let Some(root) = std::env::var_os(RECORDER) {
        return record_for_ever(root.as_ref());
    }
    let root = tempfile::tempdir().unwrap();
    let mut chance = Chance::new(15);
    let mut last = 0;
    for kill in 0..KILLS {
        let mut recorder = Command::new(std::env::current_exe().unwrap());
        recorder.args([name, "--exact", "--nocapture"]).env(RECORDER, root.path()).stdout(Stdio::piped());
        let mut recorder = recorder.spawn().unwrap();
        let lines = BufReader::new(recorder.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The test harness says something before, on the same line.
        let mut said = lines.filter_map(|line| line.rsplit_once("recorded ")?.1.parse::<u64>().ok());
        let acknowledged = said.by_ref().take(usize::try_from(1 + chance.below(300)).unwrap()).last();
        tools::signal(i32::try_from(recorder.id()).unwrap(), rustix::process::Signal::KILL);
        let acknowledged = said.last().max(acknowledged).unwrap();
        recorder.wait().unwrap();
        let mut evidence = open(root.path());
        let (alerts, timeline) = read(&mut evidence);
        let there = alerts.first().copied().unwrap();
        assert!(
            there >= acknowledged && acknowledged > last,
            "kill {kill}: {there} there, {acknowledged} acknowledged"
        );
        let everything: Vec<u64> = (1..=there).rev().collect();
        assert_eq!((&alerts, &timeline), (&everything, &everything), "kill {kill}");
        assert_eq!(evidence.devices().count() as u64, there);
        assert!(evidence.set_aside().is_none());
        last = acknowledged;
    }
}
