//! Whatever happens, in whatever order: the host ends committed, on the old version or a new one, with one sensor.

use std::time::Duration;

use proptest::prelude::*;

use super::simulated_host::{Behaviour, Host, OnRestart, release, version};
use super::{Event, Phase, Running};
use crate::restart::RestartNeed;

#[derive(Clone, Debug)]
enum Step {
    Pass(u32),
    CheckIn,
    StaleCheckIn,
    Want(u32),
    Retry,
    ClearIfProven,
    KillSensor,
    /// The host needs the sensor's memory.
    NeedMemory,
    KillUpdater,
    /// The updater is killed after so many more commands.
    KillUpdaterAfter(usize),
    PowerCut,
    LoseRecord,
    /// The disk fails the next switches.
    FailSwitches(u32),
    /// The control plane allows a restart, or takes the leave back.
    MayRestart(bool),
    /// What comes of the restarts from here on.
    OnRestart(OnRestart),
    /// The host restarts by itself.
    Reboot,
    /// The next canaries pass undetected.
    MissProofs(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..900).prop_map(Step::Pass),
        6 => Just(Step::CheckIn),
        1 => Just(Step::StaleCheckIn),
        2 => (255u32..258).prop_map(Step::Want),
        1 => Just(Step::Want(254)),
        1 => Just(Step::Retry),
        3 => Just(Step::ClearIfProven),
        1 => Just(Step::KillSensor),
        1 => Just(Step::NeedMemory),
        1 => Just(Step::KillUpdater),
        3 => (0usize..6).prop_map(Step::KillUpdaterAfter),
        1 => Just(Step::PowerCut),
        1 => Just(Step::LoseRecord),
        1 => (1u32..4).prop_map(Step::FailSwitches),
        1 => (1u32..4).prop_map(Step::MissProofs),
        2 => any::<bool>().prop_map(Step::MayRestart),
        1 => prop_oneof![Just(OnRestart::Comes), Just(OnRestart::Fails), Just(OnRestart::Never)].prop_map(Step::OnRestart),
        1 => Just(Step::Reboot),
    ]
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        3 => Just(Behaviour::Ok),
        1 => Just(Behaviour::Crash),
        1 => Just(Behaviour::Refuse),
        1 => Just(Behaviour::Hang),
        1 => Just(Behaviour::Unhealthy),
        1 => Just(Behaviour::Stall),
        1 => Just(Behaviour::Forged),
    ]
}

fn need() -> impl Strategy<Value = RestartNeed> {
    prop_oneof![
        2 => Just(RestartNeed::None),
        1 => Just(RestartNeed::WatchedService),
        1 => Just(RestartNeed::Host),
    ]
}

fn take(host: &mut Host, step: Step) {
    match step {
        Step::Pass(seconds) => host.pass(Duration::from_secs(seconds.into())),
        Step::CheckIn => host.check_in(),
        Step::StaleCheckIn => {
            let newest = host.desired.clone();
            host.desired.generation = newest.generation.saturating_sub(1);
            host.check_in();
            host.desired = newest;
        }
        Step::Want(minor) => host.want(minor),
        Step::Retry => {
            host.desired.generation += 1;
            host.desired.retry = true;
        }
        Step::ClearIfProven => host.clear_if_proven(),
        Step::KillSensor => host.kill_sensor(),
        Step::NeedMemory => host.give(Event::MemoryNeeded { pause: Duration::from_secs(5) }),
        Step::KillUpdater => host.restart(),
        Step::KillUpdaterAfter(commands) => host.dies_after = Some(commands),
        Step::PowerCut => host.power_cut(),
        Step::FailSwitches(count) => host.failing_switches = count,
        Step::MissProofs(count) => host.missed_proofs = count,
        Step::MayRestart(may) => host.desired.may_restart = may,
        Step::OnRestart(what) => host.on_restart = what,
        Step::Reboot => host.reboot(),
        Step::LoseRecord => {
            // Only between updates: a lost record during a trial is a separate promise, tested by itself.
            if host.machine.record().phase == Phase::Committed
                && host.machine.current() == host.machine.record().committed
            {
                let floor = host.durable.as_ref().map_or(0, |record| record.generation);
                host.durable = None;
                host.restart();
                host.desired.generation = host.desired.generation.max(floor);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_host_always_ends_committed_on_a_release_that_runs(
        behaviours in proptest::collection::vec(behaviour(), 3),
        needs in proptest::collection::vec(need(), 3),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut host = Host::running(254);
        for (minor, behaviour) in (255..).zip(&behaviours) {
            host.behaviours.insert(version(minor), *behaviour);
        }
        for (minor, need) in (255..).zip(&needs) {
            host.needs.insert(version(minor), *need);
        }
        for step in steps {
            take(&mut host, step);
        }
        // The storm is over: the server answers, and clears what detects.
        host.dies_after = None;
        (host.desired.retry, host.desired.may_restart) = (false, true);
        host.on_restart = OnRestart::Comes;
        host.minutes(120, true);
        let record = host.machine.record().clone();
        prop_assert_eq!(&record.phase, &Phase::Committed);
        let committed = record.committed.unwrap();
        prop_assert_eq!(host.disk.running, Running::Release(committed));
        prop_assert_eq!(host.disk.link, Some(committed));
        let is_good = |minor: u32| minor == 254 || behaviours.get(minor as usize - 255) == Some(&Behaviour::Ok);
        prop_assert!((254..258).any(|minor| release(minor) == committed && is_good(minor)), "{} is not good", committed);
        prop_assert_eq!(host.durable.as_ref(), Some(&record));
        // What runs as wanted and is not cleared has shown that it detects.
        if host.desired.version == Some(committed.version) && !host.desired.cleared {
            prop_assert!(host.machine.is_proven(), "nobody asks for the proof that is awaited");
        }
        // What is wanted and works here is what runs, unless it was given up during the storm.
        let wanted = (254..258).find(|minor| host.desired.version == Some(version(*minor)));
        if let Some(minor) = wanted.filter(|minor| is_good(*minor)) {
            let was_given_up = record.bad_versions.contains_key(&version(minor))
                || record.last_failure.is_some_and(|failure| failure.version == version(minor));
            prop_assert!(was_given_up || committed == release(minor), "wanted {}, runs {}", minor, committed);
        }
    }
}
