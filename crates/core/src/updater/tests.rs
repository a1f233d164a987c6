//! The updater's rules, one sentence each; each row of the peers' failures that the machine can answer for.

use std::time::Duration;

use super::simulated_host::{Behaviour, Host, START, release, target, version};
use super::*;
use crate::sync::{Desired, ServiceState, UpdateProgress};

const MINUTE: Duration = Duration::from_secs(60);

/// A host on 254 that is told to run 255, which behaves like this here.
fn updating(behaviour: Behaviour) -> Host {
    let mut host = Host::running(254);
    host.behaviours.insert(version(255), behaviour);
    host.want(255);
    host.check_in();
    host
}

fn reason(host: &Host) -> String {
    host.machine.record().last_failure.as_ref().map(|failure| failure.reason.clone()).unwrap_or_default()
}

fn assert_is_back(host: &Host) {
    assert_eq!(host.machine.record().phase, Phase::Committed);
    assert_eq!(host.machine.record().committed, Some(release(254)));
    assert_eq!(host.machine.current(), Some(release(254)));
    assert_eq!(host.disk.running, Running::Release(release(254)));
    assert!(host.machine.record().bad_versions.contains_key(&version(255)));
    assert!(
        matches!(host.machine.progress(), UpdateProgress::Failed { reverted: true, .. }),
        "{:?}",
        host.machine.progress()
    );
}

#[test]
fn an_update_switches_proves_itself_and_is_committed_when_the_server_clears_it() {
    let mut host = updating(Behaviour::Ok);
    assert_eq!(
        host.machine.progress(),
        UpdateProgress::AwaitingClearance { version: version(255), switched_at: START }
    );
    let report = host.machine.report();
    assert_eq!((report.version, report.service), (Some(version(255)), ServiceState::Running));
    assert_eq!(report.proof.map(|proof| (proof.version, proof.generation)), Some((version(255), 1)));
    host.clear();
    host.check_in();
    assert_eq!(host.machine.record().phase, Phase::Committed);
    assert_eq!(host.machine.progress(), UpdateProgress::Idle);
    assert_eq!(host.machine.record().previous, Some(release(254)));
    assert_eq!(host.log, ["prepare 2.255.1.0", "switch 2.255.1.0", "start 2.255.1.0"]);
}

#[test]
fn an_older_desired_generation_is_refused() {
    let mut host = Host::running(254);
    host.desired.generation = 7;
    host.check_in();
    let stale = Desired { generation: 6, version: Some(version(255)), target: Some(target(255)), ..Desired::default() };
    host.give(Event::DesiredReceived(stale));
    assert_eq!((host.machine.record().generation, host.log.len()), (7, 0));
    host.restart();
    assert_eq!(host.machine.record().generation, 7, "the floor outlives the process");
}

#[test]
fn a_version_that_crashes_twice_is_given_up_and_not_tried_again() {
    let mut host = updating(Behaviour::Crash);
    assert_eq!(host.log.iter().filter(|line| *line == "start 2.255.1.0").count(), 1);
    host.minutes(1, false);
    assert_is_back(&host);
    assert_eq!(host.log.iter().filter(|line| *line == "start 2.255.1.0").count(), 2);
    host.minutes(300, false);
    assert_eq!(host.log.iter().filter(|line| *line == "prepare 2.255.1.0").count(), 1);
}

#[test]
fn a_refusal_is_believed_at_once() {
    let host = updating(Behaviour::Refuse);
    assert_is_back(&host);
    assert_eq!(reason(&host), "the new version did not start: too few file descriptors");
}

#[test]
fn a_version_that_never_gets_ready_is_given_up_after_two_minutes() {
    let mut host = updating(Behaviour::Hang);
    host.minutes(3, false);
    assert_is_back(&host);
    assert!(reason(&host).contains("not ready within 60 s"), "{}", reason(&host));
}

