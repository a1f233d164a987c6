//! Coverage holds across rule loads and updates together, whoever begins and whatever fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::catalogue::{Catalogue, Release, ReleaseKind};
use crate::id::{SensorId, WorkspaceId};
use crate::policy::{Policy, RulesPolicy};
use crate::restart::RestartNeed;
use crate::rollout::{Fleet, Planner};
use crate::sensor::{Context, Sensor, SensorKind, is_watching};
use crate::sync::{DetectionProof, Report, ServiceState, UpdateProgress};
use crate::version::Version;

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const OLD: Version = Version::new(2, 254, 1, 0);
const NEW: Version = Version::new(2, 255, 1, 0);
const ZONE: &str = "hq/core";

fn target() -> TargetRef {
    TargetRef { name: "x.cab".to_owned(), sha256: "0".repeat(64), length: 1 }
}

fn build(number: i64) -> Timestamp {
    Timestamp::from_millis(START.millis() + number * 1_000)
}

/// Hosts of a zone as they are, apart from what the control plane knows.
struct World {
    fleet: Fleet,
    planner: Planner,
    board: RulesBoard,
    places: RulePlaces,
    catalogue: Catalogue,
    policy: Policy,
    now: Timestamp,
    /// Which host is really loading, and what.
    loading: BTreeMap<SensorId, Timestamp>,
    /// Which host really runs an update that it was handed.
    updating: BTreeSet<SensorId>,
    newest: i64,
}

impl World {
    fn new(sensors: u128, keep: u32) -> Self {
        let workspace = WorkspaceId::from_parts(START, 0);
        let kind = SensorKind::DomainControllerIntegrated;
        let one = |number: u128| {
            let id = SensorId::from_parts(START, number);
            let mut sensor = Sensor::new(id, workspace, format!("S{number}"), kind, START);
            sensor.zone = Some(ZONE.to_owned());
            let report = Report { version: Some(OLD), service: ServiceState::Running, ..Report::default() };
            sensor.checked_in(report, START);
            (id, sensor)
        };
        let mut policy = Policy::default();
        policy.rollout.coverage = BTreeMap::from([(ZONE.to_owned(), keep)]);
        policy.rollout.max_in_flight = Some(10);
        Self {
            fleet: (0..sensors).map(one).collect(),
            planner: Planner::default(),
            board: RulesBoard::new(RulesPolicy::default()),
            places: RulePlaces::default(),
            catalogue: Catalogue::default(),
            policy,
            now: START,
            loading: BTreeMap::new(),
            updating: BTreeSet::new(),
            newest: 0,
        }
    }

    fn publish_rules(&mut self) {
        self.newest += 1;
        let (build, published_at) = (build(self.newest), self.now);
        self.board.insert(RulePackage { build, target: target(), published_at, pulled_back_at: None });
    }

    fn publish_release(&mut self) {
        let (kind, target) = (ReleaseKind::Minor, Some(target()));
        let (published_at, pulled_back_at, minimum_base) = (self.now, None, None);
        let release = Release {
            version: NEW,
            kind,
            published_at,
            pulled_back_at,
            minimum_base,
            restart: RestartNeed::None,
            systems: Vec::new(),
            target,
        };
        if self.catalogue.insert(release) {
            self.planner.publish(NEW, self.now);
        }
    }

    /// The control plane looks, in the order in which the server does.
    fn look(&mut self) {
        let context = Context { policy: &self.policy, catalogue: &self.catalogue, ready_at: None, now: self.now };
        self.places.release(&self.fleet, &self.board, &context);
        self.planner.count_as_away(self.places.away());
        let _ = self.planner.wake(&mut self.fleet, &context);
        self.places.grant(&self.fleet, &self.board, &context);
        self.planner.count_as_away(self.places.away());
    }

