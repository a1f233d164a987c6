//! Changes to files that are durable when the call returns: file fsync, rename, fsync of the folder (safety 5.2).
//!
//! A failed fsync is final: the file is abandoned, never believed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// The host's disk. Every place where power may fail is one call of `step`, so that tests can cut it there.
#[derive(Clone, Default)]
pub struct Disk {
    #[cfg(test)]
    pub(crate) power: Option<std::sync::Arc<tests::Power>>,
}

impl Disk {
    /// A point at which the power may go.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "the tests' disk counts its steps"))]
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(power) = &self.power {
            return power.step();
        }
        Ok(())
    }

    /// Makes a folder, and those above it, for this service alone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        DirBuilder::new().recursive(true).mode(0o750).create(path)
    }

    /// Puts the entries of a folder on the disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        File::open(path)?.sync_all()
    }

    /// Overwrites the beginning of a file that has its place on the disk already; made, with that much room, if it is
    /// not there. Not atomic: whoever reads it must know a torn one.
    ///
    /// # Errors
    /// When the system refuses. The file is then removed: what it holds cannot be known.
    pub fn overwrite(&self, path: &Path, bytes: &[u8], room: u64) -> io::Result<()> {
        let written = self.overwrite_or_fail(path, bytes, room);
        if written.is_err() && self.step().is_ok() {
            // Its contents after a failed fsync are anybody's guess (fsyncgate); a missing slot is at least honest.
            let _ = fs::remove_file(path);
        }
        written
    }

    fn overwrite_or_fail(&self, path: &Path, bytes: &[u8], room: u64) -> io::Result<()> {
        let is_fresh = !path.try_exists()?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if is_fresh {
            self.step()?;
            io::copy(&mut io::repeat(0).take(room), &mut file)?;
            io::Seek::rewind(&mut file)?;
        }
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        self.step()?;
        file.write_all(second)?;
        self.step()?;
        file.sync_all()?;
        match path.parent() {
            Some(folder) if is_fresh => self.sync_folder(folder),
            Some(_) | None => Ok(()),
        }
    }

    /// Replaces a file in one step, durably; does nothing if it holds these bytes already.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if fs::read(path).is_ok_and(|found| found == bytes) {
            return Ok(());
        }
        let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let beside = folder.join(random_name(&replacing(path)));
        self.step()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.publish(&beside, path)
    }

    /// Removes what was to replace this file when whoever wrote it was killed. For a folder in which another program
    /// replaces files of its own, so that it cannot be swept as a whole.
    pub fn sweep_beside(&self, path: &Path) {
        let prefix = replacing(path);
        let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
                // What stays takes a few bytes and does no harm.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Gives a file or folder its final name, durably. What it holds must be on the disk already.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(from, to)?;
        to.parent().map_or(Ok(()), |folder| self.sync_folder(folder))
    }

    /// Points the link at `target` in one step, durably. A link is never edited, always replaced.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn point(&self, link: &Path, target: &Path) -> io::Result<()> {
        let folder = link.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let beside = folder.join(random_name(".link-"));
        self.step()?;
        symlink(target, &beside)?;
        self.step()?;
        if let Err(error) = fs::rename(&beside, link) {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        self.sync_folder(folder)
    }

    /// Removes a folder and all in it. It loses its name first, so that a half-removed one is never taken for whole.
    ///
    /// # Errors
    /// When the system refuses; what is left is swept at the next start.
    pub fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let doomed = folder.join(random_name(".removed-"));
        self.publish(path, &doomed)?;
        self.step()?;
        fs::remove_dir_all(&doomed)
    }

    /// Removes everything unfinished: whatever begins with a dot in `folder` (systemd #41502: nobody ever did).
    ///
    /// # Errors
    /// When the folder cannot be read. What cannot be removed stays for the next time.
    pub fn sweep(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let removed = if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), "something unfinished cannot be removed: {error}");
            }
        }
        Ok(())
    }

    /// Bytes that this service may still write in the file system of `path`.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        #[cfg(test)]
        if let Some(power) = &self.power {
            return Ok(power.free);
        }
        let figures = rustix::fs::statvfs(path)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }
}

/// How the names of files begin that are to replace this one.
fn replacing(path: &Path) -> String {
    format!(".replacing-{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// A name that nobody else has: what was left behind by an earlier run is never met again.
#[must_use]
pub fn random_name(prefix: &str) -> PathBuf {
    let mut bytes = [0; 8];
    // Without randomness the name is still good: a twin fails with “already exists”.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    PathBuf::from(format!("{prefix}{}", hex::encode(bytes)))
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
///
/// # Errors
/// When it cannot be read or is larger.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(io::Error::from(io::ErrorKind::FileTooLarge)) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A power supply that fails at the `cut`-th step, and stays off.
    pub(crate) struct Power {
        pub(crate) steps: AtomicUsize,
        pub(crate) cut: usize,
        pub(crate) free: u64,
    }

    impl Power {
        pub(crate) fn failing_at(cut: usize) -> std::sync::Arc<Self> {
            std::sync::Arc::new(Self { steps: AtomicUsize::new(0), cut, free: u64::MAX })
        }

        pub(super) fn step(&self) -> io::Result<()> {
            if self.steps.fetch_add(1, Ordering::SeqCst) >= self.cut {
                return Err(io::Error::other("power cut"));
            }
            Ok(())
        }

        pub(crate) fn is_off(&self) -> bool {
            self.steps.load(Ordering::SeqCst) > self.cut
        }
    }

    #[test]
    fn a_link_is_replaced_in_one_step_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("current");
        let disk = Disk::default();
        disk.point(&link, Path::new("versions/a")).unwrap();
        disk.point(&link, Path::new("versions/b")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("versions/b"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for cut in 0..3 {
            let disk = Disk { power: Some(Power::failing_at(cut)) };
            assert!(disk.point(&link, Path::new("versions/c")).is_err());
            let target = fs::read_link(&link).unwrap();
            assert!(target == Path::new("versions/b") || (cut == 2 && target == Path::new("versions/c")));
        }
    }

    #[test]
    fn what_is_unfinished_is_swept_and_what_is_whole_stays() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".staging-1/bin", "2.254.1.0-00000001", ".removed-2"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join(".partial-3"), "x").unwrap();
        Disk::default().sweep(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["2.254.1.0-00000001"]);
    }

    #[test]
    fn reading_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(read_limited(&path, 2).unwrap().is_none());
        fs::write(&path, "abc").unwrap();
        assert_eq!(read_limited(&path, 3).unwrap().unwrap(), b"abc");
        assert!(read_limited(&path, 2).is_err());
    }
}