#[test]
fn one_power_cut_during_the_first_start_is_no_failure() {
    let mut host = updating(Behaviour::Hang);
    host.behaviours.insert(version(255), Behaviour::Ok);
    host.power_cut();
    assert!(matches!(host.machine.record().phase, Phase::AwaitingClearance { .. }));
}

#[test]
fn a_version_that_takes_the_host_down_at_every_start_is_given_up() {
    let mut host = updating(Behaviour::Hang);
    for _ in 0..UNPROVEN_STARTS {
        host.power_cut();
    }
    assert_is_back(&host);
}

#[test]
fn alive_without_detecting_goes_back_ten_minutes_after_the_switch() {
    let mut host = updating(Behaviour::Unhealthy);
    host.minutes(9, true);
    assert!(matches!(host.machine.record().phase, Phase::AwaitingClearance { .. }));
    host.minutes(1, true);
    assert_is_back(&host);
    assert_eq!(host.machine.record().last_failure.as_ref().map(|failure| failure.at), Some(START + 10 * MINUTE));
    assert!(reason(&host).contains("has not shown that it detects"), "{}", reason(&host));
}

#[test]
fn an_unreachable_server_is_a_reason_to_wait() {
    let mut host = updating(Behaviour::Ok);
    host.pass(600 * MINUTE);
    assert!(matches!(host.machine.record().phase, Phase::AwaitingClearance { .. }));
    host.minutes(2, true);
    assert_eq!(host.machine.record().committed, Some(release(255)));
}

#[test]
fn after_an_outage_the_server_has_its_say_before_the_host_goes_back() {
    let mut host = updating(Behaviour::Unhealthy);
    host.pass(600 * MINUTE);
    host.check_in();
    host.minutes(2, true);
    assert!(matches!(host.machine.record().phase, Phase::AwaitingClearance { .. }));
    host.minutes(1, true);
    assert_is_back(&host);
}

#[test]
fn a_download_that_never_ends_is_a_failure_but_not_a_bad_version() {
    let mut host = updating(Behaviour::Stall);
    host.minutes(29, true);
    assert!(matches!(host.machine.progress(), UpdateProgress::Preparing { .. }));
    host.restart();
    host.minutes(1, true);
    assert!(matches!(host.machine.progress(), UpdateProgress::Failed { reverted: false, .. }));
    assert_eq!(host.machine.record().last_failure.as_ref().map(|failure| failure.at), Some(START + 30 * MINUTE));
    assert!(host.machine.record().bad_versions.is_empty());
    host.minutes(100, true);
    assert_eq!(host.log, ["prepare 2.255.1.0", "prepare 2.255.1.0", "abandon"], "not tried again by itself");
}

#[test]
fn a_forged_package_fails_at_once_and_nothing_is_touched() {
    let host = updating(Behaviour::Forged);
    assert_eq!(host.disk.running, Running::Release(release(254)));
    assert_eq!(host.log, ["prepare 2.255.1.0"]);
    assert_eq!(reason(&host), "the hash is wrong");
}

#[test]
fn a_retryable_failure_is_tried_again_until_it_works() {
    let mut host = updating(Behaviour::Stall);
    for wait in [5, 10, 20] {
        host.behaviours.insert(version(255), if wait == 20 { Behaviour::Ok } else { Behaviour::Stall });
        let event = Event::PrepareFailed { release: release(255), reason: "cut off".into(), retryable: true };
        host.give(event);
        assert_eq!(host.machine.wakes_at(), Some(host.now + Duration::from_secs(wait)));
        host.pass(Duration::from_secs(wait));
    }
    assert!(matches!(host.machine.record().phase, Phase::AwaitingClearance { .. }));
}

