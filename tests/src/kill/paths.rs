//! The paths of a host: how each is begun, how far it has come as the disk tells, and what must be true at its end.
//!
//! Another path is one more implementation of [`Path`] here, and a line in [`every`].

use std::collections::BTreeSet;
use std::path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use watchpost_agent::rules::committed_rules;
use watchpost_core::content::RulesSet;
use watchpost_core::identity::Slots;
use watchpost_core::succession::Program;
use watchpost_core::updater::{Phase, Purpose, Release};

use crate::demo::word;
use crate::stage::{GRACE, Kind, Stage, is_committed};

/// Files of a release that is to be removed: it takes long enough to be cut off.
const MANY_FILES: u32 = 200;

/// How far a host has come on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing of it shows on the disk.
    NotBegun,
    /// It is at this.
    Within(&'static str),
    /// The disk is as it should be at the end.
    Done,
}

/// What a host does, again and again.
pub(super) trait Path {
    /// Its name.
    fn name(&self) -> &'static str;

    /// How often it is played without a kill until it takes as long as it will from then on.
    fn warm_ups(&self) -> u32 {
        1
    }

    /// Has the host set out once more; gives the release that runs at the end. `runs` is what runs before.
    fn order(&mut self, stage: &mut Stage, runs: Release) -> anyhow::Result<Release>;

    /// How far the host is.
    fn progress(&self, stage: &Stage) -> Progress;

    /// Lets time pass where nothing goes on before it has; gives how much.
    fn pass(&mut self, _stage: &Stage) -> anyhow::Result<Duration> {
        Ok(Duration::ZERO)
    }

    /// What must be true at the end beside what must be true of every host; `row` is the control plane's word on it.
    fn check(&self, stage: &Stage, row: &Value) -> anyhow::Result<()>;
}

/// Every path. The one that takes weeks of the host's time is the last.
pub(super) fn every() -> Vec<Box<dyn Path>> {
    vec![
        Box::new(Update::default()),
        Box::new(CleanUp::default()),
        Box::new(Revert::default()),
        Box::new(Rules::default()),
        Box::new(SelfUpdate::default()),
        Box::new(Rotation::default()),
    ]
}

/// The names in a folder.
fn names(folder: &path::Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn word_of(phase: &Phase) -> &'static str {
    match phase {
        Phase::Committed => "committed",
        Phase::Preparing { .. } => "preparing",
        Phase::Staged { .. } => "staged",
        Phase::Switching { purpose: Purpose::Update { .. }, .. } => "switching",
        Phase::Switching { purpose: Purpose::GoBack { .. }, .. } => "goingBack",
        Phase::Restarting { .. } => "restarting",
        Phase::Trial { .. } => "onTrial",
        Phase::AwaitingClearance { .. } => "awaitingClearance",
    }
}

fn must_say(row: &Value, field: &str, wanted: &str) -> anyhow::Result<()> {
    ensure!(word(row, field) == wanted, "{field} is “{}”, not “{wanted}”", word(row, field));
    Ok(())
}

/// A new release, from the order at a check-in until it is committed.
#[derive(Default)]
struct Update(Option<Release>);

impl Path for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn order(&mut self, stage: &mut Stage, _runs: Release) -> anyhow::Result<Release> {
        let to = stage.build_next(Kind::default())?;
        self.0 = Some(to);
        stage.publish(to).map(|()| to)
    }

    fn progress(&self, stage: &Stage) -> Progress {
        match (stage.record(), self.0) {
            (Some(record), Some(to)) if is_committed(&record, to) => Progress::Done,
            (Some(record), _) if record.phase == Phase::Committed => Progress::NotBegun,
            (Some(record), _) => Progress::Within(word_of(&record.phase)),
            (None, _) => Progress::Within("noRecord"),
        }
    }

    fn check(&self, _stage: &Stage, row: &Value) -> anyhow::Result<()> {
        must_say(row, "deploymentStatus", "upToDate")
    }
}

/// The version before the one before is removed, after an update.
#[derive(Default)]
struct CleanUp {
    update: Update,
    /// What is there at the end.
    stays: BTreeSet<String>,
}

