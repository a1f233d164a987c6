//! The sensor service: follows the audit log, detects, keeps alerts, proves that it detects, and says how it is.
//!
//! It never writes to what it watches, opens no network connection and trusts no line of the log.

pub mod alert;
pub mod canary;
pub mod line;
pub(crate) mod log;
pub mod needs;
pub mod pipeline;
pub mod reload;
mod rotated;
pub mod sink;
pub mod socket;
pub mod stream;
pub mod tail;
pub mod trace;
pub mod worker;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use watchpost_clock::Clock;
use watchpost_core::release::ReleaseManifest;

use self::needs::NeedsError;
use self::pipeline::Pipeline;
use self::sink::Sink;
use self::tail::Tail;
use self::worker::{Command, Worker};
use crate::engine::sigma::{RulesError, Sigma};
use crate::engine::{Engine, RuleSet};
use crate::host_config::{HostConfig, HostConfigError};
use crate::local::{self, LocalError, SensorStatus};

/// The most commands that wait for the worker.
const COMMANDS_WAITING: usize = 64;

/// What a sensor is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host folder.
    pub root: PathBuf,
    /// The folder of the release to run.
    pub release: PathBuf,
}

/// Why the sensor does not run.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// The host lacks what the release needs, or the release is damaged.
    #[error("the sensor cannot run this release here")]
    Needs(#[from] NeedsError),
    /// The host's settings are missing or broken.
    #[error("the sensor has no usable settings")]
    Config(#[from] HostConfigError),
    /// The rules cannot be read.
    #[error("the sensor cannot load its rules")]
    Rules(#[from] RulesError),
    /// Another sensor runs on this host folder.
    #[error("another sensor already runs here (state/sensor.lock is held); stop it first")]
    AlreadyRunning,
    /// The host folder cannot be written.
    #[error("the sensor cannot use its folder {path}; check its owner and the free space")]
    State {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The local socket cannot be opened.
    #[error("the sensor cannot open its local socket")]
    Socket(#[from] LocalError),
    /// The watching thread ended by itself.
    #[error("the sensor stopped watching unexpectedly; its supervisor starts it again")]
    Ended,
}

impl SensorError {
    /// The exit code, in the words of sysexits.h: 78 configuration, 75 try later, 74 I/O, 70 internal.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Needs(_) | Self::Config(_) | Self::Rules(_) => 78,
            Self::AlreadyRunning => 75,
            Self::State { .. } | Self::Socket(_) => 74,
            Self::Ended => 70,
        }
    }
}

/// Runs the sensor until it is told to stop (SIGTERM or SIGINT).
///
/// # Errors
/// When it cannot start, or stops watching by itself. The error is in the log, too.
pub async fn run(settings: &Settings, clock: Clock) -> Result<(), SensorError> {
    // The sensor has no timer of the clock's: it wakes by the log and by its socket.
    clock.idle_until(None);
    log::start(&settings.root, clock.clone());
    let ended = start(settings, clock).await;
    if let Err(error) = &ended {
        tracing::error!(error = %one_line(error), exit_code = error.exit_code(), "the sensor does not run");
    }
    ended
}

async fn start(settings: &Settings, clock: Clock) -> Result<(), SensorError> {
    let release = needs::read_release(&settings.release)?;
    needs::check(release.needs, needs::open_files_allowed())?;
    let config = HostConfig::read(&settings.root)?;
    let state = settings.root.join("state");
    let broken = |source| SensorError::State { path: state.clone(), source };
    std::fs::create_dir_all(&state).map_err(broken)?;
    let _lock = lock(&state)?;

    let mut sigma = Sigma::load(&settings.release.join("rules"))?;
    report_rules(sigma.rules(), &release);
    let status = SensorStatus {
        rules_loaded: sigma.rules().loaded,
        rules_failed: sigma.rules().failed,
        rules_sha256: sigma.rules().sha256.clone(),
        ..SensorStatus::starting(release.version, std::process::id())
    };
    let sink = Sink::open(&state).map_err(broken)?;
    sigma.restore(&sink.counts());
    let tail = Tail::new(config.audit_log, sink.place());
    let (publish, seen) = watch::channel(SensorStatus { alert_count: sink.alert_count(), ..status });
    let worker = Worker::new(tail, Pipeline::new(Box::new(sigma)), sink, clock, publish);
    supervise(worker, &settings.root, seen).await
}

/// Runs the worker on a thread of its own, serves the socket beside it, and ends both on a signal.
async fn supervise(worker: Worker, root: &Path, seen: watch::Receiver<SensorStatus>) -> Result<(), SensorError> {
    let broken = |source| SensorError::State { path: root.to_owned(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
    let listener = local::listen(root)?;
    let (commands, received) = mpsc::sync_channel(COMMANDS_WAITING);
    let (ended, mut has_ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            worker.run(&received);
            // Nobody listens any more only when the process is ending anyway.
            let _ = ended.send(());
        })
        .map_err(broken)?;
    tokio::spawn(socket::serve(listener, seen, commands.clone()));
    tokio::select! {
        _ = &mut has_ended => return Err(SensorError::Ended),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if commands.try_send(Command::Stop).is_ok() {
        // A worker that cannot settle now settles by reading the same lines again after the next start.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1500), has_ended).await;
    }
    let _ = std::fs::remove_file(local::socket_path(root));
    Ok(())
}

/// Takes the lock that the sensor holds for its life, and writes its process id there for people.
fn lock(state: &Path) -> Result<File, SensorError> {
    let broken = |source| SensorError::State { path: state.to_owned(), source };
    let path = state.join("sensor.lock");
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(broken)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(SensorError::AlreadyRunning),
        Err(error) => return Err(broken(error.into())),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(broken)?;
    Ok(file)
}

fn report_rules(rules: &RuleSet, release: &ReleaseManifest) {
    for complaint in &rules.complaints {
        tracing::warn!(%complaint, "a rule was refused");
    }
    let (loaded, failed, expected) = (rules.loaded, rules.failed, release.rules_expected);
    tracing::info!(version = %release.version, loaded, failed, expected, sha256 = %rules.sha256, "rules loaded");
}

/// The error and everything behind it in one line.
#[must_use]
pub fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}
