//! Real hosts under `strace`: each path is one life of a real updater against a real control plane, from start to end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use watchpost_agent::host::disk::Disk;
use watchpost_agent::identity::Keyring;
use watchpost_agent::updater::{Layout, RecordStore};
use watchpost_core::content::{RulesRecord, RulesSet};
use watchpost_core::identity::{Pin, Slots};
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Phase, Record, Release};
use watchpost_core::version::Version;
use watchpost_package::Repo;

use super::calls;
use super::history::{Deed, History, apply};
use super::recover::{Expected, Known, Metadata};
use super::tree::{Listing, Tree};
use crate::site::Site;
use crate::tools::{self, binary};

/// How long an effect on the host may take to show.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What may follow from the last step by itself: the floor is raised, what is old is removed.
const AFTERWARDS: Duration = Duration::from_secs(30);
/// Longer than a certificate that was replaced stays accepted.
const GRACE: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// Open files that every release asks for.
const OPEN_FILES: u32 = 64;
/// The first build date of the rule packages; each later one is a day younger.
const FIRST_BUILD: &str = "2026-01-05T00:00:00Z";
/// Rule packages that are handed out one after the other: from the third on, one is removed.
const RULE_PACKAGES: u32 = 3;

/// The release whose sensor does not run on this host.
const BAD: u32 = 257;

/// One path as it was recorded.
pub struct Recorded {
    /// Its name.
    pub name: &'static str,
    /// What happened on the host's disk.
    pub history: History,
    /// What must hold at any cut.
    pub expected: Expected,
    /// From so many steps on, each of these certificates may be the only one that is accepted.
    pub pins: Vec<(usize, Vec<Pin>)>,
}

impl Recorded {
    /// The certificates that must be there if the power fails after so many steps.
    #[must_use]
    pub fn pins_at(&self, cut: usize) -> &[Pin] {
        let earlier = self.pins.iter().rev().find(|(from, _)| *from <= cut);
        earlier.map_or(&[], |(_, pins)| pins)
    }
}

/// Control plane, host, and what is known of the releases and rule packages.
struct Stage {
    site: Site,
    releases: BTreeMap<Release, Known>,
    rules: BTreeMap<String, Listing>,
    targets: BTreeMap<Version, TargetRef>,
}

/// Plays every path once.
///
/// # Errors
/// When something cannot be started, or does not come about.
pub async fn every_path() -> anyhow::Result<Vec<Recorded>> {
    let mut stage = Stage::set_up().await?;
    let (a, b, c, bad) = (stage.release(254)?, stage.release(255)?, stage.release(256)?, stage.release(BAD)?);
    let mut paths = vec![stage.update("update", a, b).await?, stage.update("clean-up", b, c).await?];
    paths.push(stage.revert(c, bad).await?);
    paths.push(stage.rotation(c).await?);
    paths.push(stage.rules(c).await?);
    Ok(paths)
}

/// What is nobody's business here: logs, locks, sockets, and what belongs to the sensor.
fn is_left_out(path: &str) -> bool {
    let is_the_sensors = path
        .strip_prefix("state/")
        .is_some_and(|name| !name.starts_with("rules.json") && !name.starts_with(".replacing-"));
    let endings = [".log", ".lock", ".sock"];
    is_the_sensors || endings.iter().any(|ending| path.ends_with(ending)) || path == "updater/guard.json"
}

fn version(minor: u32) -> Version {
    Version::new(2, minor, 1, 0)
}

impl Stage {
    /// A host that runs release 254.
    async fn set_up() -> anyhow::Result<Self> {
        let site = Site::without_small_disks().await?;
        let (releases, rules, targets) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut stage = Self { site, releases, rules, targets };
        for minor in 254..=BAD {
            stage.build(minor)?;
        }
        let first = stage.release(254)?;
        stage.publish(first)?;
        let log = stage.site.path("audit.jsonl");
        std::fs::write(&log, "")?;
        let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
        stage.site.enrol_host("DC01", &facts)?;
        stage.site.start_host()?;
        stage.until("release 254 is committed", |record| is_committed(record, first)).await?;
        stage.site.passes(AFTERWARDS).await;
        stage.site.stop_host()?;
        stage.learn()?;
        Ok(stage)
    }

