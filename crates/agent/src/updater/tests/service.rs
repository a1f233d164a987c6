//! The whole updater against a control plane in miniature, with processes that live, refuse, hang and are killed.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use watchpost_clock::Clock;
use watchpost_core::access_key::{AccessKey, AccessSecret};
use watchpost_core::sync::{ServiceState, TargetRef, UpdateProgress};
use watchpost_core::updater::{Phase, Record, Release, Running};
use watchpost_package::Sha256Hex;

use super::fake_sensor::{alerts, program};
use super::gateway::{Fault, Gateway, Plan};
use super::host::{START, version};
use crate::host::disk::Disk;
use crate::host::disk::tests::Power;
use crate::host::process;
use crate::identity::Keyring;
use crate::setup::{KeySource, Setup, set_up};
use crate::transport::{Client, Timeouts};
use crate::updater::prepare::Order;
use crate::updater::{Ended, Installation, Layout, Options, PrepareError, Preparer, Versions, run, status};

mod ordered;
mod successor;

/// Rounds in which something may come true.
const ROUNDS: u32 = 3000;
/// Real time of a round, for the processes to get on.
const ROUND: Duration = Duration::from_millis(5);

/// A control plane, a host that is set up, and its updater.
struct World {
    folder: tempfile::TempDir,
    clock: Clock,
    outside: Runtime,
    gateway: Gateway,
    layout: Layout,
    updater: Option<Runtime>,
    /// How far a round steps the clock.
    step: Duration,
    /// The hash by which a launcher knows the updater that is started.
    program: Option<String>,
    ended: Arc<Mutex<Option<Ended>>>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(START);
        let outside = Runtime::new().unwrap();
        let gateway = outside.block_on(Gateway::open(&folder.path().join("server"), &clock));
        let layout = Layout::new(&folder.path().join("host"));
        let (updater, step, program, ended) = (None, Duration::from_millis(200), None, Arc::default());
        let mut world = Self { folder, clock, outside, gateway, layout, updater, step, program, ended };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        self.outside.block_on(set_up(&self.setup(AccessSecret::new([7; 32])), &self.clock)).unwrap();
    }

    fn setup(&self, secret: AccessSecret) -> Setup {
        let gateway = &self.gateway;
        let key = AccessKey { secret, server_key: gateway.key_sha256, director_root: gateway.director_root };
        Setup {
            root: self.layout.root().to_owned(),
            server: format!("https://{}", gateway.address),
            key: KeySource::Text(key.to_string()),
            image_root: gateway.image_root(),
            name: "DC01".to_owned(),
            sensor_type: "domainControllerIntegrated".to_owned(),
            domain: None,
            domain_controllers: Vec::new(),
            site: None,
            zone: None,
            audit_log: Some(self.folder.path().join("audit.jsonl")),
            logs_path: None,
            engine_user: None,
            sensor_user: None,
            sensor_unit: None,
            watched_unit: None,
            waits: false,
            delayed: false,
            proxy_url: None,
            proxy_credentials: None,
        }
    }

    fn start(&mut self) {
        let runtime = Runtime::new().unwrap();
        let root = self.layout.root().to_owned();
        let (clock, program, ended) = (self.clock.clone(), self.program.clone(), self.ended.clone());
        *ended.lock().unwrap() = None;
        let options = Options { root, clock, sensor_arguments: Vec::new(), guards: false, program };
        runtime.spawn(async move {
            let how = run(options).await.unwrap();
            *ended.lock().unwrap() = Some(how);
        });
        self.updater = Some(runtime);
    }

    /// How the updater has ended, if it has.
    fn ended(&self) -> Option<Ended> {
        *self.ended.lock().unwrap()
    }

    /// `kill -9` of the updater: everything it had in memory is gone, the sensor lives on.
    fn kill_updater(&mut self) {
        self.updater.take().unwrap().shutdown_timeout(Duration::from_secs(5));
    }

    fn plan<T>(&self, look: impl FnOnce(&mut Plan) -> T) -> T {
        look(&mut self.gateway.plan.lock().unwrap())
    }

    fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..ROUNDS {
            if is_so(self) {
                return;
            }
            self.clock.set(self.clock.now() + self.step);
            self.outside.block_on(async { tokio::time::sleep(ROUND).await });
        }
        let output = fs::read_to_string(self.layout.sensor_output()).unwrap_or_default();
        panic!(
            "never: {what}; record {:?}; sensor said {output}; last {:?}",
            self.record(),
            self.plan(|plan| plan.reports.last().cloned())
        );
    }

    fn record(&self) -> Record {
        Installation::new(&self.layout, Disk::default()).record().unwrap_or_default()
    }

    fn has_committed(&self, minor: u32) -> bool {
        let record = self.record();
        record.phase == Phase::Committed && record.committed.is_some_and(|release| release.version == version(minor))
    }

    /// A host that runs 254, cleared.
    fn installed() -> Self {
        let mut world = Self::new();
        world.gateway.publish(254, &program("good"));
        world.start();
        world.until("254 is committed", |world| world.has_committed(254));
        world
    }

    fn running(&self) -> Running {
        let (heard, guarded) = (tokio::sync::mpsc::channel(1).0, tokio::sync::watch::Sender::new(None));
        super::super::supervisor::Supervisor::new(self.layout.clone(), Vec::new(), heard, guarded).running()
    }

    fn runs(&self, minor: u32) -> bool {
        matches!(self.running(), Running::Release(release) if release.version == version(minor))
    }

    fn sensor_pid(&self) -> u32 {
        fs::read_to_string(self.layout.sensor_lock()).unwrap().trim().parse().unwrap()
    }

    fn failure(&self) -> String {
        self.record().last_failure.map(|failure| failure.reason).unwrap_or_default()
    }

    /// Publishes a release that must not be installed, and waits for the host to say why.
    fn refuses(&mut self, fault: Fault) -> String {
        let pid = self.sensor_pid();
        self.plan(|plan| plan.fault = fault);
        self.gateway.publish(255, &program("good"));
        self.until("it has failed", |world| world.record().last_failure.is_some());
        assert!(self.runs(254) && self.sensor_pid() == pid, "the running sensor was touched");
        assert!(!self.record().last_failure.unwrap().reverted);
        assert_no_new_folder(&self.layout.versions());
        self.failure()
    }
}

