//! One child process that is started again whenever it dies, until it is told to stop.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use watchpost_clock::Stepper;

/// The pause before a process is started again, so that one that cannot start does not spin.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How long a process may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Clone)]
pub(super) struct Spec {
    /// The process's name on the clock and of its log.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) log: PathBuf,
    /// A hard limit of open files, where this host has a low one.
    pub(super) open_files: Option<u32>,
}

/// A supervised child.
pub(super) struct Process {
    pid: AtomicU32,
    stopping: AtomicBool,
    stopped: Notify,
    wake: Notify,
}

impl Process {
    /// Starts the process and keeps it running. While it is down the clock counts it as busy, and so stands.
    pub(super) fn keep_running(spec: Spec, stepper: Arc<Stepper>) -> anyhow::Result<Arc<Self>> {
        let process = Arc::new(Self {
            pid: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
            wake: Notify::new(),
        });
        stepper.expect(&spec.name)?;
        let child = start(&spec)?;
        process.pid.store(child.id().unwrap_or(0), Ordering::SeqCst);
        tokio::spawn(supervise(process.clone(), spec, child, stepper));
        Ok(process)
    }

    /// The process id, or 0 while it is being started again.
    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Ordering::SeqCst)
    }

    /// Asks the process to stop, and kills it when it does not.
    pub(super) async fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let stopped = self.stopped.notified();
        self.wake.notify_one();
        signal(self.pid(), Signal::TERM);
        if tokio::time::timeout(STOP_PATIENCE, stopped).await.is_err() {
            signal(self.pid(), Signal::KILL);
        }
    }
}

/// Sends a signal to a process that may be gone already.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have died a moment ago; that is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

fn start(spec: &Spec) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(&spec.log)?;
    let mut command = match spec.open_files {
        None => Command::new(&spec.program),
        Some(limit) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("ulimit -n {limit} && exec \"$0\" \"$@\"")).arg(&spec.program);
            shell
        }
    };
    command.args(&spec.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(false);
    command.spawn().with_context(|| format!("cannot start {}", spec.program.display()))
}

async fn supervise(process: Arc<Process>, spec: Spec, mut child: Child, stepper: Arc<Stepper>) {
    loop {
        // Whatever it ended with, the answer is the same: start it again.
        let _ = child.wait().await;
        process.pid.store(0, Ordering::SeqCst);
        if process.stopping.load(Ordering::SeqCst) {
            break;
        }
        let _ = stepper.expect(&spec.name);
        let _ = tokio::time::timeout(RESTART_PAUSE, process.wake.notified()).await;
        if process.stopping.load(Ordering::SeqCst) {
            break;
        }
        match start(&spec) {
            Ok(next) => {
                process.pid.store(next.id().unwrap_or(0), Ordering::SeqCst);
                child = next;
            }
            Err(error) => tracing::error!(process.name = spec.name, "cannot start it again: {error:#}"),
        }
    }
    process.stopped.notify_waiters();
}
