//! The table of what a directory can say, against what is known; and the dates of passwords to the second.

use std::time::Duration;

use super::*;
use crate::id::{SensorId, WorkspaceId};

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const DAY: u64 = 24 * 60 * 60;

fn sensor(object: Option<&str>, removed: bool) -> Sensor {
    let (id, workspace) = (SensorId::from_parts(NOW, 1), WorkspaceId::from_parts(NOW, 1));
    let mut sensor = Sensor::new(id, workspace, "DC01".to_owned(), SensorKind::DomainControllerIntegrated, NOW);
    sensor.domain = "lab.test".to_owned();
    sensor.directory_object = object.map(str::to_owned);
    sensor.removed_from_directory = removed;
    sensor
}

fn present(object: &str, name: &str) -> Lookup {
    Lookup::Present { object: object.to_owned(), name: name.to_owned() }
}

fn deleted(object: &str) -> Lookup {
    Lookup::Deleted { object: object.to_owned() }
}

/// Removed or not, the known object, and whether anything changed.
fn after(sensor: &Sensor, about: Lookup, namesake: Option<&str>, is_heard: bool) -> (bool, Option<String>, bool) {
    let answer = Answer { about, namesake: namesake.map(str::to_owned) };
    let decision = decide(sensor, &answer, is_heard);
    (decision.removed, decision.object, decision.reason.is_some())
}

fn is(removed: bool, object: &str, changed: bool) -> (bool, Option<String>, bool) {
    (removed, Some(object.to_owned()), changed)
}

#[test]
fn an_object_is_learnt_by_name_once_and_then_goes_by_its_id() {
    assert_eq!(after(&sensor(None, false), present("aa", "DC01"), None, true), is(false, "aa", true));
    assert_eq!(after(&sensor(Some("aa"), false), present("aa", "DC01"), None, true), is(false, "aa", false));
    assert_eq!(after(&sensor(Some("aa"), false), present("aa", "RENAMED"), None, true), is(false, "aa", false));
    assert_eq!(after(&sensor(Some("aa"), false), present("bb", "DC01"), None, true), is(false, "aa", false));
}

#[test]
fn a_tombstone_or_nothing_at_all_means_gone_and_the_same_object_come_back_means_back() {
    for gone in [deleted("aa"), Lookup::Absent] {
        assert_eq!(after(&sensor(Some("aa"), false), gone.clone(), None, true), is(true, "aa", true));
        assert_eq!(after(&sensor(Some("aa"), true), gone, None, true), is(true, "aa", false));
    }
    assert_eq!(after(&sensor(Some("aa"), true), present("aa", "DC01"), None, false), is(false, "aa", true));
}

#[test]
fn what_was_never_there_is_not_gone() {
    for about in [Lookup::Absent, deleted("aa")] {
        assert_eq!(after(&sensor(None, false), about, None, true), (false, None, false));
    }
}

#[test]
fn silence_and_a_refusal_change_nothing() {
    let reason = "because".to_owned();
    for (object, removed) in [(None, false), (Some("aa"), false), (Some("aa"), true)] {
        let sensor = sensor(object, removed);
        let same = (removed, object.map(str::to_owned), false);
        assert_eq!(after(&sensor, Lookup::Unreachable { reason: reason.clone() }, Some("bb"), true), same);
        assert_eq!(after(&sensor, Lookup::CredentialsRefused { reason: reason.clone() }, Some("bb"), true), same);
    }
}

#[test]
fn a_namesake_brings_back_a_sensor_that_is_heard_of_and_no_other() {
    for removed in [false, true] {
        let sensor = sensor(Some("aa"), removed);
        assert_eq!(after(&sensor, deleted("aa"), Some("bb"), true), is(false, "bb", true));
        assert_eq!(after(&sensor, deleted("aa"), Some("bb"), false), is(true, "aa", !removed));
        assert_eq!(after(&sensor, deleted("aa"), Some("aa"), true), is(true, "aa", !removed));
    }
}

#[test]
fn only_domain_controllers_of_the_domain_are_asked_about() {
    assert!(concerns(&sensor(None, false), "LAB.test"));
    assert!(!concerns(&sensor(None, false), "other.test"));
    let mut standalone = sensor(None, false);
    standalone.kind = SensorKind::DomainControllerStandalone;
    assert!(!concerns(&standalone, "lab.test"));
}

#[test]
fn the_account_of_a_machine_is_its_netbios_name() {
    assert_eq!(account_name("dc01"), "DC01$");
    assert_eq!(account_name("dc01.lab.test"), "DC01$");
    assert_eq!(account_name("a-rather-long-name"), "A-RATHER-LONG-N$");
}

#[test]
fn a_password_is_about_to_expire_in_less_than_thirty_days_and_then_has_expired() {
    let policy = HealthPolicy::default();
    let found =
        |at: Timestamp| trouble(&Access::Granted { password_expires_at: Some(at) }, &policy, NOW).map(|(t, _)| t);
    assert_eq!(found(NOW + Duration::from_secs(30 * DAY)), None);
    assert_eq!(found(NOW + Duration::from_secs(30 * DAY - 1)), Some(Trouble::PasswordToExpire));
    assert_eq!(found(NOW + Duration::from_secs(1)), Some(Trouble::PasswordToExpire));
    assert_eq!(found(NOW), Some(Trouble::PasswordExpired));
    assert_eq!(trouble(&Access::Granted { password_expires_at: None }, &policy, NOW), None);
}

#[test]
fn a_refusal_and_silence_are_told_apart() {
    let policy = HealthPolicy::default();
    let reason = || "because".to_owned();
    let found = |access: Access| trouble(&access, &policy, NOW).map(|(t, _)| t);
    assert_eq!(found(Access::Refused { reason: reason(), is_expired: false }), Some(Trouble::CredentialsIncorrect));
    assert_eq!(found(Access::Refused { reason: reason(), is_expired: true }), Some(Trouble::PasswordExpired));
    assert_eq!(found(Access::Unreachable { reason: reason() }), Some(Trouble::Unreachable));
}

#[test]
fn a_directory_counts_from_1601_and_knows_never() {
    // 2026-01-05T00:00:00Z: (1 767 571 200 + 11 644 473 600) s of ten million units.
    assert_eq!(instant(134_120_448_000_000_000), Some(NOW));
    assert_eq!([instant(0), instant(i64::MAX), instant(-1)], [None, None, None]);
}
