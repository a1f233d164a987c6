//! The launcher: starts the updater that is to run, and goes back to the one before when a successor does not prove
//! itself (E16). It decides nothing by itself: `core::succession` does.
//!
//! It is small, is installed with the host's software and is never updated by what it starts.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use watchpost_clock::Clock;
use watchpost_core::succession::{End, Program, Succession, TRIAL_PATIENCE};

use crate::host::disk::Disk;
use crate::host::lock::{self, Lock};
use crate::updater::{Layout, Programs, Stop, hash_of};

/// What tells an updater that a launcher has started it, so that another one can take its place: the SHA-256 of its
/// program, which the launcher has read.
pub const LAUNCHED: &str = "WATCHPOST_LAUNCHER";
/// The exit code of an updater whose successor lies ready (`EX_TEMPFAIL`).
pub const HANDED_OVER: u8 = 75;
/// The pause between two starts on trial, in real time.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an updater may take to end after it was asked to, in real time: longer than it gives its sensor.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// What a shell adds to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// How an updater is launched.
#[derive(Clone, Debug)]
pub struct Options {
    /// The host's folder.
    pub root: PathBuf,
    /// The updater that was installed beside the launcher.
    pub installed: PathBuf,
    /// What the updater gets on its command line.
    pub arguments: Vec<OsString>,
    /// How long a start on trial may take to prove itself.
    pub patience: Duration,
    /// The pause between two of them.
    pub pause: Duration,
}

impl Options {
    /// As in the field.
    #[must_use]
    pub fn new(root: PathBuf, installed: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { root, installed, arguments, patience: TRIAL_PATIENCE, pause: PAUSE }
    }
}