#[test]
fn only_a_newer_order_tries_a_bad_version_again_and_only_once() {
    let mut host = updating(Behaviour::Refuse);
    host.want(255);
    host.check_in();
    assert_is_back(&host);
    host.desired.generation += 1;
    host.desired.retry = true;
    host.minutes(10, false);
    assert_is_back(&host);
    assert_eq!(host.log.iter().filter(|line| *line == "prepare 2.255.1.0").count(), 2);
    host.behaviours.insert(version(255), Behaviour::Ok);
    host.desired.generation += 1;
    host.minutes(3, true);
    assert_eq!(host.machine.record().committed, Some(release(255)));
    assert!(host.machine.record().bad_versions.is_empty());
}

#[test]
fn a_newer_version_is_taken_after_a_failure() {
    let mut host = updating(Behaviour::Refuse);
    host.want(256);
    host.minutes(2, true);
    assert_eq!(host.machine.record().committed, Some(release(256)));
    assert_eq!(host.machine.progress(), UpdateProgress::Idle);
    assert!(host.machine.record().bad_versions.contains_key(&version(255)), "the memory stays");
}

#[test]
fn what_is_withdrawn_while_it_waits_is_left_without_being_called_bad() {
    let mut host = updating(Behaviour::Unhealthy);
    host.want(254);
    host.check_in();
    assert_eq!(host.machine.record().committed, Some(release(254)));
    assert_eq!(host.disk.running, Running::Release(release(254)));
    assert!(host.machine.record().bad_versions.is_empty());
}

#[test]
fn what_is_withdrawn_while_it_is_prepared_is_abandoned() {
    let mut host = updating(Behaviour::Stall);
    host.want(254);
    host.check_in();
    assert_eq!(host.log, ["prepare 2.255.1.0", "abandon"]);
    assert_eq!(host.machine.progress(), UpdateProgress::Idle);
}

#[test]
fn a_first_installation_has_nothing_to_go_back_to_and_keeps_trying() {
    let mut host = Host::over(None, DiskView::default());
    host.behaviours.insert(version(254), Behaviour::Crash);
    host.want(254);
    host.minutes(20, true);
    assert_eq!(host.machine.current(), Some(release(254)));
    assert!(matches!(host.machine.progress(), UpdateProgress::Failed { reverted: false, .. }));
    assert!(host.log.iter().filter(|line| *line == "start 2.254.1.0").count() > 5);
    host.behaviours.insert(version(254), Behaviour::Ok);
    host.minutes(3, true);
    assert_eq!(host.machine.record().committed, Some(release(254)));
}

#[test]
fn a_first_installation_that_does_not_start_gives_way_to_a_newer_release() {
    let mut host = Host::over(None, DiskView::default());
    host.behaviours.insert(version(254), Behaviour::Refuse);
    host.want(254);
    host.minutes(5, true);
    host.want(255);
    host.minutes(5, true);
    assert_eq!(host.machine.record().committed, Some(release(255)));
}

#[test]
fn a_downgrade_to_a_version_on_the_disk_is_carried_out() {
    // fleetdm #9053: it was skipped, because the files were there.
    let mut host = updating(Behaviour::Ok);
    host.minutes(2, true);
    assert_eq!(host.machine.record().committed, Some(release(255)));
    assert!(host.disk.versions.contains(&release(254)));
    host.want(254);
    host.minutes(2, true);
    assert_eq!(host.machine.record().committed, Some(release(254)));
    assert!(host.log.contains(&"prepare 2.254.1.0".to_owned()), "its files are verified again");
}

#[test]
fn another_package_of_the_same_version_is_another_release() {
    let mut host = Host::running(254);
    host.desired =
        Desired { generation: 1, version: Some(version(254)), target: Some(target(999)), ..Desired::default() };
    host.check_in();
    assert_eq!(host.log.first().map(String::as_str), Some("prepare 2.254.1.0"));
}

