//! A version that somebody asks for on a host: it comes in its turn, or the reason why not is told.

use std::time::Duration;

use super::tests::{Fixture, NEW, OLD};
use super::*;
use crate::sync::AskedReply;

const NEWEST: Version = Version::new(2, 256, 1, 0);
const HOURS_72: Duration = Duration::from_secs(72 * 60 * 60);

impl Fixture {
    fn ask(&mut self, number: u128, version: Version) {
        self.sensor(number).report.asked = Some(version);
    }

    fn refusal(&mut self, number: u128) -> String {
        match self.answer(number) {
            Some(AskedReply::Refused { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_asked_for_is_what_a_sensor_takes_next() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.publish(NEW);
    fixture.publish(NEWEST);
    assert_eq!(fixture.answer(0), None, "nobody asks");
    fixture.ask(0, NEW);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.desired.version, Some(NEW), "not the newest one, which it would get by itself");
    assert_eq!(fixture.answer(0), None, "it is on its way");
    fixture.ask(0, NEWEST);
    assert!(matches!(fixture.answer(0), Some(AskedReply::Waits { what }) if what.contains("2.255.1.0")));
}

#[test]
fn an_ask_takes_its_turn_and_its_place_in_the_coverage() {
    let mut fixture = Fixture::of(&[Some(OLD), Some(OLD)]);
    fixture.publish(NEW);
    fixture.ask(1, NEW);
    let _ = fixture.wake();
    assert!(fixture.sensor(0).update.flight.is_some() && fixture.sensor(1).update.flight.is_none());
    assert_eq!(fixture.answer(1), Some(AskedReply::Waits { what: "S0 to be cleared".to_owned() }));

    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.sensor(0).zone = Some("core".to_owned());
    fixture.policy.rollout.coverage.insert("core".to_owned(), 1);
    fixture.publish(NEW);
    fixture.ask(0, NEW);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.flight, None, "its zone would be left without");
    assert!(matches!(fixture.answer(0), Some(AskedReply::Waits { what }) if what.contains("coverage")));
}

#[test]
fn what_will_not_come_by_itself_is_refused_with_the_reason() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.ask(0, NEW);
    assert!(fixture.refusal(0).contains("never published"));
    fixture.publish(NEW);
    for (state, says) in [
        (RolloutState::Halted { reason: "2 of 30 failed".to_owned() }, "halted: 2 of 30 failed"),
        (RolloutState::Paused, "paused"),
        (RolloutState::Aborted, "aborted"),
    ] {
        let mut held = fixture.clone();
        held.planner.rollouts.get_mut(&NEW).unwrap().state = state;
        assert!(held.refusal(0).contains(says), "{says}");
    }
    let mut back = fixture.clone();
    assert!(back.pull_back(NEW));
    assert!(back.refusal(0).contains("pulled back"));
    let mut excluded = fixture.clone();
    excluded.sensor(0).update.excluded.insert(NEW);
    assert!(excluded.refusal(0).contains("excluded"));
    let mut bad = fixture.clone();
    bad.sensor(0).report.bad_versions.insert(NEW);
    assert!(bad.refusal(0).contains("failed on this sensor"));
    bad.sensor(0).update.retry = Some(NEW);
    assert!(matches!(bad.answer(0), Some(AskedReply::Waits { .. })), "a retry was ordered");
    let mut older = fixture.clone();
    older.publish(Version::new(2, 253, 1, 0));
    older.ask(0, Version::new(2, 253, 1, 0));
    assert!(older.refusal(0).contains("not older"));
}

#[test]
fn the_delayed_ring_opens_for_an_ask_when_it_opens() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.sensor(0).delayed = true;
    fixture.publish(NEW);
    fixture.ask(0, NEW);
    fixture.now = fixture.now + HOURS_72 - Duration::from_secs(1);
    fixture.heard(0);
    assert!(fixture.refusal(0).contains("delayed ring"));
    fixture.now = fixture.now + Duration::from_secs(1);
    fixture.heard(0);
    assert!(matches!(fixture.answer(0), Some(AskedReply::Waits { .. })));
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.desired.version, Some(NEW));
}

#[test]
fn a_host_without_a_version_waits_for_its_first_one() {
    let mut fixture = Fixture::of(&[None]);
    fixture.publish(NEW);
    fixture.ask(0, NEW);
    let waits = AskedReply::Waits { what: "the first installation, which comes by itself".to_owned() };
    assert_eq!(fixture.answer(0), Some(waits));
}
