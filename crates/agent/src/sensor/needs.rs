//! What the release needs of this host, checked before anything is started.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use watchpost_core::release::{MAX_RELEASE_JSON, Needs, ReleaseError, ReleaseManifest};

/// Why this release cannot run on this host.
#[derive(Debug, thiserror::Error)]
pub enum NeedsError {
    /// The folder of the release holds no `release.json` that can be read.
    #[error("{path} cannot be read; the release is damaged and has to be installed again")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `release.json` is not valid.
    #[error("{path} is not valid; the release is damaged and has to be installed again")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReleaseError,
    },
    /// The host allows fewer open files than the release needs.
    #[error(
        "this release needs {needed} open files and the host allows {allowed}; raise the hard limit (RLIMIT_NOFILE) \
         of the service"
    )]
    FileDescriptors {
        /// What the release needs.
        needed: u32,
        /// What the host allows.
        allowed: u64,
    },
}

/// Reads `release.json` of the release in `folder`.
///
/// # Errors
/// When it is missing, too large or invalid.
pub fn read_release(folder: &Path) -> Result<ReleaseManifest, NeedsError> {
    let path = folder.join("release.json");
    let mut bytes = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_RELEASE_JSON as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| NeedsError::Unreadable { path: path.clone(), source })?;
    ReleaseManifest::from_slice(&bytes).map_err(|source| NeedsError::Invalid { path, source })
}

/// The hard limit of open files of this process; `None` if there is none.
#[must_use]
pub fn open_files_allowed() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Checks what the release needs against what the host allows.
///
/// # Errors
/// When the host allows less.
pub fn check(needs: Needs, open_files_allowed: Option<u64>) -> Result<(), NeedsError> {
    match open_files_allowed {
        Some(allowed) if allowed < u64::from(needs.file_descriptors) => {
            Err(NeedsError::FileDescriptors { needed: needs.file_descriptors, allowed })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_allows_too_few_open_files_is_told_so_in_one_line() {
        let needs = Needs { file_descriptors: 1024 };
        check(needs, Some(1024)).unwrap();
        check(needs, None).unwrap();
        let refused = check(needs, Some(1023)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "this release needs 1024 open files and the host allows 1023; raise the hard limit (RLIMIT_NOFILE) of \
             the service"
        );
    }

    #[test]
    fn a_missing_or_damaged_release_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_release(folder.path()), Err(NeedsError::Unreadable { .. })));
        std::fs::write(folder.path().join("release.json"), "{}").unwrap();
        assert!(matches!(read_release(folder.path()), Err(NeedsError::Invalid { .. })));
        let whole = r#"{"version":"2.255.1.0","rulesExpected":6,"needs":{"fileDescriptors":9}}"#;
        std::fs::write(folder.path().join("release.json"), whole).unwrap();
        assert_eq!(read_release(folder.path()).unwrap().needs.file_descriptors, 9);
    }
}