    /// The program of a release is a script that becomes the sensor: what is recorded stays small.
    fn build(&mut self, minor: u32) -> anyhow::Result<()> {
        let (sensor, version) = (binary("watchpost-sensor")?, version(minor));
        let small = |source: &Path| {
            let program = source.join("bin/watchpost-sensor");
            let becomes = format!("exec '{}' \"$@\"", sensor.display());
            let refuses = "echo 'this host does not suit me' >&2; exit 78".to_owned();
            std::fs::write(&program, format!("#!/bin/sh\n{}\n", if minor == BAD { refuses } else { becomes }))?;
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
            std::fs::write(source.join("release-notes.txt"), format!("release {minor}\n"))
        };
        let package = PathBuf::from(self.site.release_with(&version.to_string(), OPEN_FILES, small)?);
        let name = package.file_name().and_then(|name| name.to_str()).context("a package has a name")?.to_owned();
        let target = TargetRef { name, sha256: tools::sha256(&package)?, length: package.metadata()?.len() };
        self.targets.insert(version, target);
        Ok(())
    }

    fn release(&self, minor: u32) -> anyhow::Result<Release> {
        let target = self.targets.get(&version(minor)).context("it was not built")?;
        Release::new(version(minor), &target.sha256).context("a hash has eight digits")
    }

