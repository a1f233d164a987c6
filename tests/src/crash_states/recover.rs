//! The product's own recovery over one disk, and what must hold after it: one restart, and nobody lends a hand.
//!
//! What a version or a rule package has to hold is compared with a copy that was taken while the host was well, so that
//! the product's own verification is not what it is measured by.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use watchpost_agent::host::disk::Disk;
use watchpost_agent::host_config::HostConfig;
use watchpost_agent::identity::{Held, Keyring};
use watchpost_agent::rules::{Rules, committed_rules};
use watchpost_agent::transport::{Client, Timeouts};
use watchpost_agent::updater::{Installation, Layout, Preparer, Programs, RecordStore};
use watchpost_core::content::RulesRecord;
use watchpost_core::identity::Pin;
use watchpost_core::restart::RestartNeed;
use watchpost_core::succession::Program;
use watchpost_core::sync::{Desired, DetectionProof, TargetRef};
use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Command, Death, Event, Machine, Phase, Release, Running};
use watchpost_package::{FloorHealth, Repo, Sha256Hex, TrustConfig, Verifier};

use super::tree::{Listing, Tree};
use crate::stage::no_rubbish;
use crate::tools;

/// Check-ins after the restart, within which the host is where it should be.
const CHECK_INS: u32 = 8;
/// The time between two of them.
const CHECK_IN: Duration = Duration::from_secs(60);
/// Events of which one follows from the other. More would be a circle.
const MOST_EVENTS: usize = 200;

/// Files by repository and name.
pub type Metadata = BTreeMap<(Repo, String), Vec<u8>>;

/// A release as it lies whole on a host.
#[derive(Clone)]
pub struct Known {
    /// Its package.
    pub target: TargetRef,
    /// Every file of it.
    pub files: Listing,
    /// Whether its sensor refuses to run on this host.
    pub refuses: bool,
}

/// What must hold of a host, wherever the power failed.
pub struct Expected {
    /// The releases.
    pub releases: BTreeMap<Release, Known>,
    /// Those that may run after the restart.
    pub may_run: BTreeSet<Release>,
    /// What the control plane wants.
    pub wanted: Release,
    /// What runs in the end.
    pub ends_on: Release,
    /// The rule packages, by folder.
    pub rules: BTreeMap<String, Listing>,
    /// Whether one was in effect before.
    pub had_rules: bool,
    /// The updaters that may be started; `None`: the one that was installed.
    pub may_launch: Vec<Option<Program>>,
    /// The metadata of both repositories, as the control plane hands it out.
    pub repositories: Metadata,
    /// What time it is.
    pub now: Timestamp,
}

/// Recovers the host in `root` and checks all of it; `pins` are certificates of which each may be the only accepted one.
///
/// # Errors
/// When something does not hold; says what.
pub fn check(root: &Path, expected: &Expected, pins: &[Pin]) -> anyhow::Result<()> {
    let (layout, config) = (Layout::new(root), HostConfig::read(root)?);
    let held = keyring(root, pins)?;
    let director_root = config.director_root_sha256.parse().context("the director root's digest")?;
    let key = config.server_key().context("the server's key")?;
    let client = Client::new(&config.server, [key].into(), held.cur()?, Timeouts::default())?;
    let versions = Installation::new(&layout, Disk::default()).versions;
    let preparer = Preparer::new(client, layout.clone(), versions, director_root);

    let mut life = Life::begin(&layout, expected)?;
    life.watches()?;
    let runs = life.running;
    rules(&layout, expected, &preparer)?;
    let committed = life.machine.record().committed;
    if committed == Some(expected.wanted) {
        preparer.committed(expected.wanted)?;
        let (counter, floor) = trust(&layout, director_root, expected)?;
        ensure!(floor >= counter, "{} is committed, and the floor is {floor}, not {counter}", expected.wanted);
    }
    trust(&layout, director_root, expected)?;
    launches(&layout, expected)?;
    no_rubbish(&layout)?;

    // Once more, as after any restart: what was mended stays mended.
    let again = Life::begin(&layout, expected)?;
    ensure!(again.running == runs, "it ran {runs:?}, and after one more restart {:?}", again.running);
    life = again;
    life.be_updated()?;
    life.watches()?;
    let record = life.machine.record();
    ensure!(record.phase == Phase::Committed, "it never settles: {record:?}");
    ensure!(record.committed == Some(expected.ends_on), "it ends on {:?}: {record:?}", record.committed);
    Ok(())
}

