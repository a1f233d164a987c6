//! What people may do to a rollout, first installations, and the desired generation.

use std::time::Duration;

use super::*;
use crate::catalogue::{Catalogue, Release, ReleaseKind};
use crate::id::WorkspaceId;
use crate::policy::Policy;
use crate::release::terms::SystemLine;
use crate::restart::RestartNeed;
use crate::sensor::{Context, SensorKind};
use crate::sync::{DetectionProof, Report, ServiceState, TargetRef, UpdateProgress};

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);
pub(super) const OLD: Version = Version::new(2, 254, 1, 0);
pub(super) const NEW: Version = Version::new(2, 255, 1, 0);

#[derive(Clone)]
pub(super) struct Fixture {
    pub(super) fleet: Fleet,
    pub(super) planner: Planner,
    pub(super) catalogue: Catalogue,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    /// The restart that what is published needs.
    pub(super) needs: RestartNeed,
    /// The systems that what is published names.
    pub(super) systems: Vec<SystemLine>,
}

impl Fixture {
    pub(super) fn of(versions: &[Option<Version>]) -> Self {
        let mut fleet = Fleet::new();
        for (number, version) in (0_u128..).zip(versions) {
            let (id, workspace) = (SensorId::from_parts(START, number), WorkspaceId::from_parts(START, 0));
            let kind = SensorKind::DomainControllerIntegrated;
            let mut sensor = Sensor::new(id, workspace, format!("S{number}"), kind, START);
            let service = if version.is_some() { ServiceState::Running } else { ServiceState::Stopped };
            sensor.checked_in(Report { version: *version, service, ..Report::default() }, START);
            fleet.insert(id, sensor);
        }
        let (catalogue, planner, policy) = (Catalogue::default(), Planner::default(), Policy::default());
        Self { fleet, planner, catalogue, policy, now: START, needs: RestartNeed::None, systems: Vec::new() }
    }

    pub(super) fn publish(&mut self, version: Version) {
        self.publish_from(version, None);
    }

    /// Publishes a release that only this version or a later one may take directly.
    pub(super) fn publish_from(&mut self, version: Version, minimum_base: Option<Version>) {
        let target = TargetRef { name: version.to_string(), sha256: "0".repeat(64), length: 1 };
        assert!(self.catalogue.insert(Release {
            version,
            kind: ReleaseKind::Minor,
            published_at: self.now,
            pulled_back_at: None,
            minimum_base,
            restart: self.needs,
            systems: self.systems.clone(),
            target: Some(target),
        }));
        assert!(self.planner.publish(version, self.now).is_some());
        assert!(self.planner.publish(version, self.now).is_none(), "planned once");
    }

    pub(super) fn wake(&mut self) -> Wake {
        let context = Context { policy: &self.policy, catalogue: &self.catalogue, ready_at: None, now: self.now };
        self.planner.wake(&mut self.fleet, &context)
    }

    pub(super) fn sensor(&mut self, number: u128) -> &mut Sensor {
        self.fleet.get_mut(&SensorId::from_parts(START, number)).unwrap()
    }

    /// The host runs what it was handed and proves it, for this generation.
    pub(super) fn prove(&mut self, number: u128, generation: u64) {
        let now = self.now;
        let sensor = self.sensor(number);
        let version = sensor.update.desired.version.unwrap();
        let report = Report {
            version: Some(version),
            service: ServiceState::Running,
            update: UpdateProgress::AwaitingClearance { version, switched_at: now },
            proof: Some(DetectionProof {
                generation,
                version,
                detected_at: now,
                rules_loaded: 6,
                rules_failed: 0,
                engines: std::collections::BTreeMap::new(),
            }),
            generation,
            ..Report::default()
        };
        sensor.checked_in(report, now);
    }

    /// What the host is told on which somebody asks for a version.
    pub(super) fn answer(&mut self, number: u128) -> Option<crate::sync::AskedReply> {
        let sensor = self.sensor(number).clone();
        let context = Context { policy: &self.policy, catalogue: &self.catalogue, ready_at: None, now: self.now };
        self.planner.answer_to_ask(&sensor, &context)
    }

    pub(super) fn pull_back(&mut self, version: Version) -> bool {
        self.catalogue.pull_back(version, self.now)
    }

    /// The host says the same as before.
    pub(super) fn heard(&mut self, number: u128) {
        let now = self.now;
        self.sensor(number).last_contact = Some(now);
    }

    pub(super) fn state(&self, version: Version) -> &'static str {
        self.planner.rollouts[&version].state.word()
    }

    pub(super) fn words(&mut self) -> Vec<&'static str> {
        self.wake().events.iter().map(|event| event.what.word()).collect()
    }
}

#[test]
fn a_control_plane_put_back_from_a_backup_asks_above_what_its_hosts_know() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.publish(NEW);
    // The host has heard of far more than this control plane remembers, and runs what it never handed out.
    let known = 9;
    fixture.sensor(0).report.generation = known;
    let words = fixture.words();
    let update = fixture.sensor(0).update.clone();
    assert_eq!(words, ["started", "started"]);
    assert!(update.desired.generation > known, "{update:?}");
    // In flight when the backup was made: what it proved for an order that was forgotten clears nothing.
    fixture.sensor(0).report.generation = known + 5;
    fixture.prove(0, known + 5);
    assert_eq!(fixture.words(), ["switched"]);
    let generation = fixture.sensor(0).update.desired.generation;
    assert!(generation > known + 5);
    fixture.prove(0, generation);
    assert_eq!(fixture.words(), ["cleared", "completed"]);
}

