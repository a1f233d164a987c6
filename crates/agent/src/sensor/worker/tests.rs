//! The whole way from a line in the log to an alert on disk and a number in the status, without a process.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use watchpost_core::version::Version;

use super::super::reload::{Expectation, Reloaded};
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
    let mut sigma = Sigma::load(rules).unwrap();
    let sink = Sink::open(folder).unwrap();
    sigma.restore(&sink.counts());
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

/// In all: 3 changes of domain controllers, 2 unknown accounts, 3 wrong passwords, 3 resets, 2 privileged members, and
/// once five failed logons from one address.
const RECORDED_ALERTS: usize = 14;

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
    assert_eq!((proof.rules_loaded, proof.rules_failed), (15, 0));
    let engine = EngineProof { detected_at: START, rules_loaded: 15, rules_failed: 0 };
    assert_eq!(proof.engines, BTreeMap::from([(EngineKind::Sigma, engine)]));
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

/// A failed logon so many seconds after a fixed instant, of an account that the directory does not hold.
fn failed(seconds: u32, account: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-01-05T00:{:02}:{:02}.000000+0000","type":"Authentication","Authentication":{{"eventId":4625,
        "status":"NT_STATUS_ACCOUNT_DISABLED","clientAccount":"{account}","remoteAddress":"ipv4:10.0.0.{}:1"}}}}"#,
        seconds / 60,
        seconds % 60,
        seconds % 250 + 1
    )
    .replace('\n', "")
        + "\n"
}

/// The rule ids and the ids of all alerts on disk, in their order.
fn alerts_of(folder: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(folder.join("alerts.jsonl")).unwrap();
    let alert = |line: &str| serde_json::from_str::<super::super::alert::Alert>(line).unwrap();
    text.lines().map(alert).map(|alert| (alert.rule.rule_file, alert.id)).collect()
}

/// Copies of what a sensor keeps, to go back to: a death that loses what was not yet durable.
fn copy_state(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        match fs::copy(from.join(name), to.join(name)) {
            Ok(_) => {}
            Err(_) => drop(fs::remove_file(to.join(name))),
        }
    }
}

#[test]
fn a_death_between_any_two_steps_of_a_commit_gives_the_same_alerts_none_twice() {
    let lines: Vec<String> =
        (0..40).map(|n| failed(n * 45, ["amy", "bob", "cyd"][n as usize % 3])).chain([failed(1_900, "amy")]).collect();
    let mut whole = Bench::new(&content("rules"));
    for line in &lines {
        whole.append(line);
        whole.worker.look();
    }
    // By arithmetic: each account fails every 135 s. Its fifth failure, 540 s after the first, completes the rule; it is
    // left alone until 1140 s and counted again at 1215, 1350, 1485, 1620 and 1755 s, which only amy, the first, reaches.
    let expected: Vec<String> = alerts_of(whole.folder.path()).into_iter().map(|(file, _)| file).collect();
    assert_eq!(expected, ["failed-logons-of-one-account.yml"; 4]);
    let steps: [&[&str]; 3] = [
        // Died after the alerts, before the counts and the place.
        &["cursor", "correlation.1", "correlation.2"],
        // Died after the counts, before the place.
        &["cursor"],
        // Died before anything.
        &["cursor", "correlation.1", "correlation.2", "alerts.jsonl"],
    ];
    for lost in steps {
        let mut bench = Bench::new(&content("rules"));
        // The same file, so that the same events have the same places.
        let log = bench.folder.path().join("audit.json");
        fs::hard_link(whole.folder.path().join("audit.json"), &log).unwrap();
        fs::write(&log, "").unwrap();
        bench.kill_and_restart(&content("rules"));
        let before = tempfile::tempdir().unwrap();
        for line in &lines {
            bench.append(line);
            copy_state(bench.folder.path(), before.path(), lost);
            bench.worker.looks_since_settled = SETTLE_AFTER_LOOKS;
            bench.worker.look();
            copy_state(before.path(), bench.folder.path(), lost);
            bench.kill_and_restart(&content("rules"));
            bench.worker.looks_since_settled = SETTLE_AFTER_LOOKS;
            bench.worker.look();
        }
        let found = alerts_of(bench.folder.path());
        assert_eq!(found.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>(), expected, "{lost:?}");
        let ids: BTreeSet<&String> = found.iter().map(|(_, id)| id).collect();
        assert_eq!(ids.len(), found.len(), "{lost:?}");
        assert_eq!(bench.status().alert_count, found.len() as u64, "{lost:?}");
    }
}

