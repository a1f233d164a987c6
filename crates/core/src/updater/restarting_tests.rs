//! A release that needs a restart: staged until it is allowed, switched to before the restart, never stuck in between.

use std::time::Duration;

use super::simulated_host::{Host, OnRestart, release, version};
use super::*;
use crate::sync::UpdateProgress;

const MINUTE: Duration = Duration::from_secs(60);

/// A host on 254 to which 255 was handed, which needs this restart; it is not allowed.
fn staged(need: RestartNeed) -> Host {
    let mut host = Host::running(254);
    host.needs.insert(version(255), need);
    host.want(255);
    host.check_in();
    host
}

fn allow(host: &mut Host) {
    host.desired.generation += 1;
    host.desired.may_restart = true;
    host.check_in();
}

#[test]
fn without_leave_it_is_staged_for_as_long_as_it_takes_and_the_old_version_watches() {
    let mut host = staged(RestartNeed::Host);
    host.minutes(24 * 60, false);
    assert_eq!(host.machine.progress(), UpdateProgress::Staged { version: version(255) });
    assert_eq!(host.disk.running, Running::Release(release(254)));
    assert_eq!(host.disk.link, Some(release(254)));
    assert_eq!((host.restarts_asked, host.machine.record().last_failure.clone()), (0, None));
    // Neither a crash of the updater nor a power cut loses what is staged.
    host.power_cut();
    assert_eq!(host.machine.progress(), UpdateProgress::Staged { version: version(255) });
    assert_eq!(host.disk.running, Running::Release(release(254)));
}

#[test]
fn with_leave_the_host_restarts_once_and_comes_up_with_the_new_version() {
    let mut host = staged(RestartNeed::Host);
    allow(&mut host);
    assert_eq!(host.disk.running, Running::Release(release(255)));
    assert_eq!(host.restarts_asked, 1);
    let at = |what: &str| host.log.iter().position(|line| line == what);
    assert!(
        at("switch 2.255.1.0") < at("restart host") && at("restart host") < at("start 2.255.1.0"),
        "{:?}",
        host.log
    );
    host.minutes(3, true);
    assert_eq!(host.machine.record().committed, Some(release(255)));
    assert_eq!(host.restarts_asked, 1);
}

#[test]
fn the_watched_service_is_restarted_while_the_old_sensor_still_watches() {
    let mut host = staged(RestartNeed::WatchedService);
    host.on_restart = OnRestart::Never;
    allow(&mut host);
    assert_eq!(host.machine.progress(), UpdateProgress::Restarting { version: version(255) });
    assert_eq!(host.disk.running, Running::Release(release(254)));
    host.kill_sensor();
    host.pass(MINUTE);
    assert_eq!(host.disk.running, Running::Release(release(254)), "it is started again meanwhile");
    host.give(Event::Restarted);
    assert_eq!(host.disk.running, Running::Release(release(255)));
}

#[test]
fn a_restart_that_is_refused_or_does_not_come_takes_the_host_back() {
    for (what, why) in [
        (OnRestart::Fails, "the host was not restarted: it is refused"),
        (OnRestart::Never, "the host was not restarted: nothing had come of it after 10 min"),
    ] {
        let mut host = staged(RestartNeed::Host);
        host.on_restart = what;
        allow(&mut host);
        host.pass(MINUTE * 10);
        let failure = host.machine.record().last_failure.clone().unwrap();
        assert_eq!((failure.reason.as_str(), failure.reverted), (why, true));
        assert_eq!(host.machine.record().committed, Some(release(254)));
        assert_eq!(host.disk.link, Some(release(254)));
        assert_eq!(host.disk.running, Running::Release(release(254)));
        // It is not tried again by itself.
        host.minutes(60, false);
        assert_eq!(host.restarts_asked, 1);
    }
}

#[test]
fn an_updater_that_dies_before_every_restart_asks_three_times_and_goes_back() {
    let mut host = staged(RestartNeed::Host);
    host.on_restart = OnRestart::Never;
    allow(&mut host);
    for _ in 0..3 {
        host.restart();
    }
    assert_eq!(host.restarts_asked, 3);
    assert_eq!(host.machine.record().committed, Some(release(254)));
    assert!(host.machine.record().last_failure.clone().unwrap().reason.contains("again and again"));
}

#[test]
fn a_host_that_restarts_by_itself_while_a_release_is_staged_stays_on_the_old_one() {
    let mut host = staged(RestartNeed::Host);
    host.reboot();
    host.minutes(5, false);
    assert_eq!(host.machine.progress(), UpdateProgress::Staged { version: version(255) });
    assert_eq!(host.disk.running, Running::Release(release(254)));
}

#[test]
fn what_is_staged_is_dropped_when_it_is_withdrawn_and_gives_way_to_a_newer_release() {
    let mut host = staged(RestartNeed::WatchedService);
    host.want(254);
    host.check_in();
    assert_eq!(host.machine.progress(), UpdateProgress::Idle);
    host.minutes(3, false);
    assert!(!host.disk.versions.contains(&release(255)), "it is swept away");
    let mut host = staged(RestartNeed::WatchedService);
    host.want(256);
    host.check_in();
    host.minutes(3, true);
    assert_eq!(host.machine.record().committed, Some(release(256)));
}

#[test]
fn the_first_release_of_a_host_needs_no_restart() {
    let mut host = Host::over(None, DiskView::default());
    host.needs.insert(version(255), RestartNeed::Host);
    host.want(255);
    host.check_in();
    assert_eq!(host.disk.running, Running::Release(release(255)));
    assert_eq!(host.restarts_asked, 0);
}

#[test]
fn the_way_back_restarts_nothing_but_the_sensor() {
    let mut host = staged(RestartNeed::Host);
    host.behaviours.insert(version(255), super::simulated_host::Behaviour::Refuse);
    allow(&mut host);
    host.minutes(3, true);
    assert_eq!(host.machine.record().committed, Some(release(254)));
    assert_eq!(host.disk.running, Running::Release(release(254)));
    assert_eq!(host.restarts_asked, 1);
}

#[test]
fn a_record_of_an_updater_that_knew_no_restarts_reads_back() {
    let old = r#"{"phase":{"phase":"switching","from":null,"to":"2.255.1.0-0a1b2c3d","purpose":{"why":"update"}}}"#;
    let record: Record = serde_json::from_str(old).unwrap();
    let Phase::Switching { purpose, .. } = record.phase else { panic!("another phase") };
    assert_eq!(purpose, Purpose::Update { restart: RestartNeed::None });
}
