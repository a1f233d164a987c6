//! How the guard stands, written down for people: `updater/guard.json`, shown by `watchpost-updater status`.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use watchpost_core::time::Timestamp;

use crate::host::disk::read_limited;

/// The largest such file that is read.
const FILE_BYTES: u64 = 64 * 1024;

/// What holds a sensor to its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Means {
    /// A control group of version 1.
    CgroupV1,
    /// A control group of version 2.
    CgroupV2,
    /// Its processes are measured, run at the lowest priority and are made to pause; memory is checked, not limited.
    Measured,
}

/// What the guard measured and set last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardState {
    /// What holds the sensor; `None`: none has run yet.
    pub means: Option<Means>,
    /// Why it is nothing better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Processor time that the sensor may use, in thousandths of one processor.
    pub processor_limit_thousandths: Option<u64>,
    /// What it used of it.
    pub processor_used_thousandths: u64,
    /// Memory that it may use, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// What it used of it, without what can be had back.
    pub memory_used_bytes: u64,
    /// The host has less memory than its reserve.
    pub memory_is_short: bool,
    /// How often the sensor was restarted for its memory since the updater started.
    pub restarts: u64,
    /// When this was written.
    pub updated_at: Option<Timestamp>,
}

impl GuardState {
    /// Replaces the file. Nothing rests on it, so it need not survive a power cut.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(self)?)?;
        std::fs::rename(&beside, path)
    }

    /// What was written last, if it can be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&read_limited(path, FILE_BYTES).ok().flatten()?).ok()
    }
}
