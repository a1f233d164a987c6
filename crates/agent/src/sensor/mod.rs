//! The sensor service: follows the audit log, detects, keeps alerts, proves that it detects, and says how it is.
//!
//! It never writes to what it watches, opens no network connection and trusts no line of the log.

pub mod alert;
mod board;
pub mod canary;
mod desk;
pub mod line;
pub(crate) mod log;
mod names;
pub mod needs;
pub mod pipeline;
mod pump;
pub mod reload;
mod rotated;
mod settings;
pub mod sink;
mod socket;
pub mod stream;
pub mod tail;
pub mod trace;
mod vault;
pub mod worker;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use watchpost_clock::Clock;
use watchpost_core::content::RulesReport;
use watchpost_core::policy::RetentionPolicy;
use watchpost_core::release::ReleaseManifest;

use self::desk::Desk;
use self::needs::NeedsError;
use self::pipeline::Pipeline;
use self::settings::InEffect;
use self::sink::Sink;
use self::tail::Tail;
use self::vault::Vault;
use self::worker::{Command, Worker};
use crate::engine::sigma::{RulesError, Sigma};
use crate::engine::suricata::{Suricata, SuricataHandle, SuricataOptions};
use crate::engine::{Engine, RuleSet};
use crate::evidence::Folders;
use crate::host_config::{HostConfig, HostConfigError};
use crate::local::{self, LocalError, SensorStatus};
use crate::rules::CommittedRules;

/// The most commands that wait for the worker.
const COMMANDS_WAITING: usize = 64;
/// The most asks of the updater that wait.
const ORDERS_WAITING: usize = 16;
/// How long the worker may take to settle when the sensor ends.
const STOP_PATIENCE: Duration = Duration::from_millis(1_500);
/// How long the packet engine may take to end before that: the updater insists after five seconds.
const ENGINE_STOP_PATIENCE: Duration = Duration::from_millis(3_000);
/// Where the packet engine lives below the host's folder.
const ENGINE_FOLDER: &str = "engine";
/// As whom it runs where the sensor is root and setup named nobody.
const DEFAULT_ENGINE_USER: &str = "nobody";

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
    let wanted = HostConfig::read(&settings.root).ok().and_then(|config| config.logs_path);
    let logs = log::start(&settings.root, wanted.as_deref(), &clock);
    if logs.is_second_choice {
        tracing::error!(?wanted, "the log folder that was asked for cannot be written");
    }
    let ended = start(settings, &logs, clock).await;
    if let Err(error) = &ended {
        tracing::error!(error = %one_line(error), exit_code = error.exit_code(), "the sensor does not run");
    }
    ended
}

async fn start(settings: &Settings, logs: &log::Folder, clock: Clock) -> Result<(), SensorError> {
    let release = needs::read_release(&settings.release)?;
    needs::check(release.needs, needs::open_files_allowed())?;
    let config = HostConfig::read(&settings.root)?;
    let state = settings.root.join("state");
    let broken = |source| SensorError::State { path: state.clone(), source };
    std::fs::create_dir_all(&state).map_err(broken)?;
    let _lock = lock(&state)?;

    let committed = crate::rules::committed_rules(&settings.root);
    let (mut sigma, committed) = load_rules(&settings.release, committed)?;
    let package = committed.as_ref().map(|committed| committed.folder.as_path());
    report_rules(sigma.rules(), &release);
    let status = SensorStatus {
        run: draw_run(),
        rules_loaded: sigma.rules().loaded,
        rules_failed: sigma.rules().failed,
        rules_sha256: sigma.rules().sha256.clone(),
        ..SensorStatus::starting(release.version, std::process::id())
    };
    let sink = Sink::open(&state).map_err(broken)?;
    sigma.restore(&sink.counts());
    let policy = RetentionPolicy::default();
    // A disk that cannot be asked is dealt with when it is written.
    let disk = rustix::fs::statvfs(&settings.root).map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    let policy = policy.on_disk(disk);
    let engine_folder = settings.root.join(ENGINE_FOLDER);
    let folders = Folders { captures: engine_folder.join("log"), logs: logs.path.clone(), state: state.clone() };
    let rules = RulesReport { build: committed.as_ref().map(|committed| committed.build), ..RulesReport::default() };
    let log_path_fails_since = logs.is_second_choice.then(|| clock.now());
    let kept = InEffect::at_start(&state);
    let captures = !kept.settings.capture_interfaces.is_empty();
    let board = watch::Sender::new(board::Notes { rules, log_path_fails_since, captures, ..board::Notes::default() });
    let (names, wanted) = tokio::sync::mpsc::channel(names::WAITING);
    let vault = Vault::new(folders, policy.clone(), board.clone(), names.clone(), clock.clone());
    let asked = names::resolve((names, wanted), vault.clone(), board.clone(), clock.clone(), names::by_resolver);
    tokio::spawn(asked);

    let options = SuricataOptions {
        user: config.engine_user.clone().unwrap_or_else(|| DEFAULT_ENGINE_USER.to_owned()),
        packet_bytes: policy.capture_bytes,
        ..SuricataOptions::new(engine_folder, desk::sources(&settings.release, package))
    };
    let suricata = Suricata::spawn(options, clock.clone()).map_err(broken)?;
    let has_log = config.audit_log.is_some();
    let tail = Tail::new(config.audit_log.unwrap_or_default(), sink.place());
    let (publish, seen) = watch::channel(SensorStatus { alert_count: sink.alert_count(), ..status });
    let worker = Worker::new(tail, Pipeline::new(Box::new(sigma)), sink, clock.clone(), publish)
        .keeping(Box::new(vault.clone()))
        .watching_log(has_log);
    let parts = Parts { worker, seen, suricata, vault, board, release, state, kept };
    parts.live(settings, clock).await
}

