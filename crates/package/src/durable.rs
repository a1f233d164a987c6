//! Files that are whole or absent, and survive a power cut: write beside, fsync, rename, fsync the folder.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// Replaces `path` by `bytes` in one step; afterwards they are on the disk.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = parent(path)?;
    let mut file = tempfile::Builder::new().prefix(DRAFT).tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sync_dir(dir)
}

/// How drafts are named until they are renamed into place.
const DRAFT: &str = ".draft-";

/// Removes the drafts that a killed process has left in a folder. Only for a folder that one process writes to.
pub(crate) fn sweep(dir: &Path) {
    // A draft that stays takes room and does no harm, so nothing here is an error.
    for found in fs::read_dir(dir).into_iter().flatten().flatten() {
        if found.file_name().to_string_lossy().starts_with(DRAFT) {
            let _ = fs::remove_file(found.path()).or_else(|_| fs::remove_dir_all(found.path()));
        }
    }
}

/// Makes a folder for its owner alone, with its parents; no error if it is there.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Puts the entries of a folder on the disk.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// How a file gets a second place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// Its bytes are copied: whoever owns the first place may write to it again.
    Copy,
    /// A hard link where possible: nobody writes to either place.
    Link,
}

/// Puts the file `from` also at `to`, which is whole or absent at any moment.
pub(crate) fn place_file(from: &Path, to: &Path, placing: Placing) -> io::Result<()> {
    let dir = parent(to)?;
    let beside = tempfile::Builder::new().prefix(DRAFT).tempdir_in(dir)?;
    let draft = beside.path().join("file");
    if placing == Placing::Copy || fs::hard_link(from, &draft).is_err() {
        fs::copy(from, &draft)?;
    }
    File::open(&draft)?.sync_all()?;
    fs::rename(&draft, to)?;
    sync_dir(dir)
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_read_within_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(read_limited(&path, 3).unwrap().is_none());
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(read_limited(&path, 3).unwrap().unwrap(), b"two");
        assert!(read_limited(&path, 2).is_err());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = dir.path().join("b");
        place_file(&path, &copy, Placing::Link).unwrap();
        place_file(&path, &copy, Placing::Copy).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside");
        fs::write(dir.path().join(".draft-of-a-file"), "half").unwrap();
        fs::create_dir_all(dir.path().join(".draft-of-a-folder/x")).unwrap();
        sweep(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "what a killed process left is gone");
        sweep(&dir.path().join("none"));
    }
}
