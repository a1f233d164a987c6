//! The running updater in the succession of updaters: proves itself when it is on trial, and lays its successor ready.
//!
//! Without a launcher nothing takes its place: nobody would start it, and nobody would go back.

use std::path::Path;

use watchpost_core::succession::{Program, Succession};
use watchpost_core::sync::{RefusedUpdater, UpdaterReport};
use watchpost_core::updater::Release;
use watchpost_package::Manifest;
use watchpost_package::manifest::{MANIFEST, MAX_MANIFEST, Mode};

use super::error::{DriverError, in_one_line};
use super::layout::Layout;
use super::programs::Programs;
use super::versions::UPDATER_PROGRAM;
use crate::host::disk::{Disk, read_limited};

/// The updater that runs, among those that were and will be.
pub(super) struct Successor {
    programs: Programs,
    succession: Succession,
    /// SHA-256 of the program that runs; `None`: no launcher has started it.
    runs: Option<String>,
    has_checked_in: bool,
    /// What the committed release brings.
    offered: Option<(Release, Option<Program>)>,
}

impl Successor {
    /// The updater with this hash, on the host with this layout.
    #[must_use]
    pub(super) fn open(layout: &Layout, runs: Option<String>) -> Self {
        let programs = Programs::new(layout, Disk::default());
        let succession = programs.succession();
        if runs.is_some() && succession.trial.is_none() {
            programs.collect(&succession);
        }
        Self { programs, succession, runs, has_checked_in: false, offered: None }
    }

    /// Whether it has still to show that it keeps watch; it takes no orders until then.
    #[must_use]
    pub(super) fn is_on_trial(&self) -> bool {
        self.runs.as_ref().is_some_and(|runs| self.succession.is_on_trial(runs))
    }

    /// What the host reports of it.
    #[must_use]
    pub(super) fn report(&self) -> UpdaterReport {
        let refused = self
            .succession
            .refused()
            .map(|tried| RefusedUpdater { version: tried.program.version, reason: tried.reason.clone() });
        UpdaterReport { version: self.runs.as_ref().and_then(|runs| self.succession.version_of(runs)), refused }
    }

    /// A check-in was answered or not, while the sensor was watched over or not.
    ///
    /// # Errors
    /// When the record cannot be made durable.
    pub(super) fn checked_in(&mut self, is_answered: bool, is_watching: bool) -> Result<(), DriverError> {
        let Some(runs) = self.runs.clone() else { return Ok(()) };
        let mut changed = self.succession.clone();
        if self.is_on_trial() {
            if is_answered && is_watching {
                changed.proved(&runs);
            }
        } else if !self.has_checked_in {
            changed.first_check_in(is_answered);
        }
        self.has_checked_in = true;
        let has_proved = self.is_on_trial() && changed.trial.is_none();
        self.keep(changed)?;
        if has_proved {
            tracing::info!(version = ?self.report().version, "this updater has proved itself and stays");
            self.programs.collect(&self.succession);
        }
        Ok(())
    }

    /// The program that is to take this one's place, from the release that is committed in `folder`.
    pub(super) fn wanted(&mut self, committed: Release, folder: &Path) -> Option<Program> {
        let runs = self.runs.as_ref()?;
        if self.offered.as_ref().is_none_or(|(of, _)| *of != committed) {
            self.offered = Some((committed, program_in(committed, folder)));
        }
        let offered = self.offered.as_ref().and_then(|(_, program)| program.clone())?;
        self.succession.wants(&offered, runs).then_some(offered)
    }

    /// Lays the successor ready and begins its trial; whether this updater is to end now.
    ///
    /// # Errors
    /// When the record cannot be made durable.
    pub(super) fn hand_over(&mut self, to: Program, folder: &Path) -> Result<bool, DriverError> {
        if let Err(error) = self.programs.lay_ready(folder, &to) {
            tracing::warn!("another updater cannot take this one's place yet: {}", in_one_line(&error));
            return Ok(false);
        }
        tracing::info!(version = %to.version, "this updater ends, and another takes its place");
        let mut changed = self.succession.clone();
        changed.begin(to);
        self.keep(changed)?;
        Ok(true)
    }

    fn keep(&mut self, changed: Succession) -> Result<(), DriverError> {
        if changed != self.succession {
            self.programs.keep(&changed)?;
            self.succession = changed;
        }
        Ok(())
    }
}

/// The updater that a release brings. The folder was verified when it was switched to, and its copy is once more.
fn program_in(release: Release, folder: &Path) -> Option<Program> {
    let bytes = read_limited(&folder.join(MANIFEST), MAX_MANIFEST).ok().flatten()?;
    let manifest = Manifest::from_slice(&bytes).ok()?;
    let brings = |path: &str, mode: Mode| path == UPDATER_PROGRAM && mode == Mode::Executable;
    let entry = manifest.files.iter().find(|entry| brings(entry.path.as_str(), entry.mode))?;
    Some(Program { version: release.version, sha256: entry.sha256.to_string() })
}