fn reload(bench: &mut Bench, folders: &[&Path], loaded: u32, failed: u32) -> Reloaded {
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
    bench.worker.reload(Reload { folders, expectation: Expectation { loaded, failed }, reply });
    loop {
        bench.worker.look();
        match answer.try_recv() {
            Ok(reloaded) => return reloaded,
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn rules_are_swapped_between_two_events_and_what_was_counted_goes_on() {
    let mut bench = Bench::new(&content("rules"));
    (0..4).for_each(|n| bench.append(&failed(n, "amy")));
    bench.worker.look();
    let package = tempfile::tempdir().unwrap();
    let rule = "title: T\nid: extra\nlogsource:\n  product: samba\ndetection:\n  s:\n    type: Authentication\n    Authentication.clientAccount: zoe\n  condition: s\n";
    fs::write(package.path().join("extra.yml"), rule).unwrap();
    let swapped = reload(&mut bench, &[&content("rules"), package.path()], 16, 0);
    let Reloaded::Swapped(rules) = swapped else { panic!("{swapped:?}") };
    assert_eq!((rules.loaded, rules.failed, bench.status().rules_loaded), (16, 0, 16));
    assert_eq!(bench.status().rules_sha256, rules.sha256);
    assert_eq!(bench.status().facts.engines[&EngineKind::Sigma].rules_loaded, 16);
    bench.append(&failed(4, "amy"));
    bench.append(&failed(5, "zoe"));
    bench.worker.look();
    let files: Vec<String> = alerts_of(bench.folder.path()).into_iter().map(|(file, _)| file).collect();
    assert_eq!(files, ["failed-logons-of-one-account.yml", "package-1/extra.yml"]);
    bench.worker.prove(9);
    assert_eq!(bench.status().proof.unwrap().rules_loaded, 16);
}

#[test]
fn a_set_that_loads_worse_than_it_promised_is_not_swapped_in() {
    let mut bench = Bench::new(&content("rules"));
    let before = bench.status();
    let package = tempfile::tempdir().unwrap();
    fs::write(package.path().join("broken.yml"), "title: [").unwrap();
    for (loaded, failed) in [(16, 1), (15, 0)] {
        let refused = reload(&mut bench, &[&content("rules"), package.path()], loaded, failed);
        let Reloaded::Refused { rules, why } = refused else { panic!("{refused:?}") };
        assert_eq!((rules.loaded, rules.failed), (15, 1));
        assert!(why.contains("15 rules loaded and 1 were refused") && why.contains("broken.yml"), "{why}");
    }
    let refused = reload(&mut bench, &[&package.path().join("gone")], 0, 0);
    assert!(matches!(refused, Reloaded::Refused { .. }), "{refused:?}");
    assert_eq!(bench.status().rules_sha256, before.rules_sha256);
    bench.append(&recorded());
    bench.worker.look();
    assert_eq!(bench.alerts(), RECORDED_ALERTS);
}

/// An evidence store that refuses so many times, and counts what it took.
struct Kept(std::sync::Arc<std::sync::Mutex<(u32, Vec<Trace>)>>);

impl Keep for Kept {
    fn keep(&mut self, trace: &Trace) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap();
        if kept.0 > 0 {
            kept.0 -= 1;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        kept.1.push(trace.clone());
        Ok(())
    }
}

#[test]
fn evidence_is_kept_before_the_place_is_settled_and_again_if_it_was_refused() {
    let mut bench = Bench::new(&content("rules"));
    let kept = std::sync::Arc::new(std::sync::Mutex::new((1, Vec::new())));
    bench.worker = bench.worker.keeping(Box::new(Kept(std::sync::Arc::clone(&kept))));
    bench.append(&recorded());
    bench.worker.look();
    assert_eq!((kept.lock().unwrap().1.len(), bench.alerts()), (0, 0));
    assert_eq!(Sink::open(bench.folder.path()).unwrap().place(), None);
    bench.worker.look();
    let traces = std::mem::take(&mut kept.lock().unwrap().1);
    let [trace] = traces.as_slice() else { panic!("{traces:?}") };
    assert_eq!((trace.alerts.len(), bench.alerts()), (RECORDED_ALERTS, RECORDED_ALERTS));
    let seen: BTreeSet<_> = trace.sightings.iter().filter_map(|seen| seen.address.as_deref()).collect();
    assert_eq!(seen, BTreeSet::from(["10.88.0.1"]));
}

#[test]
fn the_facts_say_whether_the_log_is_there_flows_and_is_whole() {
    let mut bench = Bench::new(&content("rules"));
    bench.worker.look();
    let facts = |bench: &Bench| bench.status().facts.events.unwrap();
    assert_eq!(facts(&bench).unreadable_since, Some(START));
    bench.append(&failed(0, "amy"));
    bench.worker.look();
    assert_eq!(facts(&bench), watchpost_core::facts::EventFacts::default());
    bench.clock.set(START + Duration::from_secs(60));
    bench.worker.look();
    assert_eq!(facts(&bench).silent_since, Some(START));
    bench.append("garbage\n");
    bench.worker.look();
    assert_eq!(
        (facts(&bench).silent_since, facts(&bench).dropping_since),
        (None, Some(START + Duration::from_secs(60)))
    );
    let measured = bench.status().measurements;
    assert_eq!((measured.events_read, measured.events_not_analysed), (2, 1));
}