fn assert_no_new_folder(versions: &Path) {
    let names: Vec<_> = fs::read_dir(versions).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(updater) = self.updater.take() {
            updater.shutdown_timeout(Duration::from_secs(5));
        }
        if self.running() != Running::Nothing
            && let Ok(text) = fs::read_to_string(self.layout.sensor_lock())
            && let Ok(pid) = text.trim().parse()
        {
            process::end(pid);
        }
    }
}

#[test]
fn a_host_installs_updates_reports_and_keeps_one_version_to_go_back_to() {
    let mut world = World::installed();
    world.gateway.publish(255, &program("good"));
    world.until("255 is committed", |world| world.has_committed(255));
    world.until("255 runs", |world| world.runs(255));
    world.until("the server knows", |world| {
        world.plan(|plan| {
            plan.reports.last().is_some_and(|report| {
                report.version == Some(version(255))
                    && report.service == ServiceState::Running
                    && report.update == UpdateProgress::Idle
                    && report.proof.as_ref().is_some_and(|proof| proof.version == version(255))
            })
        })
    });
    let told = world.outside.block_on(status(world.layout.root())).unwrap();
    assert!(told.updater_running && told.sensor.is_some_and(|sensor| sensor.ready));
    assert_eq!(told.versions.len(), 2);
    assert_eq!(world.plan(|plan| plan.downloads), 2);
    assert_eq!(fs::read_dir(world.layout.downloads()).unwrap().count(), 2, "notes, and no package");
}

#[test]
fn setup_can_be_repeated_and_enrols_the_same_host() {
    let mut world = World::new();
    let identity = fs::read(world.layout.root().join("updater/identity/cur/cert.der")).unwrap();
    world.set_up();
    assert_eq!(fs::read(world.layout.root().join("updater/identity/cur/cert.der")).unwrap(), identity);
    world.plan(|plan| assert_eq!(plan.enrolments.first(), plan.enrolments.last()));
}