    fn publish(&self, release: Release) -> anyhow::Result<()> {
        let target = self.targets.get(&release.version).context("it was not built")?;
        self.site.publish(&self.site.path(&target.name)).map(drop)
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.site.host())
    }

    fn tree(&self) -> anyhow::Result<Tree> {
        Tree::read(&self.site.host(), &is_left_out)
    }

    /// Keeps a copy of every version and rule package that lies on the host while it is well.
    fn learn(&mut self) -> anyhow::Result<()> {
        let tree = self.tree()?;
        for (version, target) in &self.targets {
            let release = Release::new(*version, &target.sha256).context("a hash has eight digits")?;
            if let Some(files) = tree.below(&Layout::link_target(release)) {
                let known = Known { target: target.clone(), files, refuses: *version == self::version(BAD) };
                self.releases.insert(release, known);
            }
        }
        self.learn_rules(&tree);
        Ok(())
    }

    fn learn_rules(&mut self, tree: &Tree) {
        let folders = tree.below(Path::new("rules")).unwrap_or_default();
        for folder in folders.keys().filter(|path| !path.is_empty() && !path.contains('/') && !path.starts_with('.')) {
            if let Some(files) = tree.below(&Path::new("rules").join(folder)) {
                self.rules.insert(folder.clone(), files);
            }
        }
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Record) -> bool) -> anyhow::Result<()> {
        let store = RecordStore::new(&self.layout(), Disk::default());
        self.until_holds(what, || store.read().is_some_and(|record| wanted(&record))).await
    }

    async fn until_holds(&self, what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
        let looking = async {
            while !holds() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        found.with_context(|| {
            let log = self.site.host_log();
            let lines: Vec<_> = log.lines().rev().take(12).collect();
            format!("never: {what}; the host says, newest first:\n{}", lines.join("\n"))
        })
    }

    /// Starts the updater under `strace`; gives what was on the disk before.
    fn start(&mut self, name: &str) -> anyhow::Result<Tree> {
        let before = self.tree()?;
        self.site.trace_host(name);
        self.site.start_host()?;
        Ok(before)
    }

    /// Ends the updater and reads what was recorded.
    async fn end(&mut self, name: &str, before: Tree) -> anyhow::Result<History> {
        self.site.passes(AFTERWARDS).await;
        self.site.stop_host()?;
        let trace = self.site.path(&format!("{name}.trace"));
        let has_ended = || {
            let text = std::fs::read_to_string(&trace).unwrap_or_default();
            let first = text.split(' ').next().unwrap_or_default().to_owned();
            let is_end = |line: &str| line.split_whitespace().take(2).eq([first.as_str(), "+++"]);
            !first.is_empty() && text.lines().any(is_end)
        };
        self.until_holds("strace ends", has_ended).await?;
        let calls = calls::read(&std::fs::read_to_string(&trace)?)?;
        let history = History::of(&calls, &self.site.host(), before, &is_left_out).context(name.to_owned())?;
        let is_same = history.after.listing() == self.tree()?.listing();
        anyhow::ensure!(is_same, "{name}: what was recorded does not lead to what lies on the disk");
        eprintln!("crash-states: {name} has {} steps on the disk", history.steps.len());
        self.learn()?;
        Ok(history)
    }

    fn metadata(&self) -> anyhow::Result<Metadata> {
        let mut metadata = Metadata::new();
        for repo in [Repo::Image, Repo::Director] {
            for entry in std::fs::read_dir(self.site.path(&format!("server/data/repositories/{repo}/metadata")))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                metadata.insert((repo, name), std::fs::read(entry.path())?);
            }
        }
        Ok(metadata)
    }

    fn expected(&self, may_run: &[Release], wanted: Release, ends_on: Release) -> anyhow::Result<Expected> {
        Ok(Expected {
            releases: self.releases.clone(),
            may_run: BTreeSet::from_iter(may_run.iter().copied()),
            wanted,
            ends_on,
            rules: self.rules.clone(),
            had_rules: false,
            may_launch: vec![None],
            repositories: self.metadata()?,
            now: self.site.now(),
        })
    }

    fn slots(&self) -> anyhow::Result<Slots> {
        Ok(Keyring::of_host(&self.site.host()).open()?.context("the host holds no certificate")?.slots)
    }

    async fn update(&mut self, name: &'static str, from: Release, to: Release) -> anyhow::Result<Recorded> {
        let pins = vec![(0, vec![self.slots()?.cur])];
        let before = self.start(name)?;
        self.publish(to)?;
        self.until("the update is committed", |record| is_committed(record, to)).await?;
        let history = self.end(name, before).await?;
        // What was removed on the way is known from before.
        let expected = self.expected(&[from, to], to, to)?;
        Ok(Recorded { name, history, expected, pins })
    }

    async fn revert(&mut self, from: Release, bad: Release) -> anyhow::Result<Recorded> {
        let pins = vec![(0, vec![self.slots()?.cur])];
        let before = self.start("revert")?;
        self.publish(bad)?;
        let has_gone_back =
            |record: &Record| is_committed(record, from) && record.bad_versions.contains_key(&bad.version);
        self.until("the host has gone back", has_gone_back).await?;
        let history = self.end("revert", before).await?;
        self.learn_on_the_way(&history, bad)?;
        let expected = self.expected(&[from], bad, from)?;
        Ok(Recorded { name: "revert", history, expected, pins })
    }

    /// Keeps a copy of a release as it lay on the host when it was whole, although it was removed again.
    fn learn_on_the_way(&mut self, history: &History, release: Release) -> anyhow::Result<()> {
        let (mut tree, mut files) = (history.before.clone(), None);
        for step in &history.steps {
            apply(&mut tree, &step.deed);
            files = files.or_else(|| tree.below(&Layout::link_target(release)));
        }
        let target = self.targets.get(&release.version).context("it was not built")?.clone();
        let known = Known { target, files: files.context("the release was never on the host")?, refuses: true };
        self.releases.insert(release, known);
        Ok(())
    }

    async fn rotation(&mut self, runs: Release) -> anyhow::Result<Recorded> {
        let cur = self.slots()?.cur;
        let mut order = std::process::Command::new(binary("watchpost-updater")?);
        tools::run(order.arg("rotate-certificate").arg("--root").arg(self.site.host()), "cargo build")?;
        let before = self.start("rotation")?;
        let slots = || self.slots().ok();
        let is_replaced = || slots().is_some_and(|slots| slots.cur != cur && slots.next.is_none());
        self.until_holds("the certificate is replaced", is_replaced).await?;
        self.site.leap(GRACE)?;
        let is_settled = || slots().is_some_and(|slots| slots.prev.is_none());
        self.until_holds("the one before is given up", is_settled).await?;
        let next = self.slots()?.cur;
        let history = self.end("rotation", before).await?;
        let pins = pins_of(&history, cur, next)?;
        let expected = self.expected(&[runs], runs, runs)?;
        Ok(Recorded { name: "rotation", history, expected, pins })
    }

    async fn rules(&mut self, runs: Release) -> anyhow::Result<Recorded> {
        let pins = vec![(0, vec![self.slots()?.cur])];
        let before = self.start("rules")?;
        let first: Timestamp = FIRST_BUILD.parse()?;
        for number in 0..RULE_PACKAGES {
            let build = first + Duration::from_secs(u64::from(number) * 24 * 60 * 60);
            self.publish_rules(build)?;
            let store = RecordStore::<RulesRecord>::at(self.layout().rules_record_slots(), Disk::default());
            let is = |set: &Option<RulesSet>| set.as_ref().is_some_and(|set| set.build == build);
            self.until_holds("the rules are in effect", || store.read().is_some_and(|record| is(&record.in_effect)))
                .await?;
            // Before the third takes the place of the first.
            let tree = self.tree()?;
            self.learn_rules(&tree);
        }
        let history = self.end("rules", before).await?;
        let expected = self.expected(&[runs], runs, runs)?;
        Ok(Recorded { name: "rules", history, expected, pins })
    }

    fn publish_rules(&self, build: Timestamp) -> anyhow::Result<()> {
        let from = self.site.path(&format!("rules-{}", build.millis()));
        std::fs::create_dir_all(Path::new(&from).join("sigma"))?;
        let rule = tools::checkout().join("content/rules/password-reset.yml");
        std::fs::copy(rule, Path::new(&from).join("sigma/password-reset.yml"))?;
        let name = watchpost_core::content::rules_file_name(build);
        let (package, stamp) = (self.site.path(&name), build.to_string());
        let (keys, author) = (self.site.path("keys"), self.site.path("author"));
        self.site.watchpost(&["rules", "build", "--from", &from, "--build", &stamp, "--out", &package])?;
        self.site.watchpost(&["rules", "sign", "--keys", &keys, "--repository", &author, &package])?;
        self.site.watchpost(&["rules", "publish", "--repository", &author, &package]).map(drop)
    }
}

