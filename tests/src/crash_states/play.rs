//! Real hosts under `strace`: each path is one life of a real updater against a real control plane, from start to end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use watchpost_agent::updater::Layout;
use watchpost_core::identity::Pin;
use watchpost_core::updater::{Record, Release};
use watchpost_core::version::Version;
use watchpost_package::Repo;

use super::calls;
use super::history::{Deed, History, apply};
use super::recover::{Expected, Known, Metadata};
use super::tree::{Listing, Tree};
use crate::stage::{GRACE, Kind, Stage, is_committed, is_left_out};

/// What may follow from the last step by itself: the floor is raised, what is old is removed.
const AFTERWARDS: Duration = Duration::from_secs(30);
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

/// The host, and what is known of its releases and rule packages.
struct Recorder {
    stage: Stage,
    releases: BTreeMap<Release, Known>,
    rules: BTreeMap<String, Listing>,
}

/// Plays every path once.
///
/// # Errors
/// When something cannot be started, or does not come about.
pub async fn every_path() -> anyhow::Result<Vec<Recorded>> {
    let mut stage = Stage::found().await?;
    let mut sound = |minor| stage.build(minor, Kind::default());
    let (a, b, c) = (sound(254)?, sound(255)?, sound(256)?);
    let bad = stage.build(BAD, Kind { refuses: true, ..Kind::default() })?;
    let mut recorder = Recorder::over(stage, a).await?;
    let mut paths = vec![recorder.update("update", a, b).await?, recorder.update("clean-up", b, c).await?];
    paths.push(recorder.revert(c, bad).await?);
    paths.push(recorder.rotation(c).await?);
    paths.push(recorder.rules(c).await?);
    let d = recorder.stage.build_next(Kind { brings_updater: true, ..Kind::default() })?;
    // Without its launcher a host takes the sensor alone.
    recorder.update("update", c, d).await?;
    paths.push(recorder.self_update(d).await?);
    Ok(paths)
}

impl Recorder {
    /// A host that runs this release, and is stopped.
    async fn over(mut stage: Stage, first: Release) -> anyhow::Result<Self> {
        stage.bring_up(first).await?;
        stage.site.passes(AFTERWARDS).await;
        stage.site.stop_host()?;
        let mut recorder = Self { stage, releases: BTreeMap::new(), rules: BTreeMap::new() };
        recorder.learn()?;
        Ok(recorder)
    }

    fn tree(&self) -> anyhow::Result<Tree> {
        Tree::read(&self.stage.site.host(), &is_left_out)
    }

