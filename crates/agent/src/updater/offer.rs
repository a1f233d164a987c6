//! A package that somebody on the host brings: a copy of it in the folder of downloads, gone once nobody waits for it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use watchpost_package::{Sha256Hex, hash_reader};

use super::layout::Layout;
use crate::host::disk::random_name;

/// How the names of offers begin; what begins with a dot is swept when an updater starts.
const PREFIX: &str = ".offered-";
/// The largest file that is taken for a package: more than a package may unpack to.
pub(crate) const PACKAGE_BYTES: u64 = 1024 * 1024 * 1024;

/// A copy of a package.
#[derive(Debug)]
pub(crate) struct Offer {
    path: PathBuf,
}

impl Offer {
    /// Copies a package to where the updater of this host takes it from.
    ///
    /// # Errors
    /// When it cannot be read or there is no room.
    pub(crate) fn make(layout: &Layout, package: &Path) -> io::Result<Self> {
        let mut from = File::open(package)?;
        if from.metadata()?.len() > PACKAGE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let offer = Self { path: layout.downloads().join(random_name(PREFIX)) };
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut to = File::from(rustix::fs::open(&offer.path, flags, Mode::from_raw_mode(0o600))?);
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        Ok(offer)
    }

    /// Takes charge of the copy of this name, if it is one.
    pub(super) fn take(layout: &Layout, name: &str) -> Option<Self> {
        let is_name = name.strip_prefix(PREFIX)?.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = layout.downloads().join(name);
        (is_name && fs::symlink_metadata(&path).is_ok_and(|found| found.is_file())).then_some(Self { path })
    }

    /// What to call it at the updater's door.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Reads it through: its length and its digest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn measure(&self) -> io::Result<(u64, Sha256Hex)> {
        hash_reader(File::open(&self.path)?, PACKAGE_BYTES)
    }

    /// Gives the copy another name, after which it is no offer any more.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn become_download(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // Taken, or of no further use.
        let _ = fs::remove_file(&self.path);
    }
}
