//! Why a host does not believe what it was served.

use std::io;
use std::path::PathBuf;

use watchpost_core::version::Version;

use crate::contents::ContentsError;
use crate::digest::Sha256Hex;
use crate::extract::ExtractError;

use super::mailbox::FetchError;
use super::verifier::{FIRST_ROOT, Repo};

/// Why something is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file of the trust folder cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Both copies of the floor are gone.
    #[error("the rollback floor in {0} is lost: look at the disk, then set this host up anew")]
    FloorLost(PathBuf),
    /// The director's first root could not be fetched.
    #[error("the first root of the director could not be fetched")]
    Fetch(#[source] FetchError),
    /// The director has no first root.
    #[error("the director has no {FIRST_ROOT}")]
    NoDirectorRoot,
    /// The director is another one than the access key names.
    #[error(
        "the director's first root has SHA-256 {is} and the access key names {expected}: this is another control plane"
    )]
    DirectorRoot {
        /// From the access key.
        expected: Sha256Hex,
        /// What was served.
        is: Sha256Hex,
    },
    /// sigstore-tuf refuses the metadata, or it could not be fetched.
    #[error("the {repo} repository is refused")]
    Refused {
        /// Which repository.
        repo: Repo,
        /// Why.
        #[source]
        source: Box<sigstore_tuf::Error>,
    },
    /// The director names no keys of the server, or none that can be read.
    #[error("the director names no keys of the server; those that this host trusts already stay")]
    NoServerKeys,
    /// A document is older than one this host has seen.
    #[error("the {role} of the {repo} repository went back from {floor} to {offered}")]
    Rollback {
        /// Which repository.
        repo: Repo,
        /// Which document.
        role: &'static str,
        /// The highest version seen.
        floor: u64,
        /// The version offered.
        offered: u64,
    },
    /// Verified metadata could not be kept.
    #[error("verified metadata could not be kept: free space on the disk")]
    Store(#[source] io::Error),
    /// `approve` before `refresh`.
    #[error("nothing can be approved before a refresh has succeeded")]
    NotRefreshed,
    /// A name that no target has.
    #[error("“{0}” is no target name")]
    Name(String),
    /// One of the repositories does not name the target, or not as anything we know.
    #[error(
        "the {repo} repository does not name {name} as a package of ours: only what both repositories name is installed"
    )]
    NotNamed {
        /// Which repository.
        repo: Repo,
        /// The target.
        name: String,
    },
    /// The repositories mean different things by the name.
    #[error("the two repositories differ in the {field} of {name}")]
    Differ {
        /// The target.
        name: String,
        /// `length`, `sha256` or `custom`.
        field: &'static str,
    },
    /// A package for something else.
    #[error("{name} is a package of component “{component}”, not of “{wanted}”")]
    Component {
        /// The target.
        name: String,
        /// What it is for.
        component: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// An older release than one that was committed here.
    #[error("{component} number {offered} is older than number {floor}, which was committed on this host")]
    Counter {
        /// Of which component.
        component: &'static str,
        /// The highest committed.
        floor: u64,
        /// The one offered.
        offered: u64,
    },
    /// The running version is too old to be updated directly.
    #[error("this release needs version {needs} or newer to start from, and {runs} runs: install one in between")]
    Base {
        /// The oldest base.
        needs: Version,
        /// What runs.
        runs: Version,
    },
    /// The package is not what was approved.
    #[error("the package is refused")]
    Package(#[source] Box<ExtractError>),
    /// The package is another one than its target says.
    #[error("the package is another one than was signed")]
    Contents(#[source] ContentsError),
}

impl VerifyError {
    /// Whether nothing was found wrong yet: the files could not be fetched, so trying again later makes sense.
    #[must_use]
    pub fn is_transport(&self) -> bool {
        match self {
            Self::Refused { source, .. } => matches!(**source, sigstore_tuf::Error::Transport { .. }),
            Self::Fetch(_) | Self::NoDirectorRoot => true,
            Self::Io { .. }
            | Self::FloorLost(_)
            | Self::DirectorRoot { .. }
            | Self::Rollback { .. }
            | Self::Store(_)
            | Self::NoServerKeys
            | Self::NotRefreshed
            | Self::Name(_)
            | Self::NotNamed { .. }
            | Self::Differ { .. }
            | Self::Component { .. }
            | Self::Counter { .. }
            | Self::Base { .. }
            | Self::Package(_)
            | Self::Contents(_) => false,
        }
    }

    /// Whether metadata has expired: updates wait, the sensor does not (decision 8).
    #[must_use]
    pub fn is_expiry(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if matches!(**source, sigstore_tuf::Error::Expired { .. }))
    }
}
