//! The server's folder: where everything lies, and who may hold it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Largest key file that is read.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// The paths of a server's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// Why a server's folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another server runs on it.
    #[error("another server already runs on {0}; stop it first, or use another folder")]
    Held(PathBuf),
    /// It was not made by `init`.
    #[error("{0} is no server folder yet; make it with `watchpost init --data-dir {0}`")]
    NotFounded(PathBuf),
    /// It is one already.
    #[error("{0} already holds a server; use an empty folder, or start that one with `watchpost serve`")]
    Founded(PathBuf),
    /// A file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Holds the folder for one server until it is dropped.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

impl Folder {
    /// The folder at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its own path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration that `init` writes.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("watchpost.toml")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("watchpost.db")
    }

    /// Keys: readable by the server alone.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// A file among the keys.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.keys().join(name)
    }

    /// Both TUF repositories.
    #[must_use]
    pub fn repositories(&self) -> PathBuf {
        self.0.join("repositories")
    }

    /// The image repository: what may ever run.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.repositories().join("image")
    }

    /// The director repository: what should run here.
    #[must_use]
    pub fn director(&self) -> PathBuf {
        self.repositories().join("director")
    }

    /// Packages that were uploaded and are not published (yet).
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.0.join("uploads")
    }

    /// Makes the folder and its parts, for `init`.
    ///
    /// # Errors
    /// When it holds a server already or cannot be written.
    pub fn found(&self) -> Result<(), FolderError> {
        if self.config().exists() || self.database().exists() {
            return Err(FolderError::Founded(self.0.clone()));
        }
        for part in [self.0.clone(), self.keys(), self.repositories(), self.uploads()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&part);
            made.map_err(|source| FolderError::File { path: part, source })?;
        }
        Ok(())
    }

    /// Takes the folder for one server.
    ///
    /// # Errors
    /// When another server holds it or it was never made.
    pub fn hold(&self) -> Result<Held, FolderError> {
        if !self.database().exists() {
            return Err(FolderError::NotFounded(self.0.clone()));
        }
        let path = self.0.join("server.lock");
        let failed = |source| FolderError::File { path: path.clone(), source };
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Held { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Held(self.0.clone())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When it is absent, too large or cannot be read.
    pub fn read_key(&self, name: &str) -> Result<Vec<u8>, FolderError> {
        let path = self.key(name);
        let failed = |source| FolderError::File { path: path.clone(), source };
        let mut bytes = Vec::new();
        File::open(&path).map_err(failed)?.take(MAX_KEY_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Writes a file that only the server may read, durably.
    ///
    /// # Errors
    /// When it exists already or the disk fails.
    pub fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            File::open(path.parent().unwrap_or(&self.0))?.sync_all()
        };
        write().map_err(|source| FolderError::File { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_at_a_time_holds_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("w"));
        assert!(matches!(folder.hold(), Err(FolderError::NotFounded(_))));
        folder.found().unwrap();
        folder.write_private(&folder.database(), b"").unwrap();
        let held = folder.hold().unwrap();
        assert!(matches!(folder.hold(), Err(FolderError::Held(_))));
        drop(held);
        assert!(folder.hold().is_ok());
        assert!(matches!(folder.found(), Err(FolderError::Founded(_))));
    }
}
