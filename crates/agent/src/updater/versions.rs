//! The version folders: verified before they get their name, verified before they are switched to, never deleted in use.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use watchpost_core::updater::{DiskView, Release, Running};
use watchpost_package::manifest::{MANIFEST, MAX_MANIFEST, ManifestError};
use watchpost_package::{FileEntry, Manifest, hash_reader};

use super::layout::Layout;
use super::restarter::boot_id;
use crate::host::disk::{Disk, random_name, read_limited};

/// The sensor's program inside a version folder.
pub const SENSOR_PROGRAM: &str = "bin/watchpost-sensor";
/// An updater's program inside a version folder, if the release brings one.
pub(super) const UPDATER_PROGRAM: &str = "bin/watchpost-updater";

/// Why a version folder cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// A folder or file cannot be read or changed.
    #[error("{path} cannot be used; check that it belongs to this service and that the disk has room")]
    Io {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no such version folder, or its manifest is gone.
    #[error("{path} is not a complete version folder")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest in the folder is damaged.
    #[error("the manifest of {path} is damaged")]
    Manifest {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A file is not what the manifest says.
    #[error("{path} is not the file that was signed: {what}")]
    Altered {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// How closely a version folder is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Which files there are, their sizes and modes: at every start.
    Cheap,
    /// Their contents too: before every switch (RAUC #459: wrong bytes after a "successful" unpack).
    Full,
}

/// The version folders of one host.
#[derive(Clone)]
pub struct Versions {
    layout: Layout,
    disk: Disk,
}

impl Versions {
    /// Those of the host with this layout.
    #[must_use]
    pub fn new(layout: Layout, disk: Disk) -> Self {
        Self { layout, disk }
    }

    /// The disk they lie on.
    #[must_use]
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The folder of a release.
    #[must_use]
    pub(crate) fn folder(&self, release: Release) -> PathBuf {
        self.layout.version(release)
    }

    /// Makes the host's folders if they are not there.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn make_folders(&self) -> Result<(), VersionError> {
        for folder in self.layout.folders() {
            self.disk.make_folder(&folder).map_err(|source| VersionError::Io { path: folder.clone(), source })?;
        }
        Ok(())
    }

    /// Makes the host's folders if they are not there, and sweeps away what an earlier run left unfinished. Only for the
    /// one updater of the host: to anybody else, what it is working on looks unfinished too.
    ///
    /// # Errors
    /// When a folder cannot be made or read.
    pub fn tidy(&self) -> Result<(), VersionError> {
        self.make_folders()?;
        let unfinished = [self.layout.versions(), self.layout.downloads(), self.layout.programs()];
        for folder in unfinished.into_iter().chain([self.layout.root().to_owned()]) {
            self.disk.sweep(&folder).map_err(|source| VersionError::Io { path: folder, source })?;
        }
        Ok(())
    }

    /// What lies on the disk, for recovery.
    ///
    /// # Errors
    /// When the version folders cannot be listed.
    pub fn view(&self, running: Running) -> Result<DiskView, VersionError> {
        let link = fs::read_link(self.layout.current()).ok();
        let link = link.and_then(|target| self.layout.release_of(&self.layout.root().join(target)));
        Ok(DiskView { link, versions: self.complete()?, boot: boot_id(), running })
    }

    fn complete(&self) -> Result<BTreeSet<Release>, VersionError> {
        let folder = self.layout.versions();
        let unreadable = |source| VersionError::Io { path: folder.clone(), source };
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if let Some(release) = name.to_str().and_then(|name| name.parse().ok())
                && self.verify(release, Look::Cheap).is_ok()
            {
                found.insert(release);
            }
        }
        Ok(found)
    }

    /// An empty folder to extract into, under a name that nobody has used before.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn staging(&self) -> Result<PathBuf, VersionError> {
        let path = self.layout.versions().join(random_name(".staging-"));
        self.disk.make_folder(&path).map_err(|source| VersionError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// Gives what was extracted its name, after reading every file back. A folder of that name that is not whole makes
    /// room; a whole one stays, and is what counts.
    ///
    /// # Errors
    /// When a file is not what the manifest says, or the disk fails.
    pub fn install(&self, staging: &Path, release: Release) -> Result<(), VersionError> {
        verify_folder(staging, Look::Full)?;
        let folder = self.layout.version(release);
        if self.verify(release, Look::Full).is_ok() {
            return Ok(());
        }
        let failed = |source| VersionError::Io { path: folder.clone(), source };
        if fs::symlink_metadata(&folder).is_ok() {
            self.disk.remove_folder(&folder).map_err(failed)?;
        }
        self.disk.publish(staging, &folder).map_err(failed)
    }

    /// Compares a version folder with its manifest.
    ///
    /// # Errors
    /// When it is not there or not what was signed.
    pub fn verify(&self, release: Release, look: Look) -> Result<(), VersionError> {
        verify_folder(&self.layout.version(release), look)
    }

    /// Points `current` at a release, after a full look at it (elastic-agent #14239: a link to a deleted folder).
    ///
    /// # Errors
    /// When the folder is not whole, or the disk fails.
    pub fn switch_to(&self, release: Release) -> Result<(), VersionError> {
        self.verify(release, Look::Full)?;
        let link = self.layout.current();
        self.disk
            .point(&link, &Layout::link_target(release))
            .map_err(|source| VersionError::Io { path: link.clone(), source })
    }

    /// Deletes every version folder that is not in `keep`, is not what `current` points at and is not what `running`
    /// runs from (elastic-agent #14699).
    ///
    /// # Errors
    /// When a folder cannot be listed or removed.
    pub fn collect(&self, keep: &BTreeSet<Release>, running: Running) -> Result<Vec<Release>, VersionError> {
        let view = self.view(running)?;
        let runs = match running {
            // Somebody runs from a folder that nobody knows: nothing may go.
            Running::Unknown => return Ok(Vec::new()),
            Running::Nothing => None,
            Running::Release(release) => Some(release),
        };
        let mut removed = Vec::new();
        for release in self.named()? {
            if keep.contains(&release) || view.link == Some(release) || runs == Some(release) {
                continue;
            }
            let path = self.layout.version(release);
            self.disk.remove_folder(&path).map_err(|source| VersionError::Io { path, source })?;
            removed.push(release);
        }
        Ok(removed)
    }

    /// Every folder with the name of a release, whole or not.
    fn named(&self) -> Result<Vec<Release>, VersionError> {
        let folder = self.layout.versions();
        let entries = fs::read_dir(&folder).map_err(|source| VersionError::Io { path: folder, source })?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(names.collect())
    }

    /// Bytes that may still be written where packages and versions lie.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn free_bytes(&self) -> Result<u64, VersionError> {
        let path = self.layout.versions();
        self.disk.free_bytes(&path).map_err(|source| VersionError::Io { path, source })
    }
}