#[test]
fn a_setup_with_an_unknown_access_key_changes_nothing_on_a_host_that_runs() {
    let world = World::installed();
    let (pid, root) = (world.sensor_pid(), world.layout.root());
    // Its updater is just about to unpack a release.
    let staging = world.layout.versions().join(".staging-0000000000000001/bin");
    fs::create_dir_all(&staging).unwrap();
    let partial = world.layout.downloads().join(".partial-0000000000000001");
    fs::write(&partial, "half a package").unwrap();
    let kept = ["etc/updater.json", "updater/identity/cur/cert.der", "updater/trust/shipped.image.root.json"];
    let read = || kept.map(|file| fs::read(root.join(file)).unwrap());
    let before = read();
    let mut setup = world.setup(AccessSecret::new([8; 32]));
    setup.image_root = world.folder.path().join("another.root.json");
    fs::write(&setup.image_root, "the root of another author").unwrap();
    let refused = world.outside.block_on(set_up(&setup, &world.clock)).unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    assert!(crate::updater::in_one_line(&refused).contains("access_key_unknown"), "{refused:?}");
    assert!(read() == before, "a refused setup left something behind");
    assert!(staging.exists() && partial.exists(), "setup swept away what the updater was working on");
    assert_eq!(world.sensor_pid(), pid);
    assert!(world.runs(254));
}

#[test]
fn a_version_that_this_host_cannot_run_is_given_up_and_the_server_told_why() {
    let mut world = World::installed();
    world.gateway.publish(255, &program("refuse"));
    world.until("it went back", |world| {
        world.record().bad_versions.contains_key(&version(255)) && world.has_committed(254)
    });
    world.until("254 runs", |world| world.runs(254));
    world.until("the server knows", |world| {
        world.plan(|plan| {
            plan.reports.last().is_some_and(|report| {
                report.version == Some(version(254))
                    && matches!(&report.update, UpdateProgress::Failed { reverted: true, reason, .. }
                        if reason.contains("too few file descriptors"))
            })
        })
    });
}

#[test]
fn a_version_that_crashes_hangs_or_is_blind_is_given_up() {
    for mode in ["crash", "hang", "blind"] {
        let mut world = World::installed();
        world.gateway.publish(255, &program(mode));
        world.step = Duration::from_secs(1);
        world.until(mode, |world| world.record().bad_versions.contains_key(&version(255)) && world.has_committed(254));
        world.until("254 runs", |world| world.runs(254));
    }
}

#[test]
fn a_killed_updater_adopts_the_sensor_it_left() {
    let mut world = World::installed();
    let pid = world.sensor_pid();
    world.kill_updater();
    assert!(world.runs(254), "detection goes on");
    let before = world.plan(|plan| plan.reports.len());
    world.start();
    world.until("it reports again", |world| world.plan(|plan| plan.reports.len() > before));
    world.plan(|plan| {
        let first = &plan.reports[before];
        assert_eq!((first.service, first.version), (ServiceState::Running, Some(version(254))));
    });
    assert_eq!(world.sensor_pid(), pid);
}

#[test]
fn a_killed_sensor_is_started_again() {
    let world = World::installed();
    let pid = world.sensor_pid();
    process::end(pid);
    world.until("another one runs", |world| world.runs(254) && world.sensor_pid() != pid);
    assert!(world.has_committed(254));
}

#[test]
fn an_updater_killed_in_the_middle_of_an_update_finishes_it() {
    for round in 0..8 {
        let mut world = World::installed();
        world.gateway.publish(255, &program("good"));
        for _ in 0..round {
            world.clock.set(world.clock.now() + Duration::from_secs(10));
            world.outside.block_on(async { tokio::time::sleep(ROUND).await });
        }
        world.kill_updater();
        world.start();
        world.until("255 is committed", |world| world.has_committed(255) && world.runs(255));
    }
}