impl Path for CleanUp {
    fn name(&self) -> &'static str {
        "clean-up"
    }

    /// The third time a release goes that this path has brought, with its many files.
    fn warm_ups(&self) -> u32 {
        3
    }

    fn order(&mut self, stage: &mut Stage, runs: Release) -> anyhow::Result<Release> {
        let to = stage.build_next(Kind { more_files: MANY_FILES, ..Kind::default() })?;
        self.update.0 = Some(to);
        self.stays = [runs, to].iter().map(Release::to_string).collect();
        stage.publish(to).map(|()| to)
    }

    fn progress(&self, stage: &Stage) -> Progress {
        match self.update.progress(stage) {
            Progress::NotBegun | Progress::Within(_) => Progress::NotBegun,
            Progress::Done if names(&stage.layout().versions()) == self.stays => Progress::Done,
            Progress::Done => Progress::Within("removing"),
        }
    }

    fn check(&self, stage: &Stage, row: &Value) -> anyhow::Result<()> {
        self.update.check(stage, row)
    }
}

/// A release that does not run here, from the switch to it until the host runs what it ran before.
#[derive(Default)]
struct Revert {
    from: Option<Release>,
    bad: Option<Release>,
}

impl Path for Revert {
    fn name(&self) -> &'static str {
        "revert"
    }

    fn order(&mut self, stage: &mut Stage, runs: Release) -> anyhow::Result<Release> {
        let bad = stage.build_next(Kind { refuses: true, ..Kind::default() })?;
        (self.from, self.bad) = (Some(runs), Some(bad));
        stage.publish(bad).map(|()| runs)
    }

    fn progress(&self, stage: &Stage) -> Progress {
        let (Some(record), Some(from), Some(bad)) = (stage.record(), self.from, self.bad) else {
            return Progress::Within("noRecord");
        };
        let is_given_up = record.bad_versions.contains_key(&bad.version);
        match &record.phase {
            Phase::Committed if is_given_up && is_committed(&record, from) => {
                if stage.layout().version(bad).exists() {
                    Progress::Within("removing")
                } else {
                    Progress::Done
                }
            }
            Phase::Committed | Phase::Preparing { .. } => Progress::NotBegun,
            phase => Progress::Within(word_of(phase)),
        }
    }

    fn check(&self, stage: &Stage, row: &Value) -> anyhow::Result<()> {
        let failure = stage.record().and_then(|record| record.last_failure);
        let is_told = failure
            .as_ref()
            .is_some_and(|failure| failure.reverted && Some(failure.version) == self.bad.map(|bad| bad.version));
        ensure!(is_told, "the record tells of {failure:?}");
        must_say(row, "deploymentStatus", "updateFailed")
    }
}

/// Another client certificate takes the place of the current one, until that is accepted no more.
#[derive(Default)]
struct Rotation {
    before: Option<Slots>,
    has_passed: bool,
}

impl Path for Rotation {
    fn name(&self) -> &'static str {
        "rotation"
    }

    fn order(&mut self, stage: &mut Stage, runs: Release) -> anyhow::Result<Release> {
        (self.before, self.has_passed) = (Some(stage.slots()?), false);
        stage.order_certificate().map(|()| runs)
    }

    fn progress(&self, stage: &Stage) -> Progress {
        let (Some(before), Ok(slots)) = (self.before, stage.slots()) else { return Progress::Within("noCertificate") };
        let held = names(&stage.layout().updater().join("identity"));
        let folders = held.iter().filter(|name| !name.starts_with("slots.") && *name != "renew").count();
        match (slots.cur == before.cur, slots.next, slots.prev) {
            (true, None, None) if folders == 1 => Progress::NotBegun,
            (true, None, _) => Progress::Within("made"),
            (_, Some(_), _) => Progress::Within("proposed"),
            (false, None, Some(_)) if self.has_passed => Progress::Within("aWeekLater"),
            (false, None, Some(_)) => Progress::Within("replaced"),
            (false, None, None) if folders == 1 => Progress::Done,
            (false, None, None) => Progress::Within("removing"),
        }
    }

    /// The certificate before is accepted until the new one has been used for a week.
    fn pass(&mut self, stage: &Stage) -> anyhow::Result<Duration> {
        if self.has_passed || self.progress(stage) != Progress::Within("replaced") {
            return Ok(Duration::ZERO);
        }
        self.has_passed = true;
        stage.site.leap(GRACE)?;
        Ok(GRACE)
    }

    fn check(&self, _stage: &Stage, row: &Value) -> anyhow::Result<()> {
        let certificate = &row["certificate"];
        ensure!(certificate["previousCount"] == 0, "another one is accepted too: {certificate}");
        Ok(())
    }
}

