//! What a child says of its work, and how it was confined. It is not believed; it is shown to people.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::disk::read_limited;

/// The largest note that is read.
const NOTE_BYTES: u64 = 4096;
/// The longest reason of a child that is passed on, in characters.
const REASON_CHARS: usize = 300;

/// How far the kernel holds a process to the rules it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Enforced {
    /// All of them.
    Fully,
    /// Those that this kernel knows.
    Partly,
    /// None: this kernel does not know them.
    Not,
}

impl fmt::Display for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fully => "fully",
            Self::Partly => "partly",
            Self::Not => "not",
        })
    }
}

/// What held the process that extracted the last package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confinement {
    /// Landlock: what of the disk and the network it may touch.
    pub landlock: Enforced,
    /// seccomp: which system calls it may make.
    pub system_calls: Enforced,
    /// Limits of memory, processor time, sizes and open files.
    pub limits: Enforced,
}

impl Confinement {
    /// Whether all of it holds.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        [self.landlock, self.system_calls, self.limits].iter().all(|part| *part == Enforced::Fully)
    }

    /// Writes it down, and says in the log what is missing.
    pub(super) fn tell(&self, note: &Path) {
        if !self.is_whole() {
            tracing::warn!("a package was unpacked by a process that this kernel does not confine wholly: {self}");
        }
        let write = || -> io::Result<()> {
            let beside = note.with_extension("new");
            std::fs::write(&beside, serde_json::to_vec(self)?)?;
            std::fs::rename(&beside, note)
        };
        if let Err(error) = write() {
            // It is for people, and nothing rests on it.
            tracing::debug!("{}: {error}", note.display());
        }
    }

    /// What was written down last.
    pub(crate) fn read(note: &Path) -> Option<Self> {
        serde_json::from_slice(&read_limited(note, NOTE_BYTES).ok().flatten()?).ok()
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { landlock, system_calls, limits } = self;
        write!(f, "Landlock {landlock}, system calls {system_calls}, limits {limits} enforced")
    }
}

/// What became of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub(super) enum Outcome {
    /// It lies in the folder.
    Done,
    /// The disk ran full.
    DiskFull,
    /// It is no package of ours, or cannot be written.
    Refused {
        /// Why.
        reason: String,
    },
}

/// The one line that a child says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) confinement: Confinement,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

impl Report {
    /// The last line of what was said, if it is a report. What it gives as a reason is cut and cleaned.
    pub(super) fn last_of(said: &[u8]) -> Option<Self> {
        let line = said.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty())?;
        let mut report: Self = serde_json::from_slice(line).ok()?;
        if let Outcome::Refused { reason } = &mut report.outcome {
            *reason = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS).collect();
        }
        Some(report)
    }
}
