//! The whole way from a line in the log to an alert on disk and a number in the status, without a process.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use watchpost_core::version::Version;

use super::*;
use crate::engine::Engine as _;
use crate::engine::sigma::Sigma;

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);

struct Bench {
    folder: tempfile::TempDir,
    clock: Clock,
    status: watch::Receiver<SensorStatus>,
    worker: Worker,
}

fn content(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content").join(part)
}

fn worker(folder: &Path, rules: &Path, clock: &Clock) -> (Worker, watch::Receiver<SensorStatus>) {
    let sigma = Sigma::load(rules).unwrap();
    let sink = Sink::open(folder).unwrap();
    let (publish, seen) = watch::channel(SensorStatus {
        rules_loaded: sigma.rules().loaded,
        rules_failed: sigma.rules().failed,
        alert_count: sink.alert_count(),
        ..SensorStatus::starting(Version::new(2, 255, 1, 0), 1)
    });
    let tail = Tail::new(folder.join("audit.json"), sink.place());
    (Worker::new(tail, Pipeline::new(Box::new(sigma)), sink, clock.clone(), publish), seen)
}

impl Bench {
    fn new(rules: &Path) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(START));
        let (worker, status) = worker(folder.path(), rules, &clock);
        Self { folder, clock, status, worker }
    }

    fn append(&self, text: &str) {
        let path = self.folder.path().join("audit.json");
        fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn status(&self) -> SensorStatus {
        self.status.borrow().clone()
    }

    fn alerts(&self) -> usize {
        fs::read_to_string(self.folder.path().join("alerts.jsonl")).unwrap().lines().count()
    }

    /// Kills the sensor and starts another one, perhaps of another release.
    fn kill_and_restart(&mut self, rules: &Path) {
        (self.worker, self.status) = worker(self.folder.path(), rules, &self.clock);
    }
}

fn recorded() -> String {
    fs::read_to_string(content("samples/samba-audit.jsonl")).unwrap()
}

/// In all: 3 changes of domain controllers, 2 unknown accounts, 3 wrong passwords, 3 resets, 2 privileged members.
const RECORDED_ALERTS: usize = 13;

#[test]
fn the_recorded_log_gives_its_alerts_once_however_often_the_sensor_is_killed() {
    let mut bench = Bench::new(&content("rules"));
    for line in recorded().split_inclusive('\n') {
        let (first, second) = line.split_at(line.len() / 2);
        bench.append(first);
        bench.worker.look();
        bench.append(second);
        bench.kill_and_restart(&content("rules"));
        bench.worker.look();
    }
    bench.kill_and_restart(&content("rules"));
    bench.worker.look();
    assert_eq!(bench.alerts(), RECORDED_ALERTS);
    assert_eq!(bench.status().alert_count, RECORDED_ALERTS as u64);
    assert!(bench.status().conditions.is_empty());
}

#[test]
fn a_release_without_the_rule_does_not_detect_and_the_next_one_goes_on_at_the_cursor() {
    let fewer = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(content("rules")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "failed-logon-wrong-password.yml" {
            fs::copy(entry.path(), fewer.path().join(entry.file_name())).unwrap();
        }
    }
    let wrong_password: String = recorded().lines().nth(4).unwrap().to_owned() + "\n";
    let mut bench = Bench::new(fewer.path());
    bench.append(&wrong_password);
    bench.worker.look();
    assert_eq!(bench.status().alert_count, 0);
    // The orderly stop of an update settles the place.
    let stopped =
        std::mem::replace(&mut bench.worker, worker(tempfile::tempdir().unwrap().path(), fewer.path(), &bench.clock).0);
    stopped.finish();
    bench.kill_and_restart(&content("rules"));
    bench.append(&wrong_password);
    bench.worker.look();
    assert_eq!(bench.status().alert_count, 1);
}

#[test]
fn a_canary_gives_a_proof_of_its_generation_and_no_alert() {
    let mut bench = Bench::new(&content("rules"));
    bench.append(&recorded());
    bench.worker.prove(7);
    let status = bench.status();
    let proof = status.proof.unwrap();
    assert_eq!((proof.generation, proof.version, proof.detected_at), (7, Version::new(2, 255, 1, 0), START));
    assert_eq!((proof.rules_loaded, proof.rules_failed), (6, 0));
    assert_eq!((status.alert_count, bench.alerts()), (RECORDED_ALERTS as u64, RECORDED_ALERTS));
    bench.worker.prove(8);
    assert_eq!(bench.status().proof.unwrap().generation, 8);
}

#[test]
fn without_the_canary_rule_the_answer_has_no_proof() {
    let release = tempfile::tempdir().unwrap();
    let name = "failed-logon-wrong-password.yml";
    fs::copy(content("rules").join(name), release.path().join(name)).unwrap();
    let mut bench = Bench::new(release.path());
    bench.status.mark_unchanged();
    bench.worker.prove(7);
    assert!(bench.status.has_changed().unwrap(), "whoever asked waits for an answer");
    assert_eq!((bench.status().proof, bench.status().alert_count), (None, 0));
}

#[test]
fn a_disk_that_takes_no_alert_gives_no_proof_either_until_it_does() {
    let mut bench = Bench::new(&content("rules"));
    let obstacle = bench.folder.path().join("cursor.tmp");
    fs::create_dir(&obstacle).unwrap();
    bench.append(&recorded());
    bench.worker.prove(7);
    let status = bench.status();
    assert_eq!(status.proof, None);
    assert!(status.conditions.contains(NOT_ANALYSED));
    fs::remove_dir(&obstacle).unwrap();
    bench.worker.look();
    assert_eq!(bench.status().proof.unwrap().generation, 7);
    assert_eq!(bench.alerts(), RECORDED_ALERTS);
}

#[test]
fn garbage_raises_the_condition_for_an_hour_and_stops_nothing() {
    let mut bench = Bench::new(&content("rules"));
    bench.append("{\"type\": \"Authen\u{0}\nnot json\n[]\n");
    bench.append(&"x".repeat(2 * 1024 * 1024));
    bench.append("\n");
    bench.append(&recorded());
    while bench.worker.look() {}
    assert_eq!(bench.status().alert_count, RECORDED_ALERTS as u64);
    assert_eq!(bench.status().conditions, BTreeSet::from([NOT_ANALYSED.to_owned()]));
    bench.clock.set(START + CONDITION_LASTS - Duration::from_millis(1));
    bench.worker.look();
    assert!(!bench.status().conditions.is_empty());
    bench.clock.set(START + CONDITION_LASTS);
    bench.worker.look();
    assert!(bench.status().conditions.is_empty());
}

#[test]
fn a_place_without_alerts_becomes_durable_after_a_while() {
    let mut bench = Bench::new(&content("rules"));
    let harmless = recorded().lines().next().unwrap().to_owned() + "\n";
    for _ in 0..SETTLE_AFTER_LOOKS {
        bench.append(&harmless);
        bench.worker.look();
    }
    let settled = Sink::open(bench.folder.path()).unwrap().place().unwrap();
    assert_eq!(settled.offset, u64::from(SETTLE_AFTER_LOOKS) * harmless.len() as u64);
}
