//! An update that somebody on the host orders from a file.

use std::path::PathBuf;

use tokio::task::JoinHandle;
use watchpost_core::version::Version;

use super::*;
use crate::update_file::{UpdateError, update_from_file};

type Waiting = JoinHandle<Result<Version, UpdateError>>;

impl World {
    fn package(&self, minor: u32) -> PathBuf {
        self.folder.path().join(format!("server/sensor-{minor}.cab"))
    }

    fn order(&self, package: PathBuf) -> Waiting {
        let root = self.layout.root().to_owned();
        self.outside.spawn(async move { update_from_file(&root, &package, |_| {}).await })
    }

    fn ends(&self, waiting: Waiting) -> Result<Version, UpdateError> {
        self.until("the command ends", |_| waiting.is_finished());
        self.outside.block_on(waiting).unwrap()
    }

    fn asks_for(&self) -> Option<Version> {
        self.plan(|plan| plan.reports.last().and_then(|report| report.asked))
    }

    /// Publishes a release that the host is not handed yet; gives what would hand it out.
    fn publish_for_later(&mut self, minor: u32) -> watchpost_core::sync::Desired {
        let before = self.plan(|plan| plan.desired.clone());
        self.gateway.publish(minor, &program("good"));
        self.plan(|plan| std::mem::replace(&mut plan.desired, before))
    }
}

#[test]
fn a_package_from_a_file_is_asked_for_installed_without_a_download_and_cleared() {
    let mut world = World::installed();
    let later = world.publish_for_later(255);
    let downloads = world.plan(|plan| plan.downloads);
    let waiting = world.order(world.package(255));
    world.until("it is asked for", |world| world.asks_for() == Some(version(255)));
    assert!(world.runs(254) && !waiting.is_finished(), "nothing happens before the control plane says so");
    world.plan(|plan| plan.desired = later);
    assert_eq!(world.ends(waiting).unwrap(), version(255));
    assert!(world.runs(255) && world.has_committed(255));
    assert_eq!(world.plan(|plan| plan.downloads), downloads, "the file was taken");
    world.until("nothing is asked for any more", |world| world.asks_for().is_none());
    assert_eq!(fs::read_dir(world.layout.downloads()).unwrap().count(), 2, "notes, and no package");
    // What runs already is done.
    let again = world.order(world.package(255));
    assert_eq!(world.ends(again).unwrap(), version(255));
}

#[test]
fn who_does_not_wait_any_more_has_withdrawn_the_order() {
    let mut world = World::installed();
    drop(world.publish_for_later(255));
    let waiting = world.order(world.package(255));
    world.until("it is asked for", |world| world.asks_for() == Some(version(255)));
    let second = world.order(world.package(255));
    assert!(matches!(world.ends(second), Err(UpdateError::Failed(why)) if why.contains("another update")));
    waiting.abort();
    world.until("it is asked for no more", |world| world.asks_for().is_none());
    assert_eq!(fs::read_dir(world.layout.downloads()).unwrap().count(), 1, "the copy is gone");
    assert!(world.runs(254));
}

#[test]
fn what_nobody_vouches_for_or_is_known_bad_here_is_refused_and_asked_of_nobody() {
    let mut world = World::installed();
    let stranger = world.folder.path().join("stranger.cab");
    fs::write(&stranger, "no package").unwrap();
    let waiting = world.order(stranger);
    assert!(matches!(world.ends(waiting), Err(UpdateError::Refused(why)) if why.contains("no release that is signed")));
    world.gateway.publish(255, &program("crash"));
    world.step = Duration::from_secs(1);
    world.until("it went back", |world| {
        world.record().bad_versions.contains_key(&version(255)) && world.has_committed(254)
    });
    let waiting = world.order(world.package(255));
    assert!(matches!(world.ends(waiting), Err(UpdateError::Refused(why)) if why.contains("known to be bad")));
    assert!(world.plan(|plan| plan.reports.iter().all(|report| report.asked.is_none())));
}

#[test]
fn without_an_updater_a_host_or_a_package_nothing_is_done() {
    let mut world = World::installed();
    let missing = world.order(world.package(299));
    assert!(matches!(world.ends(missing), Err(UpdateError::NoPackage(_))));
    world.kill_updater();
    let waiting = world.order(world.package(254));
    assert!(matches!(world.ends(waiting), Err(UpdateError::NotRunning(_))));
    let elsewhere = world.outside.block_on(update_from_file(world.folder.path(), &world.package(254), |_| {}));
    assert!(matches!(elsewhere, Err(UpdateError::NoHost(_))));
}
