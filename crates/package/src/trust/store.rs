//! Where a host keeps the metadata it has verified: fsynced, and a failure is remembered.
//!
//! sigstore-tuf only warns when a store fails, and takes a torn file for an absent one. The floor makes that harmless.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sigstore_tuf::{Error, MetadataStore};

use crate::durable;

/// Largest metadata file, in bytes.
const MAX_METADATA: u64 = 5_000_000;
/// Longest file name, in bytes (Linux).
const MAX_NAME: usize = 255;

/// Which documents are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The four roles of the top: whatever else a repository names never becomes a path.
    TopLevel,
    /// Delegated roles too, by their quoted names. Our own repositories have none.
    Delegations,
}

/// A metadata store in a folder.
#[derive(Clone, Debug)]
pub(super) struct DurableStore {
    dir: PathBuf,
    kept: Kept,
    failure: Arc<Mutex<Option<std::io::Error>>>,
}

impl DurableStore {
    pub(super) fn open(dir: &Path, kept: Kept) -> std::io::Result<Self> {
        durable::make_private_dir(&dir.join("root_history"))?;
        Ok(Self { dir: dir.to_owned(), kept, failure: Arc::default() })
    }

    /// The first failure since the last call.
    pub(super) fn take_failure(&self) -> Option<std::io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Only the names that matter to the next run; a name of a repository's choosing never becomes a path.
    fn place(&self, name: &str) -> Option<PathBuf> {
        let numbered = |stem: &str| !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit());
        let root = name.strip_prefix("root_history/").and_then(|name| name.strip_suffix(".root.json"));
        let top = matches!(name, "root.json" | "timestamp.json" | "snapshot.json" | "targets.json");
        let is_kept = top || root.is_some_and(numbered) || (self.kept == Kept::Delegations && is_quoted_role(name));
        is_kept.then(|| self.dir.join(name))
    }
}

/// A delegated role as the client quotes it: letters, digits and what needs no quotes, and no version before it.
fn is_quoted_role(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~' | b'%');
    let versioned = name.split_once('.').is_some_and(|(first, _)| first.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= MAX_NAME
        && name.ends_with(".json")
        && name.bytes().all(plain)
        && (!versioned || name.starts_with('.'))
}

impl MetadataStore for DurableStore {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let Some(path) = self.place(name) else { return Ok(None) };
        durable::read_limited(&path, MAX_METADATA).map_err(|e| Error::io(format!("reading {}", path.display()), e))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        let Some(path) = self.place(name) else { return Ok(()) };
        if std::fs::read(&path).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        durable::write_atomic(&path, bytes, 0o600).map_err(|error| {
            let told = std::io::Error::new(error.kind(), error.to_string());
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
            Error::io(format!("writing {}", path.display()), error)
        })
    }
}

/// A store for one look: nothing is kept.
pub(crate) struct KeepNothing;

impl MetadataStore for KeepNothing {
    fn load(&self, _: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    fn store(&self, _: &str, _: &[u8]) -> sigstore_tuf::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_are_kept_and_a_failure_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableStore::open(dir.path(), Kept::TopLevel).unwrap();
        for name in ["timestamp.json", "root_history/2.root.json"] {
            store.store(name, b"x").unwrap();
            assert_eq!(store.load(name).unwrap().unwrap(), b"x");
        }
        for name in ["../x", "2.snapshot.json", "root_history/../../x.root.json", "evil.json", "/etc/passwd"] {
            store.store(name, b"x").unwrap();
            assert!(store.load(name).unwrap().is_none());
        }
        assert!(store.take_failure().is_none());
        std::fs::remove_dir_all(dir.path()).unwrap();
        store.store("targets.json", b"x").unwrap_err();
        assert!(store.take_failure().is_some());
    }

    #[test]
    fn delegated_roles_are_kept_under_their_quoted_names_where_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableStore::open(dir.path(), Kept::Delegations).unwrap();
        for name in ["A.json", "%2Fetc%2Fpasswd.json", "..%2Frole.json", "%3F.json"] {
            store.store(name, b"x").unwrap();
            assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), b"x", "{name}");
        }
        let long = "a".repeat(255) + ".json";
        for name in ["2.snapshot.json", "7.A.json", "../x.json", "/x.json", "a/b.json", "x", long.as_str()] {
            store.store(name, b"x").unwrap();
            assert!(store.load(name).unwrap().is_none(), "{name}");
        }
    }
}
