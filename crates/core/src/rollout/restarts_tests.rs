//! Major releases that need a restart: the switch, the window, "restart now", and coverage.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tests::{Fixture, NEW, OLD};
use super::*;
use crate::restart::{RestartNeed, RestartSwitch};
use crate::sensor::Context;
use crate::sync::UpdateProgress;

const MINUTE: Duration = Duration::from_secs(60);
const NEWER: Version = Version::new(2, 256, 1, 0);

/// So many sensors, and a published release that needs a restart of the host. It is 00:00 UTC.
fn fixture(sensors: usize) -> Fixture {
    let mut fixture = Fixture::of(&vec![Some(OLD); sensors]);
    fixture.needs = RestartNeed::Host;
    fixture.publish(NEW);
    fixture
}

/// The host has staged what it was handed.
fn stage(fixture: &mut Fixture, number: u128) {
    let now = fixture.now;
    let sensor = fixture.sensor(number);
    let flight = sensor.update.flight.clone().unwrap();
    assert!(flight.only_stages && !sensor.update.desired.may_restart);
    let update = UpdateProgress::Staged { version: flight.version };
    let report = crate::sync::Report { update, generation: flight.generation, ..sensor.report.clone() };
    sensor.checked_in(report, now);
}

/// Everybody says again what they said last.
fn all_check_in(fixture: &mut Fixture) {
    let now = fixture.now;
    for sensor in fixture.fleet.values_mut() {
        sensor.checked_in(sensor.report.clone(), now);
    }
}

fn waiting_for(fixture: &mut Fixture, number: u128) -> String {
    let sensor = fixture.sensor(number).clone();
    let context = Context { policy: &fixture.policy, catalogue: &fixture.catalogue, ready_at: None, now: fixture.now };
    fixture.planner.waiting_for(&sensor, &context).unwrap_or_default()
}

#[test]
fn with_the_switch_off_one_after_another_stages_and_all_wait() {
    let mut fixture = fixture(3);
    assert_eq!(fixture.words(), ["started", "staging"]);
    stage(&mut fixture, 0);
    assert_eq!(fixture.words(), ["staged", "skipped", "staging"]);
    stage(&mut fixture, 1);
    assert_eq!(fixture.words(), ["staged", "skipped", "staging"]);
    stage(&mut fixture, 2);
    assert_eq!(fixture.words(), ["staged", "skipped", "completed"]);
    assert_eq!(fixture.sensor(0).update.skip.clone().unwrap().reason, "waitingForRestart");
    assert_eq!(waiting_for(&mut fixture, 0), "somebody to allow a restart of the host for 2.255.1.0, which is staged");
    // However long it takes.
    fixture.now = fixture.now + MINUTE * 60 * 24;
    all_check_in(&mut fixture);
    assert_eq!(fixture.words(), Vec::<&str>::new());
}

#[test]
fn restart_now_starts_that_sensor_alone_and_only_where_it_is_staged() {
    let mut fixture = fixture(2);
    let _ = fixture.wake();
    let planner = &mut fixture.planner;
    let early = planner.restart_now(NEW, fixture.fleet.values_mut().next().unwrap());
    assert!(matches!(early, Err(ActionError::NotStaged { .. })), "{early:?}");
    for number in [0, 1] {
        stage(&mut fixture, number);
        let _ = fixture.wake();
    }
    fixture.planner.restart_now(NEW, fixture.fleet.values_mut().nth(1).unwrap()).unwrap();
    assert_eq!(fixture.words(), ["started"]);
    let flight = fixture.sensor(1).update.flight.clone().unwrap();
    assert!(!flight.only_stages && fixture.sensor(1).update.desired.may_restart);
    assert_eq!(fixture.sensor(0).update.flight, None);
    fixture.prove(1, flight.generation);
    assert_eq!(fixture.words(), ["switched", "cleared"]);
    assert_eq!((fixture.sensor(1).update.staged, fixture.sensor(1).update.restart_now), (None, None));
}