fn is_committed(record: &Record, release: Release) -> bool {
    record.phase == Phase::Committed && record.committed == Some(release)
}

/// Which certificates may be the only accepted one, from which step on: the one before alone, until a connection is
/// opened with which the next one may be confirmed; then either; and the next one alone once the host has it in the record.
fn pins_of(history: &History, cur: Pin, next: Pin) -> anyhow::Result<Vec<(usize, Vec<Pin>)>> {
    let is_slot = |path: &str| path.starts_with("updater/identity/slots.");
    let syncs: Vec<usize> = (history.steps.iter().enumerate())
        .filter(|(_, step)| is_slot(&step.path) && matches!(step.deed, Deed::Sync(_)))
        .map(|(at, _)| at)
        .collect();
    let made = *syncs.first().context("the next certificate was never kept")?;
    let promoted = *syncs.get(1).context("the next certificate never became the current one")?;
    let connects = history.steps.iter().enumerate().skip(made);
    let confirms = connects.filter(|(_, step)| step.deed == Deed::Connect).map(|(at, _)| at).next();
    let confirms =
        confirms.filter(|at| *at < promoted).context("nothing was confirmed over a connection of its own")?;
    Ok(vec![(0, vec![cur]), (confirms, vec![cur, next]), (promoted + 1, vec![next])])
}
