//! What opens and closes an issue: the condition, a person, the end of a suppression.

use std::time::Duration;

use super::*;
use crate::catalogue::Catalogue;
use crate::id::{SensorId, WorkspaceId};
use crate::policy::Policy;
use crate::sensor::{Context, Sensor, SensorKind};
use crate::sync::Report;

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const KIND: IssueType = IssueType::MemoryLimitReached;

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

/// A sensor that has just checked in, with this condition or without.
fn sensor(holds: bool) -> Sensor {
    let (id, workspace) = (SensorId::from_parts(START, 1), WorkspaceId::from_parts(START, 1));
    let mut sensor = Sensor::new(id, workspace, "DC01".to_owned(), SensorKind::DomainControllerIntegrated, START);
    say(&mut sensor, holds, 0);
    sensor
}

/// A check-in that reports the condition or not; says whether the issue is open after it.
fn say(sensor: &mut Sensor, holds: bool, seconds: u64) -> bool {
    let mut report = Report { pulled_configuration: true, ..Report::default() };
    if holds {
        report.conditions.insert(KIND.word().to_owned());
    }
    sensor.checked_in(report, after(seconds));
    let (policy, catalogue) = (Policy::default(), Catalogue::default());
    let now = after(seconds);
    let _ = review(sensor, &Context { policy: &policy, catalogue: &catalogue, ready_at: None, now });
    sensor.issues.get(&KIND).is_some_and(Issue::is_open)
}

fn issue(sensor: &mut Sensor) -> &mut Issue {
    sensor.issues.get_mut(&KIND).unwrap()
}

#[test]
fn the_condition_opens_and_closes_an_issue() {
    let mut sensor = sensor(false);
    assert!(say(&mut sensor, true, 10));
    assert_eq!(issue(&mut sensor).opened_at, after(10));
    assert!(!say(&mut sensor, false, 20));
    assert!(say(&mut sensor, true, 30), "a condition that comes back opens it again");
    assert_eq!(issue(&mut sensor).opened_at, after(30));
}

#[test]
fn closed_by_hand_stays_closed_until_the_condition_has_gone_and_come_back() {
    let mut sensor = sensor(true);
    issue(&mut sensor).close(after(5));
    assert!(!say(&mut sensor, true, 10));
    assert!(!say(&mut sensor, true, 20));
    assert!(!say(&mut sensor, false, 30));
    assert!(say(&mut sensor, true, 40));
}

#[test]
fn reopened_by_hand_stays_open_until_the_condition_is_seen_and_goes() {
    let mut sensor = sensor(true);
    assert!(!say(&mut sensor, false, 10));
    issue(&mut sensor).reopen(after(15));
    assert!(say(&mut sensor, false, 20), "not seen yet");
    assert!(say(&mut sensor, true, 30));
    assert!(!say(&mut sensor, false, 40));
}

#[test]
fn reopened_by_hand_can_be_closed_by_hand() {
    let mut sensor = sensor(true);
    assert!(!say(&mut sensor, false, 10));
    issue(&mut sensor).reopen(after(15));
    issue(&mut sensor).close(after(16));
    assert!(!say(&mut sensor, false, 20));
    assert!(say(&mut sensor, true, 30));
}

#[test]
fn a_suppression_ends_after_seven_days_open_if_the_condition_holds_else_closed() {
    let week = 7 * 24 * 60 * 60;
    let until = after(0) + Policy::default().health.suppressed_for;
    assert_eq!(until, after(week));
    for (holds, is_open) in [(true, true), (false, false)] {
        let mut sensor = sensor(true);
        issue(&mut sensor).suppress(until, after(0));
        assert!(!say(&mut sensor, true, week - 1), "suppressed");
        let (policy, catalogue) = (Policy::default(), Catalogue::default());
        let context = Context { policy: &policy, catalogue: &catalogue, ready_at: None, now: after(week - 1) };
        assert_eq!(next_change(&sensor, &context), Some(until));
        assert_eq!(say(&mut sensor, holds, week), is_open, "the condition holds: {holds}");
    }
}

#[test]
fn five_minutes_of_silence_open_an_issue_and_more_than_thirty_without_configuration_another() {
    let (policy, catalogue) = (Policy::default(), Catalogue::default());
    let mut sensor = sensor(false);
    let found = |sensor: &Sensor, seconds| {
        let context = Context { policy: &policy, catalogue: &catalogue, ready_at: None, now: after(seconds) };
        conditions(sensor, &context).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(found(&sensor, 299), []);
    assert_eq!(found(&sensor, 300), [IssueType::SensorStoppedCommunicating]);
    sensor.last_contact = Some(after(1700));
    assert_eq!(found(&sensor, 1800), []);
    assert_eq!(found(&sensor, 1801), [IssueType::SensorServiceFailedToStart]);
    assert_eq!(found(&sensor, 1700 + 600), [IssueType::SensorStoppedCommunicating], "not while nothing is heard");
}

#[test]
fn health_is_the_worst_open_severity() {
    use Severity::{High, Low, Medium};
    for (open, health) in [
        (&[][..], HealthStatus::Healthy),
        (&[Low], HealthStatus::NotHealthyLow),
        (&[Low, Medium], HealthStatus::NotHealthyMedium),
        (&[Medium, High, Low], HealthStatus::NotHealthyHigh),
    ] {
        assert_eq!(roll_up(open.iter().copied()), health);
    }
}

#[test]
fn every_type_has_its_word_and_its_severity() {
    for (word, severity) in [
        ("sensorStoppedCommunicating", Severity::Medium),
        ("sensorServiceFailedToStart", Severity::High),
        ("sensorOutdated", Severity::Medium),
        ("someNetworkTrafficNotAnalyzed", Severity::Medium),
        ("someEventsNotAnalyzed", Severity::Medium),
        ("memoryLimitReached", Severity::Medium),
        ("lowNameResolutionSuccess", Severity::Low),
    ] {
        let kind = IssueType::from_word(word).unwrap();
        assert_eq!((kind.word(), kind.severity()), (word, severity));
        assert_eq!(serde_json::to_value(kind).unwrap(), word);
    }
    assert!(IssueType::all().count() > 7);
}
