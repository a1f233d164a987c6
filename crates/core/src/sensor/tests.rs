//! The precedence of the sensor status, and every limit to the second.

use std::time::Duration;

use super::*;
use crate::catalogue::{Catalogue, Release, ReleaseKind};
use crate::policy::Policy;
use crate::rollout::{Failure, Flight, Ring};
use crate::sync::ServiceState;

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);

fn version(minor: u32) -> Version {
    Version::new(2, minor, 1, 0)
}

fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    for minor in 251..=254 {
        assert!(catalogue.insert(Release {
            version: version(minor),
            kind: ReleaseKind::Minor,
            published_at: START,
            pulled_back_at: None,
            minimum_base: None,
            restart: crate::restart::RestartNeed::None,
            systems: Vec::new(),
            target: None,
        }));
    }
    catalogue
}

/// A sensor that was heard of at the start and has nothing to complain of.
fn well() -> Sensor {
    let (id, workspace) = (SensorId::from_parts(START, 1), WorkspaceId::from_parts(START, 1));
    let mut sensor = Sensor::new(id, workspace, "DC01".to_owned(), SensorKind::DomainControllerIntegrated, START);
    let report = Report {
        version: Some(version(254)),
        service: ServiceState::Running,
        pulled_configuration: true,
        ..Report::default()
    };
    sensor.checked_in(report, START);
    sensor
}

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn status(sensor: &Sensor, seconds: u64) -> SensorStatus {
    judged(sensor, seconds, None)
}

fn judged(sensor: &Sensor, seconds: u64, ready_at: Option<Timestamp>) -> SensorStatus {
    let (policy, catalogue) = (Policy::default(), catalogue());
    sensor_status(sensor, &Context { policy: &policy, catalogue: &catalogue, ready_at, now: after(seconds) }).value
}

fn service(sensor: &Sensor, seconds: u64) -> ServiceStatus {
    let (policy, catalogue) = (Policy::default(), catalogue());
    let context = Context { policy: &policy, catalogue: &catalogue, ready_at: None, now: after(seconds) };
    service_status(sensor, &context).value
}

/// Makes a sensor that is well one that is not.
type Way = fn(&mut Sensor);

fn remove(sensor: &mut Sensor) {
    sensor.removed_from_directory = true;
}
fn silence(sensor: &mut Sensor) {
    sensor.last_contact = Some(START - Duration::from_secs(600));
}
fn fly(sensor: &mut Sensor) {
    sensor.update.flight = Some(Flight {
        version: version(255),
        from: version(254),
        ring: Ring::Automatic,
        generation: 1,
        started_at: START,
        switched_at: None,
        restart: crate::restart::RestartNeed::None,
        only_stages: false,
    });
}
fn fail(sensor: &mut Sensor) {
    let reason = "it did not start".to_owned();
    sensor.update.failures.insert(
        version(255),
        Failure { version: version(255), reverted: true, is_of_updater: false, reason, at: START },
    );
}
fn pull_nothing(sensor: &mut Sensor) {
    sensor.last_config_pull = Some(START - Duration::from_secs(1801));
}
fn need_domain_controllers(sensor: &mut Sensor) {
    sensor.kind = SensorKind::AdfsIntegrated;
}
fn fall_behind(sensor: &mut Sensor) {
    sensor.report.version = Some(version(251));
}
fn change_settings(sensor: &mut Sensor) {
    sensor.settings_generation = 1;
}

#[test]
fn the_first_status_that_holds_wins() {
    let ways: [(SensorStatus, Way); 8] = [
        (SensorStatus::Unreachable, remove),
        (SensorStatus::Disconnected, silence),
        (SensorStatus::Updating, fly),
        (SensorStatus::UpdateFailed, fail),
        (SensorStatus::StartFailure, pull_nothing),
        (SensorStatus::NotConfigured, need_domain_controllers),
        (SensorStatus::Outdated, fall_behind),
        (SensorStatus::Syncing, change_settings),
    ];
    assert_eq!(status(&well(), 0), SensorStatus::UpToDate);
    for (place, (wanted, way)) in ways.iter().enumerate() {
        let mut alone = well();
        way(&mut alone);
        assert_eq!(status(&alone, 0), *wanted, "alone");
        let mut with_all_below = well();
        ways[place..].iter().for_each(|(_, way)| way(&mut with_all_below));
        assert_eq!(status(&with_all_below, 0), *wanted, "with everything that comes after it");
    }
}