/// Why no updater is launched.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// Another launcher runs.
    #[error("another launcher runs for {0}; there can be only one")]
    Running(PathBuf),
    /// The installed updater cannot be started.
    #[error("{path} cannot be started; install the host's software again")]
    Start {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The lock or a signal handler cannot be had.
    #[error("the launcher cannot start")]
    Io(#[from] io::Error),
}

/// Launches the updater of a host until it ends by itself or is told to; gives its exit code.
///
/// # Errors
/// When another launcher runs for the host, or not even the installed updater can be started.
pub async fn launch(options: &Options, stop: &mut Stop) -> Result<u8, LauncherError> {
    let layout = Layout::new(&options.root);
    let _lock = lock_of(&layout)?;
    let launcher = Launcher { options, programs: Programs::new(&layout, Disk::default()) };
    loop {
        let started = launcher.start()?;
        if let Some(code) = launcher.stay_with(started, stop).await? {
            return Ok(code);
        }
    }
}

/// Two launchers would use up the starts of one trial. A host that is not set up has no folder for a lock yet, and its
/// updater says so.
fn lock_of(layout: &Layout) -> Result<Option<Lock>, LauncherError> {
    match lock::take(&layout.launcher_lock()) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(LauncherError::Running(layout.root().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

struct Launcher<'a> {
    options: &'a Options,
    programs: Programs,
}

/// An updater that was started, or could not be.
struct Started {
    child: io::Result<Child>,
    /// What is on trial with it.
    trial: Option<Program>,
}

impl Launcher<'_> {
    /// Starts what is to run. What `core` counts is durable before.
    fn start(&self) -> Result<Started, LauncherError> {
        let mut succession = self.programs.succession();
        let before = succession.clone();
        let now = Clock::system().now();
        let is_whole = |program: &Program| self.programs.is_whole(program);
        let mut chosen = succession.next(is_whole, now);
        if succession != before
            && let Err(error) = self.programs.keep(&succession)
        {
            // A start that cannot be counted would be tried for ever.
            tracing::error!("the record of updaters cannot be kept, so none is tried: {error}");
            succession = Succession { trial: None, ..before };
            chosen = succession.next(is_whole, now);
        }
        let trial = succession.trial.map(|trial| trial.program);
        let own = chosen.and_then(|program| Some((self.programs.path(&program)?, program.sha256)));
        let child = match own {
            None => self.spawn_installed(),
            Some((path, sha256)) => match self.spawn(&path, &sha256) {
                Err(error) if trial.is_none() => {
                    tracing::error!("{} cannot be started, the installed updater is: {error}", path.display());
                    self.spawn_installed()
                }
                child => child,
            },
        };
        match child {
            Err(source) if trial.is_none() => {
                Err(LauncherError::Start { path: self.options.installed.clone(), source })
            }
            child => Ok(Started { child, trial }),
        }
    }

    fn spawn_installed(&self) -> io::Result<Child> {
        let installed = &self.options.installed;
        self.spawn(installed, &hash_of(installed)?)
    }

    fn spawn(&self, program: &Path, sha256: &str) -> io::Result<Child> {
        tracing::info!(program = %program.display(), "the updater is started");
        let mut command = Command::new(program);
        command.args(&self.options.arguments).env(LAUNCHED, sha256).stdin(Stdio::null());
        command.spawn()
    }

    /// Stays with an updater until it ends; `None`: the next one is to be started.
    async fn stay_with(&self, started: Started, stop: &mut Stop) -> Result<Option<u8>, LauncherError> {
        let Started { child, trial } = started;
        let end = match child {
            Err(error) => End::Itself(format!("it cannot be started: {error}")),
            Ok(mut child) => {
                let ended = tokio::select! {
                    ended = child.wait() => Some(ended?),
                    () = self.trial_is_over(trial.as_ref()) => None,
                    () = stop.asked() => {
                        let code = code_of(end(&mut child).await?);
                        self.change(trial.as_ref(), Succession::stopped);
                        return Ok(Some(code));
                    }
                };
                match ended {
                    Some(status) if status.code() == Some(HANDED_OVER.into()) => return Ok(None),
                    Some(status) if !self.is_on_trial(trial.as_ref()) => return Ok(Some(code_of(status))),
                    Some(status) => End::Itself(status.to_string()),
                    None => {
                        child.kill().await?;
                        End::Unanswered
                    }
                }
            }
        };
        tracing::warn!(?end, "an updater on trial has ended without having proved itself");
        self.change(trial.as_ref(), |succession| succession.ended(end));
        tokio::select! {
            () = sleep(self.options.pause) => Ok(None),
            () = stop.asked() => Ok(Some(0)),
        }
    }

    /// Waits until a program that is still on trial has used up its time.
    async fn trial_is_over(&self, trial: Option<&Program>) {
        if trial.is_some() {
            sleep(self.options.patience).await;
        }
        if !self.is_on_trial(trial) {
            std::future::pending::<()>().await;
        }
    }

    /// Whether this program has not proved itself yet.
    fn is_on_trial(&self, program: Option<&Program>) -> bool {
        program.is_some_and(|program| self.programs.succession().is_on_trial(&program.sha256))
    }

    /// Changes the record of a trial that still goes on.
    fn change(&self, trial: Option<&Program>, change: impl FnOnce(&mut Succession)) {
        if !self.is_on_trial(trial) {
            return;
        }
        let mut succession = self.programs.succession();
        change(&mut succession);
        if let Err(error) = self.programs.keep(&succession) {
            // The start stays counted, which is the safe side.
            tracing::error!("the record of updaters cannot be kept: {error}");
        }
    }
}

/// Has this process, an updater, end when its launcher ends: the next launcher starts one of its own. Its sensor goes on.
///
/// # Errors
/// When the system refuses.
pub fn end_with_launcher() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

/// Asks, waits, and insists.
async fn end(child: &mut Child) -> io::Result<ExitStatus> {
    child.id().into_iter().for_each(crate::host::process::ask_to_end);
    match timeout(STOP_PATIENCE, child.wait()).await {
        Ok(ended) => ended,
        Err(_) => {
            child.kill().await?;
            child.wait().await
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let signalled = || status.signal().map(|signal| SIGNALLED + signal);
    status.code().or_else(signalled).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
