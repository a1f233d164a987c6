//! The sensor's process as its updater holds it: a child of its own, or one that it has adopted. Decides nothing.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;

use super::supervisor::LOOK_AGAIN;
use crate::host::{lock, process};

/// How long a sensor may take to end after it was asked to, in real time.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The sensor's process.
pub(super) enum Process {
    /// This updater has started it.
    Child(Box<Child>),
    /// An earlier updater has, or systemd.
    Adopted { pid: u32, lock: PathBuf, handle: Option<process::Handle> },
}

impl Process {
    /// The process with this number, which holds this lock.
    pub(super) fn adopted(pid: u32, lock: PathBuf) -> Self {
        Self::Adopted { pid, lock, handle: process::Handle::open(pid) }
    }

    /// Whether an adopted one is gone; a child is waited for.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Child(_) => false,
            Self::Adopted { pid, lock, .. } => {
                matches!(lock::is_held(lock), Ok(false)) || process::runs(*pid).is_none()
            }
        }
    }

    /// Waits for the end. Safe to cancel.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Self::Child(child) => child.wait().await.ok(),
            Self::Adopted { handle, .. } => {
                if let Some(handle) = handle {
                    handle.ended().await;
                }
                while !self.has_ended() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                None
            }
        }
    }
}

/// Asks, waits, and insists.
pub(super) async fn stop(process: &mut Process, pid: u32) {
    process::ask_to_end(pid);
    if tokio::time::timeout(STOP_PATIENCE, process.ended()).await.is_err() {
        tracing::warn!(pid, "the sensor did not end within {} s and is ended", STOP_PATIENCE.as_secs());
        process::end(pid);
        process.ended().await;
    }
}
