//! Sensors that listen on interfaces: cleared by packets too, passed over while they see none, not counted as watching.

use super::tests::{Fixture, NEW, OLD};
use super::*;
use crate::facts::{EngineFacts, EngineKind, EngineState, InterfaceFacts};
use crate::sync::EngineProof;

/// A fleet whose first sensor listens on an interface that is up, with settings in effect.
fn listening(versions: &[Option<Version>]) -> Fixture {
    let mut fixture = Fixture::of(versions);
    let sensor = fixture.sensor(0);
    sensor.settings.capture_interfaces.insert("eth1".to_owned());
    link(sensor, true);
    fixture
}

fn link(sensor: &mut Sensor, up: bool) {
    let eth1 = InterfaceFacts { selected: true, present: true, up, ..InterfaceFacts::default() };
    sensor.report.facts.interfaces.insert("eth1".to_owned(), eth1);
}

fn suricata(sensor: &mut Sensor, state: EngineState) {
    let since = Timestamp::from_millis(0);
    let engine = EngineFacts {
        state,
        since,
        reason: String::new(),
        rules_loaded: 3,
        rules_failed: 0,
        rules_superseded: 0,
        complaints: vec![],
        events_lost_since: None,
    };
    sensor.report.facts.engines.insert(EngineKind::Suricata, engine);
}

/// Adds an engine's own proof to what the sensor has reported.
fn prove_engine(fixture: &mut Fixture, kind: EngineKind, rules_failed: u32) {
    let proof = fixture.sensor(0).report.proof.as_mut().unwrap();
    let engine = EngineProof { detected_at: proof.detected_at, rules_loaded: 3, rules_failed };
    proof.engines.insert(kind, engine);
}

#[test]
fn a_sensor_that_listens_is_cleared_by_packets_and_not_by_events_alone() {
    let mut fixture = listening(&[Some(OLD)]);
    fixture.publish(NEW);
    let _ = fixture.wake();
    let generation = fixture.sensor(0).update.desired.generation;
    fixture.prove(0, generation);
    assert_eq!(fixture.words(), ["switched"], "sigma alone");
    prove_engine(&mut fixture, EngineKind::Sigma, 0);
    prove_engine(&mut fixture, EngineKind::Suricata, 1);
    assert!(fixture.words().is_empty(), "suricata refused a rule");
    prove_engine(&mut fixture, EngineKind::Suricata, 0);
    assert_eq!(fixture.words(), ["cleared", "completed"]);
}

#[test]
fn an_interface_named_in_flight_is_waited_for_until_the_deadline_and_no_longer() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.publish(NEW);
    let _ = fixture.wake();
    let generation = fixture.sensor(0).update.desired.generation;
    fixture.sensor(0).settings.capture_interfaces.insert("eth1".to_owned());
    fixture.sensor(0).settings_generation += 1;
    fixture.prove(0, generation);
    assert_eq!(fixture.words(), ["switched"], "the settings have not arrived");
    let mut silent = fixture.clone();
    silent.now = silent.now + silent.policy.rollout.clearance_deadline;
    assert_eq!(silent.words()[0], "failed", "nobody waits for ever");
    fixture.sensor(0).report.settings_generation += 1;
    assert!(fixture.words().is_empty(), "they have, and packets are not proven");
    prove_engine(&mut fixture, EngineKind::Sigma, 0);
    prove_engine(&mut fixture, EngineKind::Suricata, 0);
    assert_eq!(fixture.words(), ["cleared", "completed"]);
}

#[test]
fn a_first_installation_that_listens_is_not_confirmed_blind() {
    let mut fixture = listening(&[None]);
    fixture.publish(NEW);
    let _ = fixture.wake();
    let _ = fixture.wake();
    let generation = fixture.sensor(0).update.desired.generation;
    fixture.prove(0, generation);
    let _ = fixture.wake();
    assert!(!fixture.sensor(0).update.desired.cleared, "packets were not proven");
    prove_engine(&mut fixture, EngineKind::Sigma, 0);
    prove_engine(&mut fixture, EngineKind::Suricata, 0);
    let _ = fixture.wake();
    assert!(fixture.sensor(0).update.desired.cleared);
}

#[test]
fn a_capture_that_is_down_is_not_charged_to_a_release() {
    let breaks: [fn(&mut Sensor); 3] = [
        |sensor| link(sensor, false),
        |sensor| suricata(sensor, EngineState::NotRunning),
        |sensor| suricata(sensor, EngineState::StartFailed),
    ];
    for break_it in breaks {
        let mut fixture = listening(&[Some(OLD), Some(OLD)]);
        break_it(fixture.sensor(0));
        fixture.publish(NEW);
        assert_eq!(fixture.words(), ["skipped", "started", "started"], "the other one takes it");
        let reason = fixture.sensor(0).update.skip.clone().unwrap().reason;
        assert_eq!(reason, SkipReason::CaptureDown.word());
        let generation = fixture.sensor(1).update.desired.generation;
        fixture.prove(1, generation);
        assert_eq!(fixture.words(), ["switched", "cleared", "completed"], "nobody waits for the one that is skipped");
        link(fixture.sensor(0), true);
        suricata(fixture.sensor(0), EngineState::Running);
        assert_eq!(fixture.words(), ["started"], "it takes its turn once it can prove something");
    }
}

#[test]
fn a_capture_that_goes_down_in_flight_fails_by_its_deadline() {
    let mut fixture = listening(&[Some(OLD)]);
    fixture.publish(NEW);
    let _ = fixture.wake();
    let generation = fixture.sensor(0).update.desired.generation;
    fixture.prove(0, generation);
    link(fixture.sensor(0), false);
    assert_eq!(fixture.words(), ["switched"]);
    fixture.now = fixture.now + fixture.policy.rollout.clearance_deadline;
    assert_eq!(fixture.words()[0], "failed");
}

#[test]
fn coverage_does_not_count_a_sensor_that_sees_nothing() {
    let keeps = |break_it: fn(&mut Sensor)| {
        let mut fixture = listening(&[Some(OLD), Some(OLD)]);
        for number in 0..2 {
            fixture.sensor(number).zone = Some("hq/dmz".to_owned());
        }
        fixture.policy.rollout.coverage.insert("hq/dmz".to_owned(), 1);
        // The first one is out of the way, so that all that matters is whether it watches.
        let _ = fixture.sensor(0).update.excluded.insert(NEW);
        break_it(fixture.sensor(0));
        fixture.publish(NEW);
        let _ = fixture.wake();
        fixture.sensor(1).update.skip.as_ref().map(|skip| skip.reason.clone())
    };
    assert_eq!(keeps(|_| {}), None, "the first one watches, so the second may go");
    let short = Some(SkipReason::Coverage.word().to_owned());
    assert_eq!(keeps(|sensor| link(sensor, false)), short);
    assert_eq!(keeps(|sensor| suricata(sensor, EngineState::Starting)), short);
    assert_eq!(keeps(|sensor| suricata(sensor, EngineState::NotRunning)), short);
    assert_eq!(keeps(|sensor| suricata(sensor, EngineState::StartFailed)), short);
}