#[test]
fn a_dead_sensor_is_started_again_with_growing_pauses() {
    let mut host = Host::running(254);
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        host.kill_sensor();
        assert_eq!(host.machine.report().service, ServiceState::Stopped);
        assert_eq!(host.machine.wakes_at(), Some(host.now + Duration::from_secs(pause)));
        host.pass(Duration::from_secs(pause));
        assert_eq!(host.machine.report().service, ServiceState::Running);
    }
    host.pass(11 * MINUTE);
    host.kill_sensor();
    assert_eq!(host.machine.wakes_at(), Some(host.now + Duration::from_secs(1)), "a stable run forgives");
}

#[test]
fn a_version_that_keeps_dying_while_it_waits_is_given_up() {
    let mut host = updating(Behaviour::Ok);
    host.kill_sensor();
    host.minutes(1, false);
    assert!(matches!(host.machine.record().phase, Phase::AwaitingClearance { crashes: 1, .. }));
    host.kill_sensor();
    host.minutes(1, false);
    host.kill_sensor();
    assert_is_back(&host);
}

#[test]
fn a_disk_that_fails_the_way_back_is_asked_again() {
    let mut host = Host::running(254);
    host.behaviours.insert(version(255), Behaviour::Unhealthy);
    host.want(255);
    host.check_in();
    host.failing_switches = 3;
    host.minutes(11, true);
    assert_is_back(&host);
}

#[test]
fn a_disk_that_fails_an_update_leaves_what_runs() {
    let mut host = Host::running(254);
    host.failing_switches = 1;
    host.want(255);
    host.check_in();
    assert_eq!(host.disk.running, Running::Release(release(254)));
    assert_eq!(reason(&host), "it could not be switched to: the disk is full");
    assert!(matches!(host.machine.progress(), UpdateProgress::Failed { reverted: false, .. }));
}

#[test]
fn a_lost_record_is_made_up_from_the_disk_and_the_sensor_stays_up() {
    let mut host = updating(Behaviour::Ok);
    host.minutes(2, true);
    host.log.clear();
    host.durable = None;
    host.restart();
    assert_eq!(host.machine.record().committed, Some(release(255)));
    assert!(host.machine.record().derived_from_disk);
    assert!(host.log.is_empty(), "the running sensor was adopted: {:?}", host.log);
}

#[test]
fn what_is_not_cleared_is_proven_anew_under_every_generation() {
    let mut host = updating(Behaviour::Ok);
    host.desired.generation = 5;
    host.check_in();
    assert_eq!(host.machine.report().proof.map(|proof| proof.generation), Some(5));
    host.minutes(1, true);
    host.durable = None;
    host.restart();
    host.desired.generation = 9;
    host.desired.cleared = false;
    host.check_in();
    assert_eq!(host.machine.record().phase, Phase::Committed);
    assert_eq!(host.machine.report().proof.map(|proof| proof.generation), Some(9), "after a lost record too");
}

#[test]
fn a_sensor_whose_engines_grow_before_it_is_cleared_is_proven_anew() {
    let mut host = updating(Behaviour::Ok);
    host.check_in();
    let before = host.proofs_asked;
    assert!(host.machine.report().proof.is_some());
    // The settings came: packets are captured now, and the canary was an event.
    host.missed_proofs = 1;
    host.give(Event::ProofOutgrown);
    assert_eq!((host.proofs_asked, host.machine.report().proof), (before + 1, None), "the engine still starts");
    host.pass(Duration::from_secs(30));
    assert_eq!(host.proofs_asked, before + 2);
    assert!(host.machine.report().proof.is_some(), "it waited for clearance and was never asked again");
}