/// Compares a folder with the manifest in it.
pub(crate) fn verify_folder(folder: &Path, look: Look) -> Result<(), VersionError> {
    let manifest = read_limited(&folder.join(MANIFEST), MAX_MANIFEST)
        .map_err(|source| VersionError::Io { path: folder.join(MANIFEST), source })?
        .ok_or_else(|| VersionError::Missing { path: folder.to_owned() })?;
    let manifest =
        Manifest::from_slice(&manifest).map_err(|source| VersionError::Manifest { path: folder.to_owned(), source })?;
    for entry in &manifest.files {
        verify_file(&folder.join(entry.path.as_str()), entry, look)?;
    }
    let wanted: BTreeSet<PathBuf> = manifest.files.iter().map(|entry| folder.join(entry.path.as_str())).collect();
    match first_stranger(folder, &wanted, &folder.join(MANIFEST))? {
        Some(path) => Err(VersionError::Altered { path, what: "the manifest does not name it" }),
        None => Ok(()),
    }
}

fn verify_file(path: &Path, entry: &FileEntry, look: Look) -> Result<(), VersionError> {
    let altered = |what| VersionError::Altered { path: path.to_owned(), what };
    let failed = |source| VersionError::Io { path: path.to_owned(), source };
    let found = fs::symlink_metadata(path).map_err(|_| altered("it is gone"))?;
    if !found.is_file() {
        return Err(altered("it is not a plain file"));
    }
    if found.len() != entry.size {
        return Err(altered("it has another size"));
    }
    if found.permissions().mode() & 0o7777 != entry.mode.bits() {
        return Err(altered("it has other permissions"));
    }
    if look == Look::Full {
        let (_, sha256) = File::open(path).and_then(|file| hash_reader(file, entry.size)).map_err(failed)?;
        if sha256 != entry.sha256 {
            return Err(altered("its contents differ"));
        }
    }
    Ok(())
}

/// A file that the manifest does not name: an engine that reads a whole folder would believe it.
fn first_stranger(folder: &Path, wanted: &BTreeSet<PathBuf>, manifest: &Path) -> Result<Option<PathBuf>, VersionError> {
    let failed = |source| VersionError::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            if let Some(stranger) = first_stranger(&path, wanted, manifest)? {
                return Ok(Some(stranger));
            }
        } else if path != manifest && !wanted.contains(&path) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