    /// A host checks in, hears what follows, and begins with it.
    fn check_in(&mut self, id: SensorId) {
        let (now, size) = (self.now, self.fleet.len());
        let Some(sensor) = self.fleet.get_mut(&id) else { return };
        let mut report = sensor.report.clone();
        report.rules.loading = self.loading.get(&id).copied();
        sensor.checked_in(report, now);
        self.look();
        let Some(sensor) = self.fleet.get(&id) else { return };
        let may = self.places.may_load(sensor, &self.policy.rollout.coverage);
        let order = if may { self.board.desired(sensor, size) } else { self.board.as_it_is(sensor) };
        match order.map(|order| order.build) {
            wanted if wanted == sensor.report.rules.build => drop(self.loading.remove(&id)),
            Some(wanted) => drop(self.loading.insert(id, wanted)),
            None => {}
        }
        if sensor.update.flight.is_some() {
            self.updating.insert(id);
        }
    }

    fn finish_loading(&mut self, id: SensorId, is_good: bool) {
        let Some(loaded) = self.loading.remove(&id) else { return };
        let Some(sensor) = self.fleet.get_mut(&id) else { return };
        let rules = &mut sensor.report.rules;
        rules.loading = None;
        if is_good {
            rules.build = Some(loaded);
        } else {
            rules.bad.insert(loaded);
        }
        self.check_in(id);
    }

    fn finish_update(&mut self, id: SensorId, is_good: bool) {
        if !self.updating.remove(&id) {
            return;
        }
        let (at, now) = (self.now, self.now);
        let Some(sensor) = self.fleet.get_mut(&id) else { return };
        let generation = sensor.update.desired.generation;
        let report = &mut sensor.report;
        report.generation = generation;
        if is_good {
            report.version = Some(NEW);
            report.proof = Some(DetectionProof {
                generation,
                version: NEW,
                detected_at: now,
                rules_loaded: 1,
                rules_failed: 0,
                engines: BTreeMap::new(),
            });
        } else {
            let reason = "a test".to_owned();
            report.update = UpdateProgress::Failed { version: NEW, reverted: true, reason, at };
        }
        self.check_in(id);
    }

    /// Sensors that really watch.
    fn watching(&self) -> usize {
        let context = Context { policy: &self.policy, catalogue: &self.catalogue, ready_at: None, now: self.now };
        let watches = |sensor: &&Sensor| {
            let is_busy = self.loading.contains_key(&sensor.id) || self.updating.contains(&sensor.id);
            is_watching(sensor, &context) && !is_busy
        };
        self.fleet.values().filter(watches).count()
    }

