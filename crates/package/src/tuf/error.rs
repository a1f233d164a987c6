//! Why a repository cannot be written.

use std::io;
use std::path::{Path, PathBuf};

use crate::extract::ExtractError;

use super::key::KeyError;

/// Why a repository cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no whole repository.
    #[error("{0} holds no whole repository: a metadata file is missing")]
    Absent(PathBuf),
    /// There is a repository already.
    #[error("{0} exists: a repository or key is never overwritten, choose another folder")]
    Exists(PathBuf),
    /// A key cannot be made, read or kept.
    #[error("a key cannot be used")]
    Key(#[source] KeyError),
    /// Metadata that its keys do not vouch for, so it must not be built upon.
    #[error("{file} is refused: restore the repository from a copy that its keys have signed")]
    Refused {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: Box<sigstore_tuf::Error>,
    },
    /// A value that cannot be signed.
    #[error("the {role} metadata cannot be written in canonical form")]
    Canonical {
        /// Which role.
        role: &'static str,
    },
    /// Too few keys at hand.
    #[error("the {role} role needs {threshold} signatures and {have} of its keys are here: add the missing key files")]
    TooFewKeys {
        /// Which role.
        role: &'static str,
        /// How many are needed.
        threshold: usize,
        /// How many there are.
        have: usize,
    },
    /// A key that a rotation names and nobody knows.
    #[error("there is no key “{name}” to replace; there is: {known}")]
    NoKey {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A rotation of the root was cut off.
    #[error(
        "a rotation of the root was cut off, its new keys wait in {0}: run the rotation again, it goes on from there"
    )]
    CutOff(PathBuf),
    /// A target name that not every client reads alike.
    #[error("“{0}” is no target name: use lower-case letters, digits, . - _ and the ending .cab")]
    Name(String),
    /// A rule package whose build date or name does not fit what was signed before.
    #[error("the rule package is not signed: {0}")]
    Rules(String),
    /// A release that was signed is never replaced by other bytes.
    #[error("{0} is already signed with other bytes: give the release a higher version")]
    Taken(String),
    /// The package is not one a host would take.
    #[error("the package is refused")]
    Package(#[source] Box<ExtractError>),
}

impl RepositoryError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn refused(file: impl Into<String>) -> impl FnOnce(sigstore_tuf::Error) -> Self {
        let file = file.into();
        move |source| Self::Refused { file, source: Box::new(source) }
    }
}

impl From<KeyError> for RepositoryError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}