#[test]
fn alerts_are_reported_at_once() {
    let world = World::installed();
    world.until("it is quiet", |world| {
        world.plan(|plan| plan.reports.last().is_some_and(|r| r.update == UpdateProgress::Idle))
    });
    let at = world.clock.now();
    fs::write(alerts(world.layout.root()), "3").unwrap();
    world.until("the server knows", |world| world.plan(|plan| plan.reports.last().is_some_and(|r| r.alert_count == 3)));
    assert!(world.clock.now().since(at) < Duration::from_secs(30), "it did not wait for the next check-in");
}

#[test]
fn a_second_updater_is_refused() {
    let world = World::installed();
    let options = Options {
        root: world.layout.root().to_owned(),
        clock: world.clock.clone(),
        sensor_arguments: Vec::new(),
        guards: false,
        program: None,
    };
    let refused = world.outside.block_on(run(options)).unwrap_err();
    assert!(refused.to_string().contains("another updater"), "{refused}");
}

#[test]
fn a_package_with_a_wrong_byte_is_refused() {
    let reason = World::installed().refuses(Fault::WrongByte);
    assert!(reason.contains("SHA-256"), "{reason}");
}

#[test]
fn forged_metadata_is_refused() {
    let reason = World::installed().refuses(Fault::ForgedMetadata);
    assert!(reason.contains("repository is refused"), "{reason}");
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let mut world = World::installed();
    world.plan(|plan| plan.fault = Fault::Truncates(400));
    world.gateway.publish(255, &program("good"));
    world.until("255 is committed", |world| world.has_committed(255));
    assert!(world.plan(|plan| plan.downloads) > 2);
}

#[test]
fn a_full_disk_is_told_before_anything_is_fetched() {
    let mut world = World::installed();
    world.kill_updater();
    world.gateway.publish(255, &program("good"));
    let desired = world.plan(|plan| plan.desired.clone());
    let target = desired.target.unwrap();
    let power = Arc::new(Power { steps: Default::default(), cut: usize::MAX, free: 64 * 1024 * 1024 });
    let versions = Versions::new(world.layout.clone(), Disk { power: Some(power) });
    let identity = Keyring::of_host(world.layout.root()).read_or_make(world.clock.now()).unwrap();
    let (server, key) = (world.gateway.address.clone(), world.gateway.key_sha256);
    let client = Client::new(&server, [key.into()].into(), &identity, Timeouts::default()).unwrap();
    let director = Sha256Hex::from_bytes(world.gateway.director_root);
    let preparer = Preparer::new(client, world.layout.clone(), versions, director);
    let order = Order {
        release: Release::new(version(255), &target.sha256).unwrap(),
        target: target.clone(),
        running: Some(version(254)),
        server_time: world.clock.now(),
    };
    let refused = world.outside.block_on(preparer.prepare(order.clone(), |_| {})).unwrap_err();
    // The package, twice three times it unpacked, and 64 MiB.
    let needed = target.length * 7 + 64 * 1024 * 1024;
    assert!(matches!(refused, PrepareError::NotEnoughDisk { needed: n, free: 67_108_864 } if n == needed), "{refused}");
    assert!(!refused.is_retryable());
    assert_eq!(world.plan(|plan| plan.downloads), 1, "that of 254");
    let other = Order { target: TargetRef { length: target.length + 1, ..target }, ..order };
    let refused = world.outside.block_on(preparer.prepare(other, |_| {})).unwrap_err();
    assert!(matches!(refused, PrepareError::Differs { .. }), "{refused}");
}

#[test]
fn a_server_that_answers_garbage_changes_nothing() {
    let world = World::installed();
    let (pid, generation) = (world.sensor_pid(), world.record().generation);
    world.plan(|plan| plan.fault = Fault::Garbage);
    for _ in 0..200 {
        world.clock.set(world.clock.now() + Duration::from_secs(5));
        world.outside.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }
    assert_eq!((world.sensor_pid(), world.record().generation), (pid, generation));
    assert!(world.runs(254));
    world.plan(|plan| plan.fault = Fault::None);
    let before = world.plan(|plan| plan.reports.len());
    world.until("it reports again", |world| world.plan(|plan| plan.reports.len() > before));
}
