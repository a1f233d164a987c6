//! Every way in which a package can miss the strict profile.

use std::io;

use crate::manifest::{MAX_FILES, ManifestError};
use crate::path::PathError;

use super::format::{MAX_RATIO, MAX_UNPACKED};

/// Why a package is refused. Nothing of it has been used when this is returned but what the sink was given.
#[derive(Debug, thiserror::Error)]
pub enum CabError {
    /// The file could not be read.
    #[error("the package cannot be read")]
    Read(#[source] io::Error),
    /// What was unpacked could not be written.
    #[error("what was unpacked cannot be written")]
    Write(#[source] io::Error),
    /// It ends too early.
    #[error("the package ends in the middle of {0}")]
    Truncated(&'static str),
    /// It goes on after its last block.
    #[error("the package goes on after its end")]
    Trailing,
    /// It does not begin like a cabinet.
    #[error("this is no cabinet file: it does not begin with MSCF and version 1.3")]
    NotACabinet,
    /// It names another length than it has.
    #[error("the package says that it has {says} bytes and has {is}")]
    Length {
        /// What its header says.
        says: u64,
        /// What it has.
        is: u64,
    },
    /// It is one of several volumes, or has reserved areas.
    #[error("the package has several volumes or reserved areas: the profile allows one plain volume")]
    MultiVolume,
    /// A field that has only one allowed value has another.
    #[error("{field} of entry {entry} is {value:#x}: the profile allows one value here")]
    Field {
        /// Which field.
        field: &'static str,
        /// Which file or folder, from 0.
        entry: usize,
        /// What it holds.
        value: u64,
    },
    /// Not exactly one folder per file, or too many of them.
    #[error(
        "the package has {files} files in {folders} folders: the profile wants one folder per file, 2 to {MAX_FILES}"
    )]
    Count {
        /// Files.
        files: usize,
        /// Folders.
        folders: usize,
    },
    /// The files would be too large together.
    #[error("the package unpacks to {0} bytes, more than the {MAX_UNPACKED} allowed")]
    Unpacked(u64),
    /// The files would be suspiciously large for the package.
    #[error("the package unpacks to {unpacked} bytes from {packed}, more than {MAX_RATIO} to 1")]
    Ratio {
        /// Unpacked bytes.
        unpacked: u64,
        /// Bytes of the package.
        packed: u64,
    },
    /// A name is not closed within 255 bytes, or not ASCII.
    #[error("the name of entry {entry} is longer than 255 bytes or not ASCII")]
    Name {
        /// Which file, from 0.
        entry: usize,
    },
    /// A path that must not be extracted.
    #[error("the path of entry {entry} is refused")]
    Path {
        /// Which file, from 0.
        entry: usize,
        /// Why.
        #[source]
        source: PathError,
    },
    /// The manifest is not the first entry, or the rest is not sorted.
    #[error("entry {entry} is out of order: the manifest comes first, then files sorted by path")]
    Order {
        /// Which file, from 0.
        entry: usize,
    },
    /// A file's data does not begin where the data before ends.
    #[error("the data of {path} begins at {says} and not at {is}")]
    Offset {
        /// The file.
        path: String,
        /// What the folder says.
        says: u64,
        /// Where the data before ended.
        is: u64,
    },
    /// The number or length of data blocks does not fit the file's size.
    #[error("block {block} of {path} has a wrong length, or there are too many or too few blocks")]
    Block {
        /// The file.
        path: String,
        /// Which block, from 0.
        block: u64,
    },
    /// The checksum of a block is missing or wrong.
    #[error("the checksum of block {block} of {path} is missing or wrong")]
    Checksum {
        /// The file.
        path: String,
        /// Which block, from 0.
        block: u64,
    },
    /// A block does not unpack to what it says.
    #[error("block {block} of {path} cannot be unpacked")]
    Inflate {
        /// The file.
        path: String,
        /// Which block, from 0.
        block: u64,
    },
    /// The manifest itself is wrong.
    #[error("the manifest is refused")]
    Manifest(#[source] ManifestError),
    /// The manifest and the package do not say the same.
    #[error("the manifest and the package differ in the {field} of entry {entry}")]
    Differs {
        /// `number`, `path`, `size`, `mode` or `sha256`.
        field: &'static str,
        /// Which file, from 0.
        entry: usize,
    },
}