#[test]
fn a_host_keeps_what_it_runs_when_the_control_plane_has_forgotten_having_handed_it_out() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    let report = Report { version: Some(NEW), service: ServiceState::Running, generation: 9, ..Report::default() };
    let now = fixture.now;
    fixture.sensor(0).checked_in(report, now);
    assert!(fixture.words().is_empty());
    let desired = fixture.sensor(0).update.desired.clone();
    assert_eq!((desired.version, desired.cleared, desired.generation), (Some(NEW), false, 10));
    let known = fixture.wake();
    assert!(known.sensors.is_empty(), "it is said once");
    fixture.prove(0, 10);
    let _ = fixture.wake();
    assert!(fixture.sensor(0).update.desired.cleared);
}

#[test]
fn a_proof_of_an_older_generation_clears_nothing() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.publish(NEW);
    assert_eq!(fixture.words(), ["started", "started"]);
    let generation = fixture.sensor(0).update.desired.generation;
    fixture.prove(0, generation - 1);
    assert_eq!(fixture.words(), ["switched"]);
    fixture.prove(0, generation);
    assert_eq!(fixture.words(), ["cleared", "completed"]);
    let desired = &fixture.sensor(0).update.desired;
    assert!(desired.cleared && desired.generation == generation + 1);
}

#[test]
fn while_signed_metadata_has_expired_nobody_is_asked_to_update_and_then_it_goes_on() {
    let mut fixture = Fixture::of(&[Some(OLD), None]);
    fixture.publish(NEW);
    fixture.planner.is_trust_expired = true;
    assert_eq!(fixture.words(), ["skipped"]);
    let skip = fixture.sensor(0).update.skip.clone();
    assert_eq!(skip.map(|skip| skip.reason).as_deref(), Some("trustExpired"));
    assert_eq!(fixture.sensor(1).update.desired.version, None, "nor to install a first version");
    assert_eq!(fixture.words(), [""; 0], "told once");
    fixture.planner.is_trust_expired = false;
    assert_eq!(fixture.words(), ["started", "started"]);
    assert_eq!(fixture.sensor(1).update.desired.version, Some(NEW));
}

#[test]
fn a_proof_with_a_refused_rule_or_without_rules_clears_nothing() {
    for (rules_loaded, rules_failed) in [(0, 0), (5, 1)] {
        let mut fixture = Fixture::of(&[Some(OLD)]);
        fixture.publish(NEW);
        let _ = fixture.wake();
        let generation = fixture.sensor(0).update.desired.generation;
        fixture.prove(0, generation);
        let proof = fixture.sensor(0).report.proof.as_mut().unwrap();
        (proof.rules_loaded, proof.rules_failed) = (rules_loaded, rules_failed);
        assert!(!fixture.words().contains(&"cleared"), "{rules_loaded} loaded, {rules_failed} refused");
    }
}

#[test]
fn the_desired_generation_grows_by_one_with_every_change_and_never_shrinks() {
    let mut fixture = Fixture::of(&[Some(OLD), Some(OLD)]);
    fixture.publish(NEW);
    let mut last = [0, 0];
    for _ in 0..40 {
        let before: Vec<_> = (0..2).map(|number| fixture.sensor(number).update.desired.clone()).collect();
        let _ = fixture.wake();
        for number in 0..2 {
            let desired = fixture.sensor(u128::try_from(number).unwrap()).update.desired.clone();
            let grown = desired.generation - last[number];
            assert_eq!(desired != before[number], grown == 1, "a change is a generation, and nothing else is");
            assert!(grown <= 1);
            last[number] = desired.generation;
        }
        fixture.now = fixture.now + Duration::from_secs(60);
    }
    assert!(last[0] >= 2, "silence failed the first one and its old version was asked for again");
}

#[test]
fn a_first_installation_takes_what_others_completed_and_never_a_halted_release() {
    let mut fixture = Fixture::of(&[None]);
    fixture.publish(OLD);
    assert_eq!(fixture.words(), ["completed"], "nobody is there whom it would have to reach");
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.desired.version, Some(OLD));

    let mut fixture = Fixture::of(&[]);
    fixture.publish(OLD);
    assert_eq!(fixture.words(), ["completed"]);
    fixture.publish(NEW);
    fixture.planner.rollouts.get_mut(&NEW).unwrap().state = RolloutState::Halted { reason: "failures".to_owned() };
    fixture.fleet = Fixture::of(&[None]).fleet;
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.desired.version, Some(OLD));
    assert_eq!(fixture.sensor(0).update.flight, None, "it is in nobody's way");
}

#[test]
fn a_first_installation_is_not_asked_for_any_more_when_its_release_is_paused() {
    let mut fixture = Fixture::of(&[None, Some(OLD)]);
    fixture.publish(NEW);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.desired.version, Some(NEW));
    let _ = fixture.planner.pause(NEW, START).unwrap();
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.desired.version, None);
}

#[test]
fn actions_that_do_not_fit_are_refused_and_change_nothing() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.publish(NEW);
    let _ = fixture.wake();
    let before = fixture.planner.clone();
    let (now, fleet) = (fixture.now, fixture.fleet.clone());
    assert_eq!(fixture.planner.pause(OLD, now), Err(ActionError::NoRollout(OLD)));
    assert!(matches!(fixture.planner.resume(NEW, &fleet, now), Err(ActionError::WrongState { .. })));
    let mut sensor = fixture.sensor(0).clone();
    assert!(matches!(fixture.planner.retry(NEW, &mut sensor), Err(ActionError::NothingToRetry { .. })));
    assert_eq!(fixture.planner, before);
    assert!(fixture.planner.pause(NEW, now).is_ok());
    assert!(fixture.planner.pause(NEW, now).is_err());
    assert!(fixture.planner.abort(NEW, now).is_ok());
    assert!(fixture.planner.abort(NEW, now).is_err());
}
