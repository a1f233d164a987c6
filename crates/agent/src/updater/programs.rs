//! The programs of updaters that came with releases, and the record of which of them is to run (E16).
//!
//! A program gets its name when it lies whole on the disk, and is read in full before every start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use watchpost_core::succession::{Program, Succession};
use watchpost_package::manifest::Mode;
use watchpost_package::{Sha256Hex, hash_reader};

use super::layout::Layout;
use super::record_store::{RecordError, RecordStore};
use super::versions::UPDATER_PROGRAM;
use crate::host::disk::{Disk, random_name, read_limited};

/// The largest program: far beyond any real one.
const PROGRAM_BYTES: u64 = 256 * 1024 * 1024;

/// Why a program cannot be laid ready.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The file cannot be read or written.
    #[error("the updater's program {path} cannot be laid ready; check that the disk has room")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not what the manifest says.
    #[error("{path} is not the program that was signed")]
    Altered {
        /// Which.
        path: PathBuf,
    },
}

/// Programs of one host, and their record.
#[derive(Clone)]
pub struct Programs {
    layout: Layout,
    disk: Disk,
    record: RecordStore<Succession>,
}

impl Programs {
    /// Those of the host with this layout.
    #[must_use]
    pub fn new(layout: &Layout, disk: Disk) -> Self {
        let record = RecordStore::at(layout.succession_slots(), disk.clone());
        Self { layout: layout.clone(), disk, record }
    }

    /// The record. Without a readable one what was installed runs, and finds its successor anew.
    #[must_use]
    pub fn succession(&self) -> Succession {
        self.record.read().unwrap_or_default()
    }

    /// Makes the record durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep(&self, succession: &Succession) -> Result<(), RecordError> {
        self.record.write(succession)
    }

    /// Where a program lies; `None`: it has no name that could be one.
    #[must_use]
    pub fn path(&self, program: &Program) -> Option<PathBuf> {
        Some(self.layout.programs().join(program.file_name()?))
    }

    /// Whether a program lies there whole.
    #[must_use]
    pub fn is_whole(&self, program: &Program) -> bool {
        self.path(program).and_then(|path| hash_of(&path).ok()).is_some_and(|found| found == program.sha256)
    }

    /// Lays a copy of the program in a version folder ready, durable and verified.
    ///
    /// # Errors
    /// When it cannot be copied, or is not what the manifest says.
    pub fn lay_ready(&self, folder: &Path, program: &Program) -> Result<(), ProgramError> {
        let from = folder.join(UPDATER_PROGRAM);
        let to = self.path(program).ok_or_else(|| ProgramError::Altered { path: from.clone() })?;
        if self.is_whole(program) {
            return Ok(());
        }
        let failed = |source| ProgramError::Io { path: to.clone(), source };
        let bytes = read_limited(&from, PROGRAM_BYTES).map_err(failed)?.unwrap_or_default();
        if Sha256Hex::of(&bytes).to_string() != program.sha256 {
            return Err(ProgramError::Altered { path: from });
        }
        // Swept at the next start if it is not finished.
        let beside = self.layout.programs().join(random_name(".staging-"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(Mode::Executable.bits());
        let mut file = options.open(&beside).map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        // Whatever the mask of this service is.
        file.set_permissions(fs::Permissions::from_mode(Mode::Executable.bits())).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.disk.publish(&beside, &to).map_err(failed)
    }

    /// Removes programs that nobody needs. What cannot be removed stays for the next time.
    pub fn collect(&self, succession: &Succession) {
        let keep: Vec<PathBuf> = succession.in_use().filter_map(|program| self.path(program)).collect();
        let Ok(entries) = fs::read_dir(self.layout.programs()) else { return };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !keep.contains(path)) {
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "an updater that is not needed any more is removed"),
                Err(error) => tracing::warn!(path = %path.display(), "an updater cannot be removed: {error}"),
            }
        }
    }
}

/// SHA-256 of a program, lower-case hex.
pub(crate) fn hash_of(path: &Path) -> io::Result<String> {
    let (_, sha256) = hash_reader(File::open(path)?, PROGRAM_BYTES)?;
    Ok(sha256.to_string())
}
