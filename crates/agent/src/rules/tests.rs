//! A host takes, keeps and puts back rule packages, and ends right wherever the power is cut.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use watchpost_core::content::{RulesFailure, RulesManifest, RulesPromise, RulesSet, rules_file_name};
use watchpost_core::facts::{EngineFacts, EngineKind, EngineState};
use watchpost_core::sync::TargetRef;
use watchpost_core::version::Version;
use watchpost_package::{Contents, Sha256Hex, cab, inspect};

use super::*;
use crate::host::disk::tests::Power;

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const BASELINE: Baseline = Baseline { sigma: 6, suricata: 0 };

/// Packages that lie ready, and a shelf to put them on.
#[derive(Clone)]
struct Ready {
    packages: Arc<BTreeMap<Timestamp, (PathBuf, u64, Sha256Hex)>>,
    shelf: Shelf,
}

impl Fetch for Ready {
    async fn fetch(&self, order: DesiredRules, _: Timestamp) -> RulesEvent {
        let set = RulesSet { build: order.build, sha256: order.target.sha256 };
        let (package, length, sha256) = &self.packages[&order.build];
        let staging = match self.shelf.staging() {
            Ok(staging) => staging,
            Err(error) => {
                return RulesEvent::FetchFailed { build: order.build, reason: error.to_string(), retryable: true };
            }
        };
        watchpost_package::extract(package, *length, sha256, &staging).unwrap();
        match self.shelf.install(&staging, &set) {
            Ok(()) => RulesEvent::Fetched { set, promise: RulesPromise { sigma: 1, suricata: 0 } },
            Err(error) => RulesEvent::FetchFailed { build: order.build, reason: error.to_string(), retryable: true },
        }
    }

    fn raise_floor(&self, _: &RulesSet) {}
}

/// A host with two packages to be had, and a sensor that says what it was made to say.
struct Host {
    root: tempfile::TempDir,
    packages: Arc<BTreeMap<Timestamp, (PathBuf, u64, Sha256Hex)>>,
    loaded: Option<Timestamp>,
    /// Rules that the second package brings less than it promises.
    missing: u32,
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn build(day: u64) -> Timestamp {
    START + Duration::from_secs(day * 86_400)
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut packages = BTreeMap::new();
        for day in [1, 2] {
            let from = root.path().join(format!("from-{day}"));
            std::fs::create_dir_all(from.join("sigma")).unwrap();
            std::fs::write(from.join("sigma/a.yml"), format!("title: {day}")).unwrap();
            let rules =
                RulesManifest { build: build(day), notes: String::new(), sigma_expected: 1, suricata_expected: 0 };
            let out = root.path().join(rules_file_name(build(day)));
            cab::build(&from, &Contents::Rules(rules), &out).unwrap();
            let info = inspect(&out, None).unwrap();
            packages.insert(build(day), (out, info.length, info.sha256));
        }
        std::fs::create_dir_all(root.path().join("host/state")).unwrap();
        std::fs::create_dir_all(root.path().join("host/updater/downloads")).unwrap();
        Self { root, packages: Arc::new(packages), loaded: None, missing: 0 }
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.root.path().join("host"))
    }

    fn order(&self, day: u64) -> DesiredRules {
        let (path, length, sha256) = &self.packages[&build(day)];
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let target = TargetRef { name, sha256: sha256.to_string(), length: *length };
        DesiredRules { build: build(day), target, push: 0, withdrawn: None }
    }

    fn open(&self, disk: &Disk) -> Result<(Rules<Ready>, mpsc::Receiver<RulesEvent>), RulesHostError> {
        let (done, results) = mpsc::channel(8);
        let shelf = Shelf::new(self.layout(), disk.clone());
        let fetch = Ready { packages: Arc::clone(&self.packages), shelf };
        Ok((Rules::over(&self.layout(), disk.clone(), fetch, done, START)?, results))
    }

    fn status(&self) -> SensorStatus {
        let package = u32::from(self.loaded.is_some());
        let missing = if self.loaded == Some(build(2)) { self.missing } else { 0 };
        let engine = EngineFacts {
            state: EngineState::Running,
            since: START,
            reason: String::new(),
            rules_loaded: 6 + package - missing,
            rules_failed: 0,
            rules_superseded: 0,
            complaints: Vec::new(),
            events_lost_since: None,
        };
        let mut status = SensorStatus::starting(Version::new(2, 255, 1, 0), 1);
        status.facts.engines.insert(EngineKind::Sigma, engine);
        status.rules.build = self.loaded;
        status
    }

    /// A new sensor process reads what its host has in effect.
    fn start_sensor(&mut self) {
        self.loaded = committed_rules(self.layout().root()).map(|rules| rules.build);
    }

    /// Wants a package, and goes on until nothing more is to be done.
    async fn settle(&mut self, disk: &Disk, day: u64) -> Result<Rules<Ready>, RulesHostError> {
        let (mut rules, mut results) = self.open(disk)?;
        let mut asks = rules.heard(&self.status(), BASELINE, START)?;
        asks.extend(rules.desired(Some(self.order(day)), START, START)?);
        loop {
            while let Some(ask) = asks.pop() {
                self.loaded = match ask.clone() {
                    Ask::LoadRules { build, folder } => {
                        assert!(folder.join("sigma/a.yml").is_file());
                        Some(build)
                    }
                    Ask::DropRules => None,
                    Ask::Watch
                    | Ask::Prove { .. }
                    | Ask::Configure { .. }
                    | Ask::Show { .. }
                    | Ask::Evidence
                    | Ask::EvidenceTaken { .. } => panic!("{ask:?}"),
                };
                asks.extend(rules.heard(&self.status(), BASELINE, START)?);
            }
            if !rules.is_fetching() {
                return Ok(rules);
            }
            let event = results.recv().await.unwrap();
            asks.extend(rules.fetched(event, START)?);
        }
    }

    fn folders(&self) -> usize {
        std::fs::read_dir(self.layout().rules()).unwrap().count()
    }
}

