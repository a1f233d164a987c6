//! Rules are loaded when the engine says so (decision 16): replaced, reloaded, read back, and put back if it is worse.
//!
//! Suricata answers “done” to a reload whose file is missing or broken throughout, and is blind from then on. So nothing
//! here believes an answer to a reload; only what the engine counts afterwards.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use watchpost_clock::Clock;

use super::control::{Control, ControlError, RuleCounts};
use super::process::ProcessError;
use super::rules::{Gathered, SourceError, replace, write_beside};

/// How often a reload under way is looked after, in real time.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most complaints that are kept.
pub const COMPLAINTS_LIMIT: usize = 50;

/// What rules have to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Rules that have to be loaded at least, the canary's counted.
    pub loaded_at_least: u32,
    /// Rules that may be refused at most.
    pub failed_at_most: u32,
}

impl Expectation {
    /// Whether these counts are good enough, with so many rules of the package that the release has, too.
    #[must_use]
    pub fn is_met_by(self, counts: RuleCounts, superseded: u32) -> bool {
        counts.loaded.saturating_add(superseded) >= self.loaded_at_least && counts.failed <= self.failed_at_most
    }
}

/// Rules in force.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RulesLoaded {
    /// How many, the canary's counted.
    pub loaded: u32,
    /// Rules of the package that were left out because the release has them: they are in force, and counted there once.
    pub superseded: u32,
    /// How many were refused.
    pub failed: u32,
    /// Why: file, line and reason, at most [`COMPLAINTS_LIMIT`].
    pub complaints: Vec<String>,
    /// SHA-256 (hex) over all of them.
    pub sha256: String,
    /// Whether the running engine says so; otherwise its check did, because the engine does not run at the moment.
    pub by_engine: bool,
}

impl RulesLoaded {
    /// How many of the release and of the package are in force; what both have counts for each, as in their promises.
    #[must_use]
    pub fn in_force(&self) -> u32 {
        self.loaded.saturating_add(self.superseded)
    }
}

/// Why rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// They cannot be gathered or written.
    #[error("the rules for Suricata cannot be put together")]
    Source(#[from] SourceError),
    /// The check cannot be run.
    #[error("Suricata's check of the rules cannot be run")]
    Process(#[from] ProcessError),
    /// The check says that they are worse than expected. The engine was not touched.
    #[error("Suricata's check takes {} rules and refuses {}; the rules before stay in force: {}", .0.loaded, .0.failed,
        .0.complaints.first().map_or("no rule is left", |first| first))]
    Refused(RulesLoaded),
    /// The engine says that they are worse than expected. The rules before are in force again.
    #[error("Suricata loaded {} rules and refused {}; the rules before were put back: {}", .0.loaded, .0.failed,
        .0.complaints.first().map_or("no rule is left", |first| first))]
    PutBack(RulesLoaded),
    /// The rules before could not be loaded again, so that the engine has to be started again.
    #[error("the rules before could not be put back while Suricata runs; it is started again with them")]
    Unsettled,
    /// Another reload does not end.
    #[error("Suricata is still loading other rules after {} s; try again", .0.as_secs())]
    Busy(Duration),
    /// The engine does not answer.
    #[error("Suricata does not answer while it loads rules; the rules before stay in place")]
    Control(#[from] ControlError),
    /// It does not run.
    #[error("Suricata does not run, so it cannot load rules; see the engine's state for why")]
    NotRunning,
}

impl LoadError {
    /// Whether the same rules may well be taken another time: what is in the way says nothing about them.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Process(_) | Self::Busy(_) | Self::Control(_) | Self::NotRunning => true,
            Self::Source(error) => match error {
                SourceError::Write { .. } => true,
                SourceError::Read { .. } | SourceError::TooMany => false,
            },
            // The engine ran, and these rules brought it into a state from which it had to be started again.
            Self::Refused(_) | Self::PutBack(_) | Self::Unsettled => false,
        }
    }
}

/// Changes the rules of a running engine.
pub struct Loader<'a> {
    /// For the deadline.
    pub clock: &'a Clock,
    /// The engine's socket.
    pub control: &'a mut Control,
    /// The file that it reads.
    pub rules: &'a Path,
    /// How long one reload may take, in real time.
    pub patience: Duration,
}