    fn everybody_checks_in(&mut self) {
        self.now = self.now + Duration::from_secs(60);
        for id in self.fleet.keys().copied().collect::<Vec<_>>() {
            self.check_in(id);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Minute,
    PublishRules,
    PublishRelease,
    FinishLoading(u128, bool),
    FinishUpdate(u128, bool),
    Restart,
    PullBack,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_update_and_no_rule_load_ever_takes_a_zone_below_its_coverage(
        sensors in 1..7_u128,
        keep in 0..5_u32,
        deeds in proptest::collection::vec(prop_oneof![
            4 => Just(Deed::Minute),
            2 => Just(Deed::PublishRules),
            1 => Just(Deed::PublishRelease),
            5 => (0..7_u128, any::<bool>()).prop_map(|(n, good)| Deed::FinishLoading(n, good)),
            5 => (0..7_u128, any::<bool>()).prop_map(|(n, good)| Deed::FinishUpdate(n, good)),
            1 => Just(Deed::Restart),
            1 => Just(Deed::PullBack),
        ], 1..60),
    ) {
        let mut world = World::new(sensors, keep);
        // The first look of a server that has just started.
        world.look();
        let least = usize::try_from(keep).unwrap().min(world.fleet.len());
        for deed in deeds {
            match deed {
                Deed::Minute => world.everybody_checks_in(),
                Deed::PublishRules => world.publish_rules(),
                Deed::PublishRelease => world.publish_release(),
                Deed::FinishLoading(n, good) => world.finish_loading(SensorId::from_parts(START, n), good),
                Deed::FinishUpdate(n, good) => world.finish_update(SensorId::from_parts(START, n), good),
                Deed::Restart => world.places = RulePlaces::default(),
                Deed::PullBack => {
                    let mut last = world.board.newest().cloned();
                    if let Some(package) = &mut last {
                        package.pulled_back_at = Some(world.now);
                        world.board.insert(package.clone());
                    }
                }
            }
            world.look();
            prop_assert!(world.watching() >= least, "{} watch, {keep} must, after {deed:?}", world.watching());
        }
    }
}

#[test]
fn in_a_covered_zone_one_after_another_loads_new_rules_and_all_get_them() {
    let mut world = World::new(3, 2);
    world.look();
    world.publish_rules();
    let mut loaded = BTreeSet::new();
    for _ in 0..12 {
        world.everybody_checks_in();
        assert!(world.loading.len() <= 1, "{:?}", world.loading);
        if let Some(id) = world.loading.keys().next().copied() {
            loaded.insert(id);
            world.finish_loading(id, true);
        }
    }
    assert_eq!(loaded.len(), 3);
    assert!(world.fleet.values().all(|sensor| sensor.report.rules.build == Some(build(1))));
}

#[test]
fn who_began_with_rules_that_were_pulled_back_before_a_restart_is_waited_for() {
    let mut world = World::new(2, 1);
    world.look();
    world.publish_release();
    world.everybody_checks_in();
    world.publish_rules();
    world.look();
    world.finish_update(SensorId::from_parts(START, 0), false);
    assert_eq!(world.loading.len(), 1, "{:?}", world.places);
    let mut pulled_back = world.board.newest().cloned().unwrap();
    pulled_back.pulled_back_at = Some(world.now);
    world.board.insert(pulled_back);
    world.places = RulePlaces::default();
    world.look();
    assert!(world.watching() >= 1, "{:?}", world.places);
    // Nobody is at anything any more once all have said so: then updates go on.
    world.loading.clear();
    for _ in 0..4 {
        world.everybody_checks_in();
    }
    assert!(world.places.away().is_empty(), "{:?}", world.places);
}

#[test]
fn a_zone_without_coverage_loads_at_once_as_before() {
    let mut world = World::new(3, 2);
    world.policy.rollout.coverage.clear();
    world.look();
    world.publish_rules();
    world.everybody_checks_in();
    assert_eq!(world.loading.len(), 3);
}

#[test]
fn who_cannot_fetch_its_rules_gives_way_to_who_waits() {
    let mut world = World::new(2, 1);
    world.look();
    world.publish_rules();
    world.everybody_checks_in();
    let stuck = *world.loading.keys().next().unwrap();
    world.loading.clear();
    let failure = RulesFailure { build: build(1), reason: "no room".to_owned(), at: world.now };
    world.fleet.get_mut(&stuck).unwrap().report.rules.failed = Some(failure);
    world.everybody_checks_in();
    // It is asked to stay as it is, and waited for until it surely has heard so.
    assert!(!world.loading.contains_key(&stuck));
    for _ in 0..4 {
        world.loading.remove(&stuck);
        world.everybody_checks_in();
    }
    let other = *world.fleet.keys().find(|id| **id != stuck).unwrap();
    assert!(world.loading.contains_key(&other), "{:?}", world.places);
}

#[test]
fn a_sensor_that_waits_for_its_turn_says_so() {
    let mut world = World::new(1, 1);
    world.look();
    world.publish_rules();
    world.everybody_checks_in();
    let sensor = world.fleet.values().next().unwrap();
    let has_place = world.places.may_load(sensor, &world.policy.rollout.coverage);
    let standing = world.board.standing(sensor, 1, has_place, world.now);
    assert_eq!((standing.status.value, standing.offered), (RulesStatus::UpdateAvailable, None));
    assert!(standing.status.reason.contains("hq/core can spare nobody"), "{}", standing.status.reason);
}
