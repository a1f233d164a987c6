//! What a package is: a release of the sensor or a package of rules, as it says inside and as its target is signed.
//!
//! The two never stand for each other: neither verifies as the other, and a rule package holds rules and nothing that runs.

use serde::{Deserialize, Serialize};
use watchpost_core::content::{
    MAX_RULES_JSON, RULES_JSON, RulesError, RulesManifest, SIGMA_FOLDER, SURICATA_FOLDER, SignedRules,
};
use watchpost_core::release::{MAX_RELEASE_JSON, ReleaseError, ReleaseManifest, SignedRelease};

use crate::manifest::{FileEntry, Mode, RELEASE};

/// The custom fields of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Signed {
    /// A release of the sensor.
    Release(SignedRelease),
    /// A package of rules.
    Rules(SignedRules),
}

impl Signed {
    /// What the package is for.
    #[must_use]
    pub fn component(&self) -> &str {
        match self {
            Self::Release(release) => &release.component,
            Self::Rules(rules) => &rules.component,
        }
    }

    /// The fields of a release, if it is one.
    #[must_use]
    pub fn release(&self) -> Option<&SignedRelease> {
        match self {
            Self::Release(release) => Some(release),
            Self::Rules(_) => None,
        }
    }

    /// The fields of a rule package, if it is one.
    #[must_use]
    pub fn rules(&self) -> Option<&SignedRules> {
        match self {
            Self::Release(_) => None,
            Self::Rules(rules) => Some(rules),
        }
    }
}

impl From<SignedRelease> for Signed {
    fn from(release: SignedRelease) -> Self {
        Self::Release(release)
    }
}

impl From<SignedRules> for Signed {
    fn from(rules: SignedRules) -> Self {
        Self::Rules(rules)
    }
}

/// What a package says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A release of the sensor.
    Release(ReleaseManifest),
    /// A package of rules.
    Rules(RulesManifest),
}

/// Why what a package says of itself is refused.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// Neither description, or both.
    #[error("the package must hold exactly one of {RELEASE} and {RULES_JSON}, of a sensible size")]
    Kind,
    /// The release description is wrong.
    #[error("the release description in the package is refused")]
    Release(#[source] ReleaseError),
    /// The rules description is wrong.
    #[error("the rules description in the package is refused")]
    Rules(#[source] RulesError),
    /// A file that has no business in a rule package.
    #[error(
        "{0} has no place in a rule package: it holds {RULES_JSON}, sigma/*.yml and suricata/*.rules, nothing that runs"
    )]
    Stranger(String),
    /// It is another component than was signed.
    #[error("the package is not the {0} that was signed")]
    Component(String),
}

impl Contents {
    /// The fields to sign beside the hash, with the next counter of their kind.
    #[must_use]
    pub fn signed(&self, counter: u64) -> Signed {
        match self {
            Self::Release(release) => Signed::Release(release.signed(counter)),
            Self::Rules(rules) => Signed::Rules(rules.signed(counter)),
        }
    }

    /// Checks that the signed fields describe this very package.
    ///
    /// # Errors
    /// When they are of the other kind, or differ.
    pub fn matches(&self, signed: &Signed) -> Result<(), ContentsError> {
        match (self, signed) {
            (Self::Release(release), Signed::Release(signed)) => {
                release.matches(signed).map_err(ContentsError::Release)
            }
            (Self::Rules(rules), Signed::Rules(signed)) => rules.matches(signed).map_err(ContentsError::Rules),
            (Self::Release(_), Signed::Rules(_)) | (Self::Rules(_), Signed::Release(_)) => {
                Err(ContentsError::Component(signed.component().to_owned()))
            }
        }
    }

    /// The release, if it is one.
    #[must_use]
    pub fn release(&self) -> Option<&ReleaseManifest> {
        match self {
            Self::Release(release) => Some(release),
            Self::Rules(_) => None,
        }
    }

    /// The rule package, if it is one.
    #[must_use]
    pub fn rules(&self) -> Option<&RulesManifest> {
        match self {
            Self::Release(_) => None,
            Self::Rules(rules) => Some(rules),
        }
    }

    /// The name and the bytes of the description.
    pub(crate) fn description(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Release(release) => (RELEASE, release.to_vec()),
            Self::Rules(rules) => (RULES_JSON, rules.to_vec()),
        }
    }

    /// Reads the description among the files of a package, and checks that the files are of its kind.
    pub(crate) fn read(found: Descriptions, files: &[FileEntry]) -> Result<Self, ContentsError> {
        match (found.release, found.rules) {
            (Some(bytes), None) => {
                ReleaseManifest::from_slice(&bytes).map(Self::Release).map_err(ContentsError::Release)
            }
            (None, Some(bytes)) => {
                let rules = RulesManifest::from_slice(&bytes).map_err(ContentsError::Rules)?;
                match files.iter().find(|file| !belongs_to_rules(file)) {
                    Some(stranger) => Err(ContentsError::Stranger(stranger.path.to_string())),
                    None => Ok(Self::Rules(rules)),
                }
            }
            (None, None) | (Some(_), Some(_)) => Err(ContentsError::Kind),
        }
    }
}

/// Whether a file may lie in a rule package: the description, and rules in the folder of their engine, one level deep.
fn belongs_to_rules(file: &FileEntry) -> bool {
    let path = file.path.as_str();
    let is_rule = |folder: &str, ending: &str| {
        path.strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|name| !name.contains('/') && name.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()))
    };
    let is_known = path == RULES_JSON || is_rule(SIGMA_FOLDER, ".yml") || is_rule(SURICATA_FOLDER, ".rules");
    is_known && file.mode == Mode::Plain
}

/// The descriptions that passed by while a package was read.
#[derive(Default)]
pub(crate) struct Descriptions {
    pub(crate) release: Option<Vec<u8>>,
    pub(crate) rules: Option<Vec<u8>>,
}

impl Descriptions {
    /// Where to keep this file's bytes, if it is a description of a sensible size.
    pub(crate) fn place(&mut self, entry: &FileEntry) -> Option<&mut Option<Vec<u8>>> {
        match entry.path.as_str() {
            RELEASE if entry.size <= MAX_RELEASE_JSON as u64 => Some(&mut self.release),
            RULES_JSON if entry.size <= MAX_RULES_JSON as u64 => Some(&mut self.rules),
            _ => None,
        }
    }
}
