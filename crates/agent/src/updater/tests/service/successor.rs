//! One updater takes another's place: when it ends, what it leaves, and how the next one proves itself.

use std::os::unix::fs::PermissionsExt as _;

use watchpost_core::succession::{End, Program, Succession, TRIAL_STARTS};
use watchpost_core::sync::UpdaterReport;

use super::*;
use crate::updater::Programs;

const NEXT: &str = "the next updater";

impl World {
    /// Has release `minor` bring an updater.
    fn brings_updater(&self, minor: u32) -> Program {
        let path = self.folder.path().join(format!("server/source-{minor}/bin/watchpost-updater"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, NEXT).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Program { version: version(minor), sha256: Sha256Hex::of(NEXT.as_bytes()).to_string() }
    }

    fn programs(&self) -> Programs {
        Programs::new(&self.layout, Disk::default())
    }

    fn told(&self) -> UpdaterReport {
        self.plan(|plan| plan.reports.last().map(|report| report.updater.clone())).unwrap_or_default()
    }

    fn starts_as(&mut self, program: &str) {
        self.program = Some(program.to_owned());
        self.start();
    }

    /// A host whose updater has handed over to that of 255.
    fn handed_over() -> (Self, Program) {
        let mut world = Self::launched();
        let next = world.brings_updater(255);
        world.gateway.publish(255, &program("good"));
        world.until("it hands over", |world| world.ended() == Some(Ended::HandedOver));
        world.kill_updater();
        (world, next)
    }

    /// A host that runs 254, cleared, under a launcher.
    fn launched() -> Self {
        let mut world = Self::new();
        world.gateway.publish(254, &program("good"));
        world.starts_as("00");
        world.until("254 is committed", |world| world.has_committed(254));
        world
    }
}

#[test]
fn after_the_sensor_was_committed_and_not_before_the_updater_that_came_with_it_takes_over() {
    let mut world = World::launched();
    let next = world.brings_updater(255);
    world.plan(|plan| plan.withholds = true);
    world.gateway.publish(255, &program("good"));
    world.until("255 waits for clearance", |world| matches!(world.record().phase, Phase::AwaitingClearance { .. }));
    let check_ins = world.plan(|plan| plan.reports.len());
    world.until("it has checked in again", |world| world.plan(|plan| plan.reports.len()) > check_ins + 2);
    assert_eq!((world.ended(), world.programs().succession()), (None, Succession::default()), "one step at a time");
    world.plan(|plan| plan.withholds = false);
    world.until("it hands over", |world| world.ended() == Some(Ended::HandedOver));
    let pid = world.sensor_pid();
    assert!(world.has_committed(255) && world.runs(255), "the sensor goes on");
    assert!(world.programs().is_whole(&next));
    world.kill_updater();
    world.starts_as(&next.sha256);
    world.until("it has proved itself", |world| world.programs().succession().settled == Some(next.clone()));
    world.until("the server knows", |world| world.told().version == Some(version(255)));
    assert_eq!(world.sensor_pid(), pid, "the same sensor process");
    assert_eq!(world.ended(), None, "it is the one that 255 brought");
}

#[test]
fn one_on_trial_takes_no_orders_before_it_was_answered_while_its_sensor_runs() {
    let (mut world, next) = World::handed_over();
    world.gateway.publish(256, &program("good"));
    process::end(world.sensor_pid());
    world.until("the sensor is gone", |world| world.running() == Running::Nothing);
    let check_ins = world.plan(|plan| plan.reports.len());
    world.starts_as(&next.sha256);
    world.until("it has checked in", |world| world.plan(|plan| plan.reports.len()) > check_ins);
    world.until("it has proved itself", |world| world.programs().succession().trial.is_none());
    let watched = |world: &World| {
        let reports = world.plan(|plan| plan.reports[check_ins..].to_vec());
        reports.iter().take_while(|report| report.service != ServiceState::Running).count()
    };
    assert!(watched(&world) < world.plan(|plan| plan.reports.len()) - check_ins, "its sensor ran");
    world.until("256 is committed", |world| world.has_committed(256));
}

#[test]
fn a_server_out_of_reach_proves_nothing_and_is_held_against_nobody() {
    let (mut world, next) = World::handed_over();
    world.plan(|plan| plan.fault = Fault::Garbage);
    world.starts_as(&next.sha256);
    let tried = world.clock.now() + Duration::from_secs(120);
    world.until("it has tried for two minutes", |world| world.clock.now() > tried);
    assert_eq!(world.programs().succession().trial.map(|trial| trial.program), Some(next.clone()));
    world.kill_updater();
    // What the launcher does when the time of the last start is over.
    let mut succession = world.programs().succession();
    for _ in 0..=TRIAL_STARTS {
        let _ = succession.next(|_| true, world.clock.now());
        succession.ended(End::Unanswered);
    }
    world.programs().keep(&succession).unwrap();
    world.starts_as("00");
    world.until("it was not answered either", |world| world.programs().succession().given_up.is_empty());
    world.plan(|plan| plan.fault = Fault::None);
    world.until("it hands over once more", |world| world.ended() == Some(Ended::HandedOver));
    assert_eq!(world.programs().succession().trial.map(|trial| trial.program), Some(next));
}

#[test]
fn one_that_was_given_up_is_reported_and_not_tried_again_until_another_comes() {
    let (mut world, next) = World::handed_over();
    let mut succession = world.programs().succession();
    for _ in 0..=TRIAL_STARTS {
        let _ = succession.next(|_| true, world.clock.now());
        succession.ended(End::Itself("exit status: 1".to_owned()));
    }
    world.programs().keep(&succession).unwrap();
    world.starts_as("00");
    world.until("the server knows", |world| world.told().refused.is_some());
    let refused = world.told().refused.unwrap();
    assert_eq!((refused.version, refused.reason.as_str()), (version(255), "it was started 3 times: exit status: 1"));
    let check_ins = world.plan(|plan| plan.reports.len());
    world.until("it has checked in again", |world| world.plan(|plan| plan.reports.len()) > check_ins + 2);
    assert_eq!(world.ended(), None);
    assert!(!world.programs().path(&next).unwrap().exists(), "what is not needed is removed");
}

#[test]
fn without_a_launcher_nothing_takes_its_place() {
    let mut world = World::installed();
    world.brings_updater(255);
    world.gateway.publish(255, &program("good"));
    world.until("255 is committed", |world| world.has_committed(255));
    let check_ins = world.plan(|plan| plan.reports.len());
    world.until("it has checked in again", |world| world.plan(|plan| plan.reports.len()) > check_ins + 2);
    assert_eq!((world.ended(), world.programs().succession()), (None, Succession::default()));
}