#[tokio::test]
async fn a_package_is_kept_survives_restarts_and_the_one_before_stays() {
    let mut host = Host::new();
    let disk = Disk::default();
    let report = host.settle(&disk, 1).await.unwrap().report();
    assert_eq!((report.build, report.loading, report.failed), (Some(build(1)), None, None));
    host.start_sensor();
    assert_eq!(host.loaded, Some(build(1)), "no gap after a restart of the sensor");
    host.settle(&disk, 2).await.unwrap();
    assert_eq!((host.loaded, host.folders()), (Some(build(2)), 2));
    let (rules, _) = host.open(&disk).unwrap();
    assert_eq!(rules.report().build, Some(build(2)));
    // Pulled back: what was here before, without fetching.
    let report = host.settle(&disk, 1).await.unwrap().report();
    assert_eq!((report.build, host.loaded, host.folders()), (Some(build(1)), Some(build(1)), 1));
}

#[tokio::test]
async fn a_package_that_loads_worse_than_it_promised_is_put_back() {
    let mut host = Host::new();
    let disk = Disk::default();
    host.settle(&disk, 1).await.unwrap();
    host.missing = 1;
    let report = host.settle(&disk, 2).await.unwrap().report();
    let RulesFailure { build: failed, reason, .. } = report.failed.unwrap();
    assert_eq!((report.build, host.loaded, failed), (Some(build(1)), Some(build(1)), build(2)));
    assert_eq!(reason, "sigma has loaded 6 rules; the release brings 6 and the package promises 1 more");
    assert_eq!(committed_rules(host.layout().root()).unwrap().build, build(1));
    assert_eq!(host.folders(), 1, "the bad one is gone");
}

#[tokio::test]
async fn an_altered_folder_is_not_used_and_fetched_again() {
    let mut host = Host::new();
    let disk = Disk::default();
    host.settle(&disk, 1).await.unwrap();
    let folder = committed_rules(host.layout().root()).unwrap().folder;
    std::fs::write(folder.join("sigma/a.yml"), "title: 9").unwrap();
    let (rules, _) = host.open(&disk).unwrap();
    assert_eq!(rules.report().failed.unwrap().build, build(1));
    assert_eq!(committed_rules(host.layout().root()), None);
    let report = host.settle(&disk, 1).await.unwrap().report();
    assert_eq!((report.build, report.failed), (Some(build(1)), None));
}

#[tokio::test]
async fn a_sensor_that_names_no_engine_is_asked_nothing() {
    let host = Host::new();
    let (mut rules, mut results) = host.open(&Disk::default()).unwrap();
    let old = SensorStatus::starting(Version::new(2, 254, 1, 0), 1);
    assert!(rules.heard(&old, BASELINE, START).unwrap().is_empty());
    assert!(rules.desired(Some(host.order(1)), START, START).unwrap().is_empty());
    let event = results.recv().await.unwrap();
    assert!(rules.fetched(event, START).unwrap().is_empty());
    assert!(rules.heard(&old, BASELINE, START).unwrap().is_empty());
    assert_eq!(rules.wakes_at(), None);
}

#[tokio::test]
async fn three_sensors_that_end_over_a_package_make_it_bad_and_any_number_of_updaters_does_not() {
    let host = Host::new();
    let (mut rules, mut results) = host.open(&Disk::default()).unwrap();
    let says = |run| SensorStatus { run, ..host.status() };
    rules.heard(&says(7), BASELINE, START).unwrap();
    rules.desired(Some(host.order(1)), START, START).unwrap();
    let event = results.recv().await.unwrap();
    assert_eq!(rules.fetched(event, START).unwrap().len(), 1);
    for (run, asks) in [(7, 1), (7, 1), (7, 1), (7, 1), (8, 1), (8, 1), (9, 1), (10, 0)] {
        // No updater lives to see its sensor end: only the run of the next one tells.
        let (mut next, _) = host.open(&Disk::default()).unwrap();
        assert_eq!(next.heard(&says(run), BASELINE, START).unwrap().len(), asks, "run {run}");
        assert_eq!(next.report().bad.is_empty(), asks == 1, "run {run}");
    }
}

#[tokio::test]
async fn a_power_cut_anywhere_ends_with_the_package_that_is_wanted() {
    for missing in [0, 1] {
        let mut cut = 0;
        loop {
            let mut host = Host::new();
            host.settle(&Disk::default(), 1).await.unwrap();
            host.missing = missing;
            let power = Power::failing_at(cut);
            let ended = host.settle(&Disk { power: Some(power.clone()) }, 2).await.map(|_| ());
            let was_cut = power.is_off();
            if ended.is_err() {
                host.start_sensor();
            }
            let in_effect = host.loaded.unwrap();
            assert!(!was_cut || in_effect == build(1) || in_effect == build(2), "cut at step {cut}");
            let wanted = if missing == 0 { build(2) } else { build(1) };
            host.settle(&Disk::default(), 2).await.unwrap();
            assert_eq!(host.loaded, Some(wanted), "cut at step {cut}, missing {missing}");
            assert_eq!(committed_rules(host.layout().root()).unwrap().build, wanted);
            assert_eq!(names_in(&host.layout().state()), ["rules.json"], "cut at step {cut}, missing {missing}");
            if !was_cut {
                assert!(cut > 10, "the power was cut at {cut} places");
                break;
            }
            cut += 1;
        }
    }
}