#[test]
fn a_committed_sensor_that_is_not_cleared_is_asked_until_it_has_detected() {
    let second = Duration::from_secs(1);
    let mut host = Host::running(254);
    // Enrolled on what it runs already, while an engine is still starting.
    host.missed_proofs = 2;
    host.want(254);
    let before = host.proofs_asked;
    host.check_in();
    assert_eq!((host.proofs_asked, host.missed_proofs), (before + 1, 1));
    host.pass(29 * second);
    host.check_in();
    assert_eq!(host.proofs_asked, before + 1, "not before half a minute");
    host.pass(second);
    assert_eq!((host.proofs_asked, host.missed_proofs), (before + 2, 0));
    host.pass(30 * second);
    assert_eq!(host.machine.report().proof.map(|proof| proof.generation), Some(1));
    assert_eq!(host.machine.wakes_at(), None, "what is proven is not asked again");
    // A new generation that fails once; and an updater that starts anew knows only after a check-in that it is awaited.
    host.missed_proofs = 3;
    host.desired.generation += 1;
    host.check_in();
    host.restart();
    host.check_in();
    host.pass(90 * second);
    assert_eq!(host.machine.report().proof.map(|proof| proof.generation), Some(2));
    // Once it is cleared, a canary that is missed stays missed.
    host.clear();
    host.check_in();
    host.missed_proofs = 9;
    host.kill_sensor();
    host.pass(600 * second);
    assert_eq!(host.missed_proofs, 8);
}

#[test]
fn a_link_to_a_deleted_folder_is_pointed_at_what_is_there() {
    for record in [None, Some(Record::committed(release(255)))] {
        let disk = DiskView { link: Some(release(255)), versions: [release(254)].into(), ..DiskView::default() };
        let host = Host::over(record, disk);
        assert_eq!(host.disk.link, Some(release(254)));
        assert_eq!(host.disk.running, Running::Release(release(254)));
    }
}

#[test]
fn a_stranger_in_the_sensors_place_is_stopped_before_one_is_started() {
    let disk = DiskView { running: Running::Unknown, ..DiskView::of(release(254)) };
    let host = Host::over(Some(Record::committed(release(254))), disk);
    assert_eq!(host.disk.running, Running::Release(release(254)));
}

#[test]
fn the_time_floor_only_rises_and_seldom_writes() {
    let mut machine = Host::running(254).machine;
    assert_eq!(machine.raise_time_floor(START).len(), 1);
    assert!(machine.raise_time_floor(START + 59 * MINUTE).is_empty());
    assert_eq!(machine.raise_time_floor(START + 61 * MINUTE).len(), 1);
    assert!(machine.raise_time_floor(START).is_empty());
    assert_eq!(machine.record().time_floor, START + 61 * MINUTE);
}

#[test]
fn a_record_reads_back_and_unknown_fields_are_ignored() {
    let host = updating(Behaviour::Refuse);
    let text = serde_json::to_string(host.machine.record()).unwrap();
    assert_eq!(&serde_json::from_str::<Record>(&text).unwrap(), host.machine.record());
    let older: Record = serde_json::from_str(r#"{"committed":"2.254.1.0-000000fe","laterField":1}"#).unwrap();
    assert_eq!(older, Record::committed(release(254)));
    for bad in [
        "2.254.1.0",
        "2.254.1.0-",
        "2.254.1.0-xyz",
        "../2.254.1.0-000000fe",
        "2.254.1.0-000000fe0",
        "2.254.1.0-0A0000fe",
    ] {
        assert!(bad.parse::<Release>().is_err(), "{bad} was taken");
    }
}

#[test]
fn a_sensor_whose_memory_the_host_needs_rests_and_comes_back_without_having_failed() {
    let pause = Duration::from_secs(5);
    let mut host = Host::running(254);
    host.log.clear();
    host.give(Event::MemoryNeeded { pause });
    assert_eq!((host.disk.running, host.machine.report().service), (Running::Nothing, ServiceState::Stopped));
    host.pass(pause);
    assert_eq!(host.disk.running, Running::Release(release(254)));
    assert_eq!(host.log, ["start 2.254.1.0"]);
    // On a new release it counts neither as a start that failed nor as a death.
    let mut host = updating(Behaviour::Ok);
    for _ in 0..4 {
        host.give(Event::MemoryNeeded { pause });
        host.pass(pause);
    }
    assert!(matches!(host.machine.record().phase, Phase::AwaitingClearance { crashes: 0, .. }));
}