#[test]
fn ten_minutes_of_silence_disconnect() {
    for (seconds, wanted, service_wanted) in [
        (599, SensorStatus::UpToDate, ServiceStatus::Running),
        (600, SensorStatus::Disconnected, ServiceStatus::Unknown),
        (601, SensorStatus::Disconnected, ServiceStatus::Unknown),
    ] {
        assert_eq!(status(&well(), seconds), wanted, "after {seconds} s");
        assert_eq!(service(&well(), seconds), service_wanted, "after {seconds} s");
    }
}

#[test]
fn more_than_thirty_minutes_without_configuration_is_start_failed_while_the_updater_communicates() {
    let mut sensor = well();
    sensor.last_contact = Some(after(1790));
    for (seconds, wanted) in [
        (1799, SensorStatus::UpToDate),
        (1800, SensorStatus::UpToDate),
        (1801, SensorStatus::StartFailure),
        (1790 + 600, SensorStatus::Disconnected),
    ] {
        assert_eq!(status(&sensor, seconds), wanted, "after {seconds} s");
    }
}

#[test]
fn two_releases_behind_is_up_to_date_and_three_is_outdated() {
    for (minor, wanted) in [
        (254, SensorStatus::UpToDate),
        (253, SensorStatus::UpToDate),
        (252, SensorStatus::UpToDate),
        (251, SensorStatus::Outdated),
    ] {
        let mut sensor = well();
        sensor.report.version = Some(version(minor));
        assert_eq!(status(&sensor, 0), wanted, "2.{minor}");
    }
}

#[test]
fn silence_counts_from_one_interval_after_the_server_was_ready_again() {
    let ready_at = Some(after(3600));
    assert_eq!(judged(&well(), 3600 + 60 + 599, ready_at), SensorStatus::UpToDate);
    assert_eq!(judged(&well(), 3600 + 60 + 600, ready_at), SensorStatus::Disconnected);
    let mut heard = well();
    heard.last_contact = Some(after(3700));
    assert_eq!(judged(&heard, 3700 + 599, ready_at), SensorStatus::UpToDate);
    assert_eq!(judged(&heard, 3700 + 600, ready_at), SensorStatus::Disconnected);
}

#[test]
fn a_status_says_when_the_clock_alone_changes_it() {
    let (policy, catalogue) = (Policy::default(), catalogue());
    let mut now = START;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let context = Context { policy: &policy, catalogue: &catalogue, ready_at: None, now };
        let derived = sensor_status(&well(), &context);
        assert!(!derived.reason.is_empty());
        seen.push((now.since(START).as_secs(), derived.value));
        match derived.changes_at {
            Some(at) => {
                assert!(at > now, "it would be judged at the same instant for ever");
                now = at;
            }
            None => break,
        }
    }
    assert!(seen.contains(&(600, SensorStatus::Disconnected)), "{seen:?}");
}

#[test]
fn the_service_status_is_what_the_host_says() {
    for (state, wanted) in [
        (ServiceState::Running, ServiceStatus::Running),
        (ServiceState::Starting, ServiceStatus::Starting),
        (ServiceState::Disabled, ServiceStatus::Disabled),
        (ServiceState::Stopped, ServiceStatus::Stopped),
    ] {
        let mut sensor = well();
        sensor.report.service = state;
        assert_eq!(service(&sensor, 0), wanted);
        sensor.removed_from_directory = true;
        assert_eq!(service(&sensor, 0), ServiceStatus::Unknown);
    }
}

#[test]
fn a_sensor_that_lives_on_packets_needs_an_interface_and_one_with_events_runs_without() {
    let reason = |sensor: &Sensor| {
        let (policy, catalogue) = (Policy::default(), catalogue());
        let derived =
            sensor_status(sensor, &Context { policy: &policy, catalogue: &catalogue, ready_at: None, now: START });
        (derived.value == SensorStatus::NotConfigured).then_some(derived.reason)
    };
    for (kind, controllers, interface) in [
        (SensorKind::DomainControllerIntegrated, false, false),
        (SensorKind::DomainControllerStandalone, true, true),
        (SensorKind::AdfsIntegrated, true, false),
        (SensorKind::AdcsIntegrated, true, false),
        (SensorKind::AdConnectIntegrated, true, false),
        (SensorKind::OtCloudConnected, false, true),
        (SensorKind::OtLocallyManaged, false, false),
        (SensorKind::EnterpriseIot, false, true),
    ] {
        let mut sensor = well();
        sensor.kind = kind;
        let asked = reason(&sensor).unwrap_or_default();
        assert_eq!(asked.contains("domain controllers"), controllers, "{kind}: {asked}");
        assert_eq!(asked.contains("capture interface"), interface, "{kind}: {asked}");
        sensor.domain_controllers.push("dc01.corp.example".to_owned());
        sensor.settings.capture_interfaces.insert("eth1".to_owned());
        assert_eq!(reason(&sensor), None, "{kind}");
    }
}