/// The host holds every certificate that may be the accepted one, and knows which is the current one.
fn keyring(root: &Path, pins: &[Pin]) -> anyhow::Result<Held> {
    let keyring = Keyring::of_host(root);
    for _ in 0..2 {
        let held = keyring.open()?.context("the host holds no certificate")?;
        held.cur()?;
        for pin in pins {
            ensure!(held.identities.contains_key(pin), "{pin} may be the only one that is accepted, and is lost");
        }
        keyring.sweep();
    }
    keyring.open()?.context("the host holds no certificate once it was swept")
}

/// The rule package that a starting sensor loads is whole, and there is one if there was one before.
fn rules(layout: &Layout, expected: &Expected, preparer: &Preparer) -> anyhow::Result<()> {
    let (done, _events) = tokio::sync::mpsc::channel(8);
    // What it does beside has ended once this is gone: the trust folder bears one verifier at a time.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    {
        let _inside = runtime.enter();
        Rules::open(layout, Disk::default(), preparer, done, expected.now)?;
    }
    drop(runtime);
    let record = RecordStore::<RulesRecord>::at(layout.rules_record_slots(), Disk::default()).read();
    let in_effect = record.and_then(|record| record.in_effect);
    ensure!(in_effect.is_some() || !expected.had_rules, "which rule package is in effect was forgotten");
    let loads = committed_rules(layout.root());
    let folder = loads.and_then(|rules| Some(rules.folder.file_name()?.to_str()?.to_owned()));
    ensure!(folder == in_effect.as_ref().map(|set| set.folder()), "{folder:?} is loaded, {in_effect:?} in effect");
    if let Some(folder) = folder {
        let known = expected.rules.get(&folder).with_context(|| format!("nobody knows rules {folder}"))?;
        let found = Tree::read(&layout.rules().join(&folder), &|_| false)?.listing();
        ensure!(found == *known, "rules {folder} are not whole");
        let note = layout.rules_note(&folder);
        ensure!(note.exists(), "rules {folder} are in effect, and the note by which the floor is raised is lost");
    }
    Ok(())
}

/// Both repositories are believed, and approve what is wanted; gives its counter, and that below which nothing is approved.
fn trust(layout: &Layout, director_root: Sha256Hex, expected: &Expected) -> anyhow::Result<(u64, u64)> {
    let image_root = fs::read(layout.image_root())?;
    let config = TrustConfig { dir: layout.trust(), image_root, director_root, established: true };
    let mut verifier = Verifier::open(config)?;
    ensure!(verifier.floor_health() != FloorHealth::Lost, "the rollback floor is lost");
    let mut fetch =
        |repo: Repo, file: &str, _limit: u64| Ok(expected.repositories.get(&(repo, file.to_owned())).cloned());
    let floor = verifier.refresh(&mut fetch, expected.now)?.floor.release_counter;
    let known = expected.releases.get(&expected.wanted).context("what is wanted is not known")?;
    let approved = verifier.approve(&known.target.name, Some(expected.wanted.version))?;
    Ok((approved.custom.release_counter, floor))
}

/// The launcher starts an updater that is whole and may run, and goes on with it once it has proved itself.
fn launches(layout: &Layout, expected: &Expected) -> anyhow::Result<()> {
    let programs = Programs::new(layout, Disk::default());
    let start = || -> anyhow::Result<Option<Program>> {
        let mut succession = programs.succession();
        let started = succession.next(|program| programs.is_whole(program), expected.now);
        programs.keep(&succession)?;
        Ok(started)
    };
    let named = programs.succession();
    let named = named.trial.map(|trial| trial.program).or(named.settled);
    let started = start()?;
    ensure!(started == named, "the record names {named:?}, and {started:?} is started");
    ensure!(expected.may_launch.contains(&started), "the updater that is started is {started:?}");
    if let Some(program) = &started {
        let path = programs.path(program).context("it has no name")?;
        ensure!(tools::sha256(&path)? == program.sha256, "{} is started and is not whole", path.display());
        ensure!(fs::metadata(&path)?.permissions().mode() & 0o111 != 0, "{} cannot be run", path.display());
        let mut succession = programs.succession();
        succession.proved(&program.sha256);
        programs.keep(&succession)?;
    }
    ensure!(start()? == started, "after one more restart another updater is started");
    Ok(())
}

/// One life of an updater over a disk. Its sensor does what the release says.
struct Life<'a> {
    installation: Installation,
    layout: Layout,
    expected: &'a Expected,
    machine: Machine,
    running: Running,
    now: Timestamp,
}