#[test]
fn hours_are_kept_to_the_minute_and_the_planner_wakes_for_them() {
    let mut fixture = fixture(1);
    fixture.policy.rollout.restart_for_major = "02:00-03:00".parse().unwrap();
    assert_eq!(fixture.words(), ["started", "staging"]);
    stage(&mut fixture, 0);
    assert_eq!(fixture.words(), ["staged", "skipped", "completed"]);
    let opens_at: Timestamp = "2026-01-05T02:00:00Z".parse().unwrap();
    assert_eq!(
        waiting_for(&mut fixture, 0),
        "a restart of the host for 2.255.1.0, which may begin at 2026-01-05T02:00:00Z"
    );
    fixture.now = opens_at - Duration::from_millis(1);
    all_check_in(&mut fixture);
    let wake = fixture.wake();
    assert_eq!((wake.events.len(), wake.wakes_at), (0, Some(opens_at)));
    fixture.now = opens_at;
    assert_eq!(fixture.words(), ["started"]);
}

#[test]
fn what_is_set_for_one_sensor_goes_before_what_is_set_for_all() {
    let mut fixture = fixture(2);
    fixture.policy.rollout.max_in_flight = Some(2);
    fixture.policy.rollout.restart_for_major = RestartSwitch::On;
    fixture.sensor(1).update.restart_for_major = Some(RestartSwitch::Off);
    let _ = fixture.wake();
    assert!(!fixture.sensor(0).update.flight.clone().unwrap().only_stages);
    assert!(fixture.sensor(1).update.flight.clone().unwrap().only_stages);
}

#[test]
fn staging_takes_nobody_from_a_covered_zone_and_a_restart_waits_for_coverage() {
    let mut fixture = fixture(2);
    fixture.policy.rollout.max_in_flight = Some(2);
    fixture.policy.rollout.coverage = BTreeMap::from([("hq/core".to_owned(), 1)]);
    for number in [0, 1] {
        fixture.sensor(number).zone = Some("hq/core".to_owned());
    }
    let _ = fixture.wake();
    for number in [0, 1] {
        assert!(fixture.sensor(number).update.flight.is_some(), "both stage at once, both still watch");
        stage(&mut fixture, number);
    }
    let _ = fixture.wake();
    fixture.policy.rollout.restart_for_major = RestartSwitch::On;
    let _ = fixture.wake();
    let flying: Vec<bool> = fixture.fleet.values().map(|sensor| sensor.update.flight.is_some()).collect();
    assert_eq!(flying, [true, false], "one may restart, one must watch");
    assert_eq!(fixture.sensor(1).update.skip.clone().unwrap().reason, "coverage");
}

#[test]
fn a_host_that_restarts_is_given_forty_minutes_of_silence_and_then_has_failed() {
    let mut fixture = fixture(1);
    fixture.policy.rollout.restart_for_major = RestartSwitch::On;
    let _ = fixture.wake();
    fixture.now = fixture.now + MINUTE * 40 - Duration::from_millis(1);
    assert_eq!(fixture.words(), Vec::<&str>::new());
    fixture.now = fixture.now + Duration::from_millis(1);
    assert!(fixture.words().contains(&"failed"), "10 min of silence, and 30 for the restart");
}

#[test]
fn what_is_staged_is_withdrawn_when_its_release_is_pulled_back_or_its_rollout_aborted() {
    for is_abort in [false, true] {
        let mut fixture = fixture(1);
        let _ = fixture.wake();
        stage(&mut fixture, 0);
        let _ = fixture.wake();
        if is_abort {
            fixture.planner.abort(NEW, fixture.now).unwrap();
        } else {
            fixture.catalogue.pull_back(NEW, fixture.now);
        }
        let before = fixture.sensor(0).update.desired.generation;
        assert!(fixture.wake().sensors.len() == 1);
        let update = fixture.sensor(0).update.clone();
        assert_eq!((update.staged, update.desired.version), (None, Some(OLD)));
        assert_eq!((update.desired.generation, update.desired.cleared), (before + 1, true));
    }
}

#[test]
fn a_newer_release_without_a_restart_takes_the_place_of_a_staged_one() {
    let mut fixture = fixture(1);
    let _ = fixture.wake();
    stage(&mut fixture, 0);
    let _ = fixture.wake();
    fixture.needs = RestartNeed::None;
    fixture.publish(NEWER);
    let _ = fixture.wake();
    let update = &fixture.sensor(0).update;
    let flight = update.flight.clone().unwrap();
    assert_eq!((flight.version, flight.only_stages, update.staged), (NEWER, false, None));
}

#[test]
fn a_release_that_needs_no_restart_cares_about_no_switch() {
    let mut fixture = Fixture::of(&[Some(OLD)]);
    fixture.publish(NEW);
    assert_eq!(fixture.words(), ["started", "started"]);
    assert!(!fixture.sensor(0).update.desired.may_restart);
}
