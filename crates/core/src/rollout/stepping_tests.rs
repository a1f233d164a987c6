//! Stepping stones, sensors that are away, and what a halted release reaches.

use std::time::Duration;

use super::tests::{Fixture, NEW, OLD};
use super::*;

const OLDEST: Version = Version::new(2, 253, 1, 0);
const MINUTE: Duration = Duration::from_secs(60);

/// The host runs what it was handed, proves it, and then says that it has heard of its clearance.
fn take(fixture: &mut Fixture, number: u128) {
    let generation = fixture.sensor(number).update.desired.generation;
    fixture.prove(number, generation);
    assert!(fixture.words().contains(&"cleared"));
    fixture.sensor(number).report.update = crate::sync::UpdateProgress::Idle;
}

#[test]
fn a_sensor_below_the_minimum_base_is_led_over_the_release_between() {
    let mut fixture = Fixture::of(&[Some(OLDEST)]);
    fixture.publish(OLD);
    fixture.publish_from(NEW, Some(OLD));
    let _ = fixture.wake();
    let flight = fixture.sensor(0).update.flight.clone().unwrap();
    assert_eq!((flight.from, flight.version), (OLDEST, OLD), "not the newest, which it may not take");
    assert_eq!(fixture.state(NEW), "planned", "it is held open by who is on the way to it");
    take(&mut fixture, 0);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.flight.clone().unwrap().version, NEW);
    take(&mut fixture, 0);
    let _ = fixture.wake();
    assert_eq!((fixture.state(OLD), fixture.state(NEW)), ("completed", "completed"));
}

#[test]
fn without_a_release_between_it_is_skipped_and_says_why() {
    let mut fixture = Fixture::of(&[Some(OLDEST)]);
    fixture.publish_from(NEW, Some(OLD));
    let _ = fixture.wake();
    let skip = fixture.sensor(0).update.skip.clone().unwrap();
    assert_eq!((skip.version, skip.reason.as_str()), (NEW, "minimumBaseVersion"));
    // One that comes later leads over.
    fixture.publish(OLD);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.flight.clone().unwrap().version, OLD);
}

#[test]
fn a_release_between_that_failed_there_is_no_bridge() {
    let mut fixture = Fixture::of(&[Some(OLDEST)]);
    fixture.publish(OLD);
    fixture.publish_from(NEW, Some(OLD));
    let _ = fixture.wake();
    fixture.now = fixture.now + MINUTE * 31;
    assert!(fixture.words().contains(&"failed"), "nothing was heard of it");
    let report = fixture.sensor(0).report.clone();
    let now = fixture.now;
    fixture.sensor(0).checked_in(report, now);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.flight, None);
    let skip = fixture.sensor(0).update.skip.clone().unwrap();
    assert_eq!((skip.version, skip.reason.as_str()), (NEW, "minimumBaseVersion"));
}

#[test]
fn an_offline_sensor_is_skipped_not_waited_for_and_catches_up_when_it_returns() {
    let mut fixture = Fixture::of(&[Some(OLD), Some(OLD)]);
    fixture.now = fixture.now + MINUTE * 10;
    let (now, report) = (fixture.now, fixture.sensor(1).report.clone());
    fixture.sensor(1).checked_in(report, now);
    fixture.publish(NEW);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.skip.clone().unwrap().reason, "offline");
    assert!(fixture.sensor(1).update.flight.is_some(), "the next one is not kept waiting");
    take(&mut fixture, 1);
    let _ = fixture.wake();
    assert_eq!(fixture.state(NEW), "completed", "who is away does not hold it open");
    fixture.now = fixture.now + MINUTE * 600;
    let (now, report) = (fixture.now, fixture.sensor(0).report.clone());
    fixture.sensor(0).checked_in(report, now);
    let _ = fixture.wake();
    assert!(fixture.sensor(0).update.flight.is_some(), "it catches up");
}

#[test]
fn a_sensor_whose_system_the_newest_release_does_not_name_gets_the_newest_that_does_and_says_so_without_one() {
    use crate::facts::OperatingSystem;
    use crate::release::terms::SystemLine;

    let mut fixture = Fixture::of(&[Some(OLDEST), None]);
    let old = OperatingSystem { id: "debian".to_owned(), version: "11".to_owned() };
    for number in [0, 1] {
        fixture.sensor(number).report.facts.host.system = Some(old.clone());
    }
    fixture.systems = vec![SystemLine { id: "debian".to_owned(), version: Some("12".to_owned()) }];
    fixture.publish(NEW);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.skip.clone().unwrap().reason, "operatingSystem");
    assert_eq!(fixture.sensor(1).update.desired.version, None, "nothing to install first either");
    fixture.systems = Vec::new();
    fixture.publish(OLD);
    let _ = fixture.wake();
    assert_eq!(fixture.sensor(0).update.flight.clone().unwrap().version, OLD);
    assert_eq!(fixture.sensor(1).update.desired.version, Some(OLD));
}

#[test]
fn a_release_whose_updater_does_not_prove_itself_halts_although_every_sensor_watches() {
    let mut fixture = Fixture::of(&[Some(OLD); 4]);
    fixture.publish(NEW);
    let _ = fixture.wake();
    take(&mut fixture, 0);
    let refused = crate::sync::RefusedUpdater { version: NEW, reason: "it was started 3 times".to_owned() };
    fixture.sensor(0).report.updater.refused = Some(refused.clone());
    assert!(fixture.words().contains(&"failed"));
    assert_eq!(fixture.sensor(0).version(), Some(NEW), "it keeps watching with what it has");
    let failure = fixture.sensor(0).update.failures.get(&NEW).cloned().unwrap();
    assert!(failure.is_of_updater && !failure.reverted);
    assert!(!fixture.words().contains(&"failed"), "it is counted once");
    // A ring of four tolerates one failure (policy: the larger of 1 and 2 %).
    let next = (1..4).find(|number| fixture.sensor(*number).update.flight.is_some()).unwrap();
    take(&mut fixture, next);
    fixture.sensor(next).report.updater.refused = Some(refused);
    assert!(fixture.words().contains(&"halted"));
    assert_eq!(fixture.state(NEW), "halted");
}