    /// Keeps a copy of every version and rule package that lies on the host while it is well.
    fn learn(&mut self) -> anyhow::Result<()> {
        let tree = self.tree()?;
        for (version, target) in self.stage.targets() {
            let release = self.stage.release(*version)?;
            if let Some(files) = tree.below(&Layout::link_target(release)) {
                let known = Known { target: target.clone(), files, refuses: *version == Version::new(2, BAD, 1, 0) };
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

    /// Starts the updater under `strace`; gives what was on the disk before.
    fn start(&mut self, name: &str) -> anyhow::Result<Tree> {
        let before = self.tree()?;
        self.stage.site.trace_host(name);
        self.stage.site.start_host()?;
        Ok(before)
    }

    /// Ends the updater and reads what was recorded.
    async fn end(&mut self, name: &str, before: Tree) -> anyhow::Result<History> {
        self.stage.site.passes(AFTERWARDS).await;
        self.stage.site.stop_host()?;
        let trace = self.stage.site.path(&format!("{name}.trace"));
        let has_ended = || {
            let text = std::fs::read_to_string(&trace).unwrap_or_default();
            let first = text.split(' ').next().unwrap_or_default().to_owned();
            let is_end = |line: &str| line.split_whitespace().take(2).eq([first.as_str(), "+++"]);
            !first.is_empty() && text.lines().any(is_end)
        };
        self.stage.until_holds("strace ends", has_ended).await?;
        let calls = calls::read(&std::fs::read_to_string(&trace)?)?;
        let history = History::of(&calls, &self.stage.site.host(), before, &is_left_out).context(name.to_owned())?;
        let is_same = history.after.listing() == self.tree()?.listing();
        anyhow::ensure!(is_same, "{name}: what was recorded does not lead to what lies on the disk");
        eprintln!("crash-states: {name} has {} steps on the disk", history.steps.len());
        self.learn()?;
        Ok(history)
    }

    fn metadata(&self) -> anyhow::Result<Metadata> {
        let mut metadata = Metadata::new();
        for repo in [Repo::Image, Repo::Director] {
            for entry in std::fs::read_dir(self.stage.site.path(&format!("server/data/repositories/{repo}/metadata")))?
            {
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
            now: self.stage.site.now(),
        })
    }

    async fn update(&mut self, name: &'static str, from: Release, to: Release) -> anyhow::Result<Recorded> {
        let pins = vec![(0, vec![self.stage.slots()?.cur])];
        let before = self.start(name)?;
        self.stage.publish(to)?;
        self.stage.until("the update is committed", |record| is_committed(record, to)).await?;
        let history = self.end(name, before).await?;
        // What was removed on the way is known from before.
        let expected = self.expected(&[from, to], to, to)?;
        Ok(Recorded { name, history, expected, pins })
    }

    /// The updater that came with what runs takes over.
    async fn self_update(&mut self, runs: Release) -> anyhow::Result<Recorded> {
        let pins = vec![(0, vec![self.stage.slots()?.cur])];
        self.stage.site.launch_host(true);
        let before = self.start("self-update")?;
        let programs = self.stage.programs();
        let settled = || programs.succession().settled;
        self.stage.until_holds("another updater has settled", || settled().is_some()).await?;
        let history = self.end("self-update", before).await?;
        let may_launch = vec![None, settled()];
        let expected = Expected { may_launch, had_rules: true, ..self.expected(&[runs], runs, runs)? };
        Ok(Recorded { name: "self-update", history, expected, pins })
    }

    async fn revert(&mut self, from: Release, bad: Release) -> anyhow::Result<Recorded> {
        let pins = vec![(0, vec![self.stage.slots()?.cur])];
        let before = self.start("revert")?;
        self.stage.publish(bad)?;
        let has_gone_back =
            |record: &Record| is_committed(record, from) && record.bad_versions.contains_key(&bad.version);
        self.stage.until("the host has gone back", has_gone_back).await?;
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
        let target = self.stage.target(release.version)?.clone();
        let known = Known { target, files: files.context("the release was never on the host")?, refuses: true };
        self.releases.insert(release, known);
        Ok(())
    }

    async fn rotation(&mut self, runs: Release) -> anyhow::Result<Recorded> {
        let cur = self.stage.slots()?.cur;
        self.stage.order_certificate()?;
        let before = self.start("rotation")?;
        let slots = || self.stage.slots().ok();
        let is_replaced = || slots().is_some_and(|slots| slots.cur != cur && slots.next.is_none());
        self.stage.until_holds("the certificate is replaced", is_replaced).await?;
        self.stage.site.leap(GRACE)?;
        let is_settled = || slots().is_some_and(|slots| slots.prev.is_none());
        self.stage.until_holds("the one before is given up", is_settled).await?;
        let next = self.stage.slots()?.cur;
        let history = self.end("rotation", before).await?;
        let pins = pins_of(&history, cur, next)?;
        let expected = self.expected(&[runs], runs, runs)?;
        Ok(Recorded { name: "rotation", history, expected, pins })
    }

    async fn rules(&mut self, runs: Release) -> anyhow::Result<Recorded> {
        let pins = vec![(0, vec![self.stage.slots()?.cur])];
        let before = self.start("rules")?;
        for _ in 0..RULE_PACKAGES {
            let set = self.stage.publish_rules()?;
            let is_in_effect = || self.stage.rules_record().in_effect.as_ref() == Some(&set);
            self.stage.until_holds("the rules are in effect", is_in_effect).await?;
            // Before the third takes the place of the first.
            let tree = self.tree()?;
            self.learn_rules(&tree);
        }
        let history = self.end("rules", before).await?;
        let expected = self.expected(&[runs], runs, runs)?;
        Ok(Recorded { name: "rules", history, expected, pins })
    }
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