impl Loader<'_> {
    /// Puts `gathered` in force, and the rules before back if the engine says that it is worse than expected.
    ///
    /// # Errors
    /// When the new rules are not in force. Which are, the error says.
    pub async fn load(
        &mut self,
        gathered: &Gathered,
        reasons: &HashMap<usize, String>,
        expectation: Expectation,
    ) -> Result<RulesLoaded, LoadError> {
        let beside = write_beside(self.rules, gathered.text())?;
        let before = self.keep_before()?;
        replace(&beside, self.rules)?;
        let found = match self.reload().await {
            Ok(()) => self.read_back(gathered, reasons).await,
            Err(error) => Err(error),
        };
        let error = match found {
            Ok(found) => {
                let counts = RuleCounts { loaded: found.loaded, failed: found.failed };
                if expectation.is_met_by(counts, found.superseded) {
                    return Ok(found);
                }
                LoadError::PutBack(found)
            }
            Err(error) => error,
        };
        let Some(before) = before else { return Err(error) };
        replace(&before, self.rules)?;
        match self.reload().await {
            Ok(()) => Err(error),
            Err(_) => Err(LoadError::Unsettled),
        }
    }

    /// A second name for the rules before, which survives that theirs is given away.
    fn keep_before(&self) -> Result<Option<PathBuf>, SourceError> {
        let mut name = self.rules.as_os_str().to_owned();
        name.push(".before");
        let before = PathBuf::from(name);
        let broken = |source| SourceError::Write { path: before.clone(), source };
        match std::fs::remove_file(&before) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(broken(error)),
            Ok(()) | Err(_) => {}
        }
        match std::fs::hard_link(self.rules, &before) {
            Ok(()) => Ok(Some(before)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Has the engine read its file again, and waits until it has.
    ///
    /// A reload that somebody else began may have read the file before, and its end may be taken for the end of ours. So
    /// after one was met, a second reload of ours is begun: it can only begin when the first has ended.
    ///
    /// # Errors
    /// When it does not come to an end in time.
    pub async fn reload(&mut self) -> Result<(), LoadError> {
        let deadline = self.clock.instant() + self.patience;
        let (mut before, waited) = self.begin(deadline).await?;
        if waited {
            (before, _) = self.begin(deadline).await?;
        }
        while self.control.loaded_at().await? == before {
            self.pause(deadline).await?;
        }
        Ok(())
    }

    /// Begins a reload; says when the rules in force were loaded, and whether another reload had to be waited out.
    async fn begin(&mut self, deadline: std::time::Instant) -> Result<(String, bool), LoadError> {
        let mut waited = false;
        loop {
            let before = self.control.loaded_at().await?;
            if self.control.begin_reload().await? {
                return Ok((before, waited));
            }
            waited = true;
            self.pause(deadline).await?;
        }
    }

    async fn pause(&self, deadline: std::time::Instant) -> Result<(), LoadError> {
        if self.clock.instant() >= deadline {
            return Err(LoadError::Busy(self.patience));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        Ok(())
    }

    async fn read_back(
        &mut self,
        gathered: &Gathered,
        reasons: &HashMap<usize, String>,
    ) -> Result<RulesLoaded, LoadError> {
        read_back(self.control, gathered, reasons).await.map_err(LoadError::Control)
    }
}

/// What the engine says that it has loaded.
///
/// # Errors
/// When it does not answer.
pub async fn read_back(
    control: &mut Control,
    gathered: &Gathered,
    reasons: &HashMap<usize, String>,
) -> Result<RulesLoaded, ControlError> {
    let counts = control.rule_counts().await?;
    let failed = if counts.failed == 0 { Vec::new() } else { control.failed_rules().await? };
    let complaint = |failed| gathered.complaint(failed, reasons.get(&failed.line).map(String::as_str));
    Ok(RulesLoaded {
        loaded: counts.loaded,
        superseded: gathered.superseded(),
        failed: counts.failed,
        complaints: failed.iter().take(COMPLAINTS_LIMIT).map(complaint).collect(),
        sha256: gathered.sha256(),
        by_engine: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_nothing_about_the_rules_passes() {
        let io = || std::io::Error::other("x");
        for (error, is_passing) in [
            (LoadError::Busy(Duration::from_secs(1)), true),
            (LoadError::NotRunning, true),
            (LoadError::Control(ControlError::Stranger), true),
            (LoadError::Process(ProcessError::Io(io())), true),
            (LoadError::Source(SourceError::Write { path: PathBuf::new(), source: io() }), true),
            (LoadError::Source(SourceError::Read { path: PathBuf::new(), source: io() }), false),
            (LoadError::Source(SourceError::TooMany), false),
            (LoadError::Refused(RulesLoaded::default()), false),
            (LoadError::PutBack(RulesLoaded::default()), false),
            (LoadError::Unsettled, false),
        ] {
            assert_eq!(error.is_passing(), is_passing, "{error}");
        }
    }
}