/// A rule package, from its download until it is in force and the one before the one before is removed.
#[derive(Default)]
struct Rules {
    before: BTreeSet<String>,
    set: Option<RulesSet>,
}

impl Path for Rules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn order(&mut self, stage: &mut Stage, runs: Release) -> anyhow::Result<Release> {
        self.before = names(&stage.layout().rules());
        self.set = Some(stage.publish_rules()?);
        Ok(runs)
    }

    fn progress(&self, stage: &Stage) -> Progress {
        let Some(set) = &self.set else { return Progress::NotBegun };
        let (record, layout) = (stage.rules_record(), stage.layout());
        let there = names(&layout.rules());
        if record.in_effect.as_ref() == Some(set) {
            let kept: BTreeSet<String> = record.kept().iter().map(RulesSet::folder).collect();
            let is_loaded_at_start = committed_rules(layout.root()).is_some_and(|rules| rules.build == set.build);
            return if there == kept && is_loaded_at_start { Progress::Done } else { Progress::Within("kept") };
        }
        match record.trial {
            Some(_) => Progress::Within("onTrial"),
            None if there.contains(&set.folder()) => Progress::Within("unpacked"),
            None if there != self.before => Progress::Within("unpacking"),
            None if layout.rules_note(&set.folder()).exists() => Progress::Within("fetching"),
            None => Progress::NotBegun,
        }
    }

    fn check(&self, stage: &Stage, row: &Value) -> anyhow::Result<()> {
        let record = stage.rules_record();
        ensure!(record.failed.is_none(), "the record tells of {:?}", record.failed);
        let build = self.set.as_ref().map(|set| set.build.to_string()).unwrap_or_default();
        must_say(row, "rulesBuild", &build)
    }
}

/// The updater that a release brings, from its copy until it has proved itself and the one before the one before is removed.
#[derive(Default)]
struct SelfUpdate(Option<Release>);

impl Path for SelfUpdate {
    fn name(&self) -> &'static str {
        "self-update"
    }

    fn order(&mut self, stage: &mut Stage, _runs: Release) -> anyhow::Result<Release> {
        let to = stage.build_next(Kind { brings_updater: true, ..Kind::default() })?;
        self.0 = Some(to);
        stage.publish(to).map(|()| to)
    }

    fn progress(&self, stage: &Stage) -> Progress {
        let (Some(to), programs) = (self.0, stage.programs()) else { return Progress::NotBegun };
        let succession = programs.succession();
        let there = names(&stage.layout().programs());
        let kept: BTreeSet<String> = succession.in_use().filter_map(Program::file_name).collect();
        let is_settled = succession.settled.as_ref().is_some_and(|program| program.version == to.version);
        match succession.trial {
            Some(_) => Progress::Within("onTrial"),
            None if is_settled && there == kept => Progress::Done,
            None if is_settled => Progress::Within("removing"),
            None if there != kept => Progress::Within("copying"),
            None => Progress::NotBegun,
        }
    }

    fn check(&self, _stage: &Stage, row: &Value) -> anyhow::Result<()> {
        let (updater, to) = (&row["report"]["updater"], self.0.map(|to| to.version.to_string()).unwrap_or_default());
        ensure!(updater["refused"].is_null(), "an updater was given up: {updater}");
        must_say(updater, "version", &to)
    }
}
