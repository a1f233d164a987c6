//! Finds the rotated files of an audit log: where reading stopped, and what to read next.
//!
//! Knows them by inode and content, never by a number in their name.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::line::Place;
use super::tail::{begins, holds};

/// The most entries of the log's folder that are looked at.
const FOLDER_LIMIT: usize = 10_000;
/// Endings of rotated files that cannot be read line by line.
const COMPRESSED: [&str; 5] = ["gz", "xz", "bz2", "zst", "lz4"];

struct Sibling {
    path: PathBuf,
    modified: (i64, i64),
    inode: u64,
}

/// The file that reading stopped in, under whatever name it has: the same inode with the same bytes before the
/// place, or a copy that has those bytes (logs that are rotated by copy and truncate).
pub(super) fn holding(path: &Path, place: &Place) -> io::Result<Option<File>> {
    let mut copy = None;
    let candidates = std::iter::once(path.to_owned()).chain(siblings(path)?.into_iter().map(|found| found.path));
    for candidate in candidates {
        let Ok(file) = File::open(&candidate) else { continue };
        let metadata = file.metadata()?;
        if metadata.len() < place.offset || !has_read(&file, place)? {
            continue;
        }
        if metadata.ino() == place.inode && metadata.dev() == place.device {
            return Ok(Some(file));
        }
        if !place.head.is_empty() && copy.is_none() {
            copy = Some(file);
        }
    }
    Ok(copy)
}

/// Whether this file holds what was read up to the place.
pub(super) fn has_read(file: &File, place: &Place) -> io::Result<bool> {
    let bytes = |text: &str| hex::decode(text).unwrap_or_default();
    Ok(begins(file, &bytes(&place.head))? && holds(file, &bytes(&place.anchor), place.offset)?)
}

/// What to read after the file of `place`, which is read to its end: the rotated file that was written next, else the log
/// itself. A copy of what has been read, such as a backup, is nothing to read next.
pub(super) fn successor(path: &Path, place: &Place) -> io::Result<PathBuf> {
    let later = siblings(path)?.into_iter().skip_while(|found| found.inode != place.inode).skip(1);
    for found in later {
        // A file that cannot be opened has been rotated away meanwhile.
        let Ok(file) = File::open(&found.path) else { continue };
        let is_copy = place.offset > 0 && has_read(&file, place)?;
        if !is_copy {
            return Ok(found.path);
        }
    }
    Ok(path.to_owned())
}

/// Rotated files of the log at `path`, the one written longest ago first.
fn siblings(path: &Path) -> io::Result<Vec<Sibling>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.take(FOLDER_LIMIT) {
        let entry = entry?;
        if !is_rotated_name(&entry.file_name(), name.as_bytes()) {
            continue;
        }
        // A file that vanishes meanwhile is being rotated away; it is no candidate.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            found.push(Sibling { path: entry.path(), modified, inode: metadata.ino() });
        }
    }
    found.sort_by_key(|sibling| sibling.modified);
    Ok(found)
}

fn is_rotated_name(candidate: &OsString, log: &[u8]) -> bool {
    let rest = candidate.as_bytes().strip_prefix(log);
    let is_compressed =
        Path::new(candidate).extension().is_some_and(|end| COMPRESSED.iter().any(|known| end == *known));
    !is_compressed && rest.is_some_and(|rest| matches!(rest.first(), Some(b'.' | b'-')))
}