impl<'a> Life<'a> {
    fn begin(layout: &Layout, expected: &'a Expected) -> anyhow::Result<Self> {
        let installation = Installation::new(layout, Disk::default());
        ensure!(installation.record().is_some(), "the record is lost, in both slots");
        // The power was cut: nothing runs.
        let (machine, commands) = installation.recover(Running::Nothing, expected.now)?;
        let (layout, running, now) = (layout.clone(), Running::Nothing, expected.now);
        let mut life = Self { installation, layout, expected, machine, running, now };
        life.carry_out(commands)?;
        Ok(life)
    }

    fn give(&mut self, event: Event) -> anyhow::Result<()> {
        let commands = self.machine.handle(event, self.now);
        self.carry_out(commands)
    }

    fn carry_out(&mut self, commands: Vec<Command>) -> anyhow::Result<()> {
        let (mut commands, mut events) = (VecDeque::from(commands), VecDeque::new());
        for _ in 0..MOST_EVENTS {
            while let Some(command) = commands.pop_front() {
                match self.installation.carry_out(&command, self.running)? {
                    Some(follows) => events.extend(follows),
                    None => self.act(command, &mut events)?,
                }
            }
            let Some(event) = events.pop_front() else { return Ok(()) };
            commands.extend(self.machine.handle(event, self.now));
        }
        anyhow::bail!("the updater goes round in circles")
    }

    fn act(&mut self, command: Command, events: &mut VecDeque<Event>) -> anyhow::Result<()> {
        match command {
            Command::Prepare { release, .. } => {
                let versions = &self.installation.versions;
                // As the product: whatever lies there whole is taken.
                if !self.layout.version(release).exists() || self.is_whole(release).is_err() {
                    let staging = versions.staging()?;
                    fs::remove_dir(&staging)?;
                    super::tree::write(&self.known(release)?.files, &staging)?;
                    versions.install(&staging, release)?;
                }
                events.push_back(Event::Prepared { release, restart: RestartNeed::None });
            }
            Command::StartSensor(release) => {
                ensure!(self.running == Running::Nothing, "a second sensor is started");
                self.is_whole(release)?;
                if self.known(release)?.refuses {
                    events.push_back(Event::SensorDied(Death::Refused("not on this host".into())));
                } else {
                    self.running = Running::Release(release);
                    events.push_back(Event::SensorReady(release));
                }
            }
            Command::Restart(_) => events.push_back(Event::Restarted),
            Command::StopSensor => self.running = Running::Nothing,
            Command::Prove { generation } => {
                if let Running::Release(release) = self.running {
                    let (version, detected_at, engines) = (release.version, self.now, BTreeMap::new());
                    let (rules_loaded, rules_failed) = (1, 0);
                    let proof =
                        DetectionProof { generation, version, detected_at, rules_loaded, rules_failed, engines };
                    events.push_back(Event::ProofSeen(proof));
                }
            }
            Command::AbandonPrepare | Command::Persist(_) | Command::SwitchTo(_) | Command::CollectGarbage { .. } => {}
        }
        Ok(())
    }

    fn known(&self, release: Release) -> anyhow::Result<&'a Known> {
        self.expected.releases.get(&release).with_context(|| format!("nobody knows {release}"))
    }

    /// Every file is there, and no other one.
    fn is_whole(&self, release: Release) -> anyhow::Result<()> {
        let found = Tree::read(&self.layout.version(release), &|_| false)?.listing();
        ensure!(found == self.known(release)?.files, "{release} is started and is not whole");
        Ok(())
    }

    /// A right version runs, and everything on the disk agrees about which.
    fn watches(&self) -> anyhow::Result<()> {
        let Running::Release(runs) = self.running else {
            anyhow::bail!("nothing watches: {:?}", self.machine.record())
        };
        ensure!(self.expected.may_run.contains(&runs), "{runs} runs");
        self.is_whole(runs)?;
        let link = fs::read_link(self.layout.current())?;
        ensure!(link == Layout::link_target(runs), "{runs} runs, and the link leads to {}", link.display());
        ensure!(self.installation.record().is_some(), "the record cannot be read");
        Ok(())
    }

    /// Check-ins as the control plane answers them: what is wanted is cleared once it has shown that it detects.
    fn be_updated(&mut self) -> anyhow::Result<()> {
        let (wanted, target) = (self.expected.wanted, self.known(self.expected.wanted)?.target.clone());
        let first = self.machine.record().generation + 1;
        for _ in 0..CHECK_INS {
            self.now = self.now + CHECK_IN;
            self.give(Event::Tick)?;
            let proven = self.machine.report().proof.is_some_and(|proof| proof.version == wanted.version);
            self.give(Event::DesiredReceived(Desired {
                generation: first + u64::from(proven),
                version: Some(wanted.version),
                target: Some(target.clone()),
                cleared: proven,
                ..Desired::default()
            }))?;
        }
        Ok(())
    }
}
