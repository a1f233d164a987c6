//! What the updater remembers over a crash: one small record, written whole or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::restart::RestartNeed;
use crate::sync::TargetRef;
use crate::time::Timestamp;
use crate::version::Version;

/// A release as it lies on the disk: a version and the first 32 bits of its package's SHA-256.
///
/// Text form and folder name: `2.255.1.0-0a1b2c3d`. Two packages of one version are two releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The version.
    pub version: Version,
    digest: u32,
}

/// A text that names no release folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not a version folder: it should read like 2.255.1.0-0a1b2c3d")]
pub struct ReleaseParseError(String);

/// Hex digits of the package's hash that a folder name carries.
const DIGEST_DIGITS: usize = 8;

impl Release {
    /// The release of this version whose package has this SHA-256 (lower-case hex); `None` when the text is no hash.
    #[must_use]
    pub fn new(version: Version, sha256: &str) -> Option<Self> {
        let digits = sha256.get(..DIGEST_DIGITS)?;
        let is_hex = sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex {
            return None;
        }
        u32::from_str_radix(digits, 16).ok().map(|digest| Self { version, digest })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.version, self.digest)
    }
}

impl FromStr for Release {
    type Err = ReleaseParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ReleaseParseError(text.to_owned());
        let (version, digest) = text.split_once('-').ok_or_else(refuse)?;
        if digest.len() != DIGEST_DIGITS {
            return Err(refuse());
        }
        Self::new(version.parse().map_err(|_| refuse())?, digest).ok_or_else(refuse)
    }
}

impl Serialize for Release {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Release {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Why `current` is being pointed elsewhere. Going back is the same path with another target (wazuh #9449).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "why")]
pub enum Purpose {
    /// The control plane wants this release.
    Update {
        /// What is to be restarted after it, besides the sensor.
        #[serde(default)]
        restart: RestartNeed,
    },
    /// The release that was tried is given up; why stands in [`Record::last_failure`].
    GoBack {
        /// When the host had switched to the release that is given up.
        switched_at: Timestamp,
    },
}

/// Where the host is with an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// Nothing under way: [`Record::committed`] runs.
    #[default]
    Committed,
    /// A release is being fetched, verified and extracted; the committed one runs.
    Preparing {
        /// What is wanted.
        to: Release,
        /// Its package.
        target: TargetRef,
        /// When it was handed out.
        since: Timestamp,
    },
    /// The release lies verified on the disk and needs a restart that was not allowed yet; the committed one runs.
    Staged {
        /// What is staged.
        to: Release,
        /// What it needs.
        restart: RestartNeed,
    },
    /// `current` is about to be, or has just been, pointed at another release.
    Switching {
        /// What ran until then.
        from: Option<Release>,
        /// What is to run.
        to: Release,
        /// Update, or way back.
        purpose: Purpose,
    },
    /// `current` points at the new release, which needs more than the sensor restarted; what ran goes on until then.
    Restarting {
        /// What to go back to.
        from: Option<Release>,
        /// What waits for the restart.
        to: Release,
        /// What it needs.
        restart: RestartNeed,
        /// The boot of the host during which it was switched to: another one means that the host has restarted.
        boot: String,
        /// How often it was asked for; counted before each time.
        asked: u32,
    },
    /// The new release has been switched to and must show that it starts here.
    Trial {
        /// What to go back to.
        from: Option<Release>,
        /// What is on trial.
        to: Release,
        /// When it was switched to.
        switched_at: Timestamp,
        /// Starts begun; counted before each start, so that a start that takes the host down counts.
        starts: u32,
        /// Starts seen to fail.
        failed: u32,
    },
    /// The new release has started and waits for the server's clearance.
    AwaitingClearance {
        /// What to go back to.
        from: Option<Release>,
        /// What waits.
        to: Release,
        /// When it was switched to.
        switched_at: Timestamp,
        /// How often its sensor has died since it was ready.
        crashes: u32,
    },
}

/// An attempt that ended badly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What was attempted.
    pub version: Version,
    /// Whether the host had switched.
    pub reverted: bool,
    /// Why, in one line for a person.
    pub reason: String,
    /// When it was given up.
    pub at: Timestamp,
    /// The desired generation it was attempted under: a retry must be ordered by a newer one.
    pub generation: u64,
}

/// Everything the updater must not forget. Fields that later versions add have defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// What runs when nothing is under way; `None` before the first installation.
    pub committed: Option<Release>,
    /// What ran before it; kept on the disk.
    pub previous: Option<Release>,
    /// The update under way.
    pub phase: Phase,
    /// The newest desired generation seen. An older one is refused.
    pub generation: u64,
    /// Versions gone back from, each with the desired generation it failed under.
    pub bad_versions: BTreeMap<Version, u64>,
    /// The last attempt, if it ended badly.
    pub last_failure: Option<Failure>,
    /// No instant before this one is believed when the expiry of metadata is judged (decision 27).
    pub time_floor: Timestamp,
    /// Whether an unreadable record had to be made up from what lay on the disk.
    pub derived_from_disk: bool,
}

impl Record {
    /// The record of a host that runs `release` and has nothing under way.
    #[must_use]
    pub fn committed(release: Release) -> Self {
        Self { committed: Some(release), ..Self::default() }
    }

    /// Why this version is not tried here by itself: it was gone back from, or its last attempt failed.
    #[must_use]
    pub fn known_bad(&self, version: Version) -> Option<&str> {
        let failure = self.last_failure.as_ref().filter(|failure| failure.version == version);
        let reason = failure.map(|failure| failure.reason.as_str());
        reason.or_else(|| self.bad_versions.contains_key(&version).then_some("the host went back from it"))
    }

    /// The releases that must stay on the disk.
    #[must_use]
    pub fn in_use(&self) -> std::collections::BTreeSet<Release> {
        let (from, to) = match &self.phase {
            Phase::Committed => (None, None),
            Phase::Preparing { to, .. } | Phase::Staged { to, .. } => (None, Some(*to)),
            Phase::Switching { from, to, .. }
            | Phase::Restarting { from, to, .. }
            | Phase::Trial { from, to, .. }
            | Phase::AwaitingClearance { from, to, .. } => (*from, Some(*to)),
        };
        [self.committed, self.previous, from, to].into_iter().flatten().collect()
    }
}
