//! One raw line on its way through the pipeline, and where it came from.

use serde::{Deserialize, Serialize};

/// The longest line of an audit log that is analysed.
pub const AUDIT_LINE_LIMIT: usize = 1024 * 1024;

/// A place in an audit log that survives the log's rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The device the file is on.
    pub device: u64,
    /// The file, by inode: its name changes when the log is rotated.
    pub inode: u64,
    /// Everything before this byte has been dealt with.
    pub offset: u64,
    /// How often a log was found to begin anew; tells equal places of different contents apart.
    pub epoch: u64,
    /// The last bytes before `offset` in hex: a file that holds others there has been rewritten.
    pub anchor: String,
    /// The first bytes of the file in hex, as far as they were read: lines of one length often end alike, so that what lies
    /// before `offset` alone does not tell one file from another.
    #[serde(default)]
    pub head: String,
    /// Whether `offset` lies inside a line that was too long, so that the rest of it is skipped.
    #[serde(default)]
    pub in_oversized_line: bool,
}

/// Where a raw line comes from. Only this process can make a canary: no audit log can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The audit log.
    Log {
        /// See [`Place::epoch`].
        epoch: u64,
        /// See [`Place::inode`].
        inode: u64,
        /// Where the line begins.
        offset: u64,
    },
    /// A canary, marked with the desired generation it proves.
    Canary {
        /// The mark.
        generation: u64,
    },
}

/// One line, not yet parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLine {
    /// Where it comes from.
    pub origin: Origin,
    /// Its bytes without the line end; `None` if it was too long to keep.
    pub text: Option<Vec<u8>>,
}