/// The rules of the release and of the package in effect. A package that cannot be read is left out: a sensor starts with
/// the rules of its release whatever became of the rest.
fn load_rules(
    release: &Path,
    committed: Option<CommittedRules>,
) -> Result<(Sigma, Option<CommittedRules>), SensorError> {
    if let Some(committed) = committed {
        match Sigma::load_all(&desk::folders(release, Some(&committed.folder))) {
            Ok(sigma) => return Ok((sigma, Some(committed))),
            Err(error) => tracing::error!(build = %committed.build, "a rule package is left out: {}", one_line(&error)),
        }
    }
    Ok((Sigma::load_all(&desk::folders(release, None))?, None))
}

/// Everything that works together in a sensor.
struct Parts {
    worker: Worker,
    seen: watch::Receiver<SensorStatus>,
    suricata: SuricataHandle,
    vault: Vault,
    board: watch::Sender<board::Notes>,
    release: ReleaseManifest,
    state: PathBuf,
    kept: InEffect,
}

impl Parts {
    /// Runs the worker on a thread of its own, everything else beside it, and ends all on a signal.
    async fn live(mut self, settings: &Settings, clock: Clock) -> Result<(), SensorError> {
        let broken = |source| SensorError::State { path: settings.root.clone(), source };
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let listener = local::listen(&settings.root)?;
        let (commands, received) = mpsc::sync_channel(COMMANDS_WAITING);
        let (ended, mut has_ended) = oneshot::channel();
        let worker = self.worker;
        let watching = std::thread::Builder::new().name("watch".to_owned());
        watching
            .spawn(move || {
                worker.run(&received);
                // Nobody listens any more only when the process is ending anyway.
                let _ = ended.send(());
            })
            .map_err(broken)?;
        let seen = self.suricata.take_evidence();
        let carried = seen.map(|seen| tokio::spawn(pump::carry(seen, self.vault.clone(), commands.clone())));
        tokio::spawn(pump::retain(self.vault.clone(), clock.clone()));
        let (to, whole) = watch::channel(self.seen.borrow().clone());
        let packets = self.suricata.status();
        tokio::spawn(board::keep(self.seen, packets, self.board.subscribe(), to, clock.clone()));
        let desk = Arc::new(Desk {
            release_folder: settings.release.clone(),
            release: self.release,
            worker: commands.clone(),
            suricata: self.suricata,
            vault: self.vault,
            board: self.board,
            clock,
            changing: tokio::sync::Mutex::default(),
            state: self.state,
        });
        let (orders, inbox) = tokio::sync::mpsc::channel(ORDERS_WAITING);
        tokio::spawn(desk::serve(Arc::clone(&desk), inbox));
        tokio::spawn(socket::serve(listener, whole, orders));
        let (starting, kept) = (Arc::clone(&desk), self.kept);
        tokio::spawn(async move { starting.begin(kept).await });
        tokio::select! {
            _ = &mut has_ended => return Err(SensorError::Ended),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        desk.suricata.ask_to_stop();
        if let Some(carried) = carried {
            // What the engine saw last is kept before the sensor goes.
            let _ = tokio::time::timeout(ENGINE_STOP_PATIENCE, carried).await;
        }
        if commands.try_send(Command::Stop).is_ok() {
            // A worker that cannot settle now settles by reading the same lines again after the next start.
            let _ = tokio::time::timeout(STOP_PATIENCE, has_ended).await;
        }
        let _ = std::fs::remove_file(local::socket_path(&settings.root));
        Ok(())
    }
}

/// A number that no other run of a sensor on this host is likely to have had.
fn draw_run() -> u64 {
    let mut bytes = [0; 8];
    // Without chance it is that of a sensor that draws none: its end is counted when the updater sees it.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
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
