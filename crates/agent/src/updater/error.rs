//! What can go wrong on a host, told so that a person knows what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use watchpost_package::{Sha256Hex, VerifyError};

use super::record_store::RecordError;
use super::rotation::RotationError;
use super::versions::VersionError;
use crate::rules::RulesHostError;
use crate::transport::TransportError;
use crate::unpack::UnpackError;

/// The longest reason that is reported, in characters.
const REASON_CHARS: usize = 600;

/// Why the driver cannot go on with what it has in memory.
#[derive(Debug, thiserror::Error)]
pub(super) enum DriverError {
    /// The folders of the host cannot be used.
    #[error("the host's folders cannot be used")]
    Versions(#[from] VersionError),
    /// Rule packages cannot be worked with.
    #[error("rule packages cannot be worked with")]
    Rules(#[from] RulesHostError),
    /// A decision could not be made durable, so it was not carried out.
    #[error("a decision could not be made durable and was not carried out")]
    Record(#[from] RecordError),
    /// The host's certificates cannot be looked after.
    #[error("the host's certificates cannot be looked after")]
    Rotation(#[from] RotationError),
}

/// Why a release could not be prepared. The running version is untouched.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// There is no room.
    #[error(
        "not enough disk: {needed} bytes are needed and {free} are free; make room; the next release is tried by itself"
    )]
    NotEnoughDisk {
        /// Download, two copies unpacked, and the reserve.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// The disk ran full on the way.
    #[error("not enough disk: it ran full while {doing}; make room; the next release is tried by itself")]
    DiskFull {
        /// What was being written.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The release is not to be believed.
    #[error("the release was refused")]
    Trust(#[source] VerifyError),
    /// The check-in named another package than the two repositories.
    #[error("the server's check-in and the signed repositories differ about {name}; nothing was installed")]
    Differs {
        /// The target.
        name: String,
    },
    /// Nobody vouches for a file that somebody brought.
    #[error("no release that is signed has the SHA-256 {sha256}; it is not installed")]
    Stranger {
        /// Of the file.
        sha256: Sha256Hex,
    },
    /// The package did not arrive.
    #[error("the package could not be downloaded")]
    Download(#[source] TransportError),
    /// A file could not be written or read.
    #[error("{path} cannot be written; check that the disk is sound")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was extracted is not right.
    #[error("the new version folder cannot be used")]
    Version(#[source] VersionError),
    /// It could not be unpacked.
    #[error("the release could not be unpacked")]
    Unpack(#[source] UnpackError),
    /// The work was cut short.
    #[error("the preparation was interrupted; it is tried again")]
    Interrupted,
}

impl PrepareError {
    /// Whether trying again before the staging deadline may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Download(_) | Self::Interrupted => true,
            Self::Unpack(error) => error.is_retryable(),
            Self::Trust(error) => error.is_transport() || error.is_expiry(),
            Self::NotEnoughDisk { .. }
            | Self::DiskFull { .. }
            | Self::Differs { .. }
            | Self::Stranger { .. }
            | Self::Io { .. }
            | Self::Version(_) => false,
        }
    }

    /// This error, or `DiskFull` if that is what lies at its bottom.
    #[must_use]
    pub fn or_disk_full(self, doing: &'static str) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(&self);
        while let Some(error) = next {
            let is_full = error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            if is_full {
                return Self::DiskFull { doing, source: io::ErrorKind::StorageFull.into() };
            }
            next = error.source();
        }
        self
    }
}

/// An error and everything below it in one line.
#[must_use]
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        line.push_str(": ");
        line.push_str(&source.to_string());
        next = source.source();
    }
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such_however_deep_it_lies() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let deep = PrepareError::Download(TransportError::Sink(full)).or_disk_full("downloading");
        assert!(matches!(deep, PrepareError::DiskFull { .. }));
        assert!(!deep.is_retryable());
        assert!(in_one_line(&deep).starts_with("not enough disk: it ran full while downloading"), "{deep}");
        let other = PrepareError::Download(TransportError::TooLarge { limit: 3 }).or_disk_full("downloading");
        assert!(matches!(other, PrepareError::Download(_)));
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let source = io::Error::other("a\nb".repeat(1000));
        let line = in_one_line(&PrepareError::Io { path: "x".into(), source });
        assert!(line.len() == REASON_CHARS && !line.contains('\n'));
    }
}
