//! What a rule package says about itself: `rules.json` inside, the signed fields of its TUF target, and its file's name.
//!
//! Only values and their validation. Where the bytes come from and whether they may be believed is `package`'s business.

use serde::{Deserialize, Serialize};

use super::RULES_COMPONENT;
use crate::release::{MAX_NOTES, MAX_RULES};
use crate::time::Timestamp;

/// Name of the description inside a rule package.
pub const RULES_JSON: &str = "rules.json";
/// Folder of the Sigma rules inside a rule package.
pub const SIGMA_FOLDER: &str = "sigma";
/// Folder of the Suricata rules inside a rule package.
pub const SURICATA_FOLDER: &str = "suricata";
/// Largest `rules.json`, in bytes.
pub const MAX_RULES_JSON: usize = 64 * 1024;
/// The build date of any honest package lies in these years: 2000 to 2999.
const YEARS: std::ops::Range<i64> = 946_684_800_000..32_503_680_000_000;

/// `rules.json`, written by the author of the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RulesManifest {
    /// When it was built: its version, in whole seconds.
    pub build: Timestamp,
    /// What changed, for people.
    #[serde(default)]
    pub notes: String,
    /// How many Sigma rules an engine must load from it.
    #[serde(default)]
    pub sigma_expected: u32,
    /// How many Suricata rules an engine must load from it.
    #[serde(default)]
    pub suricata_expected: u32,
}

/// The custom fields of a rule package's TUF target. Both repositories must carry the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedRules {
    /// What the package is for; [`RULES_COMPONENT`].
    pub component: String,
    /// When it was built.
    pub build: Timestamp,
    /// Grows by one with every rule package the author signs; a host never goes below the highest one it committed.
    pub rules_counter: u64,
}

/// Why the description of a rule package is refused.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Larger than any honest one.
    #[error("{RULES_JSON} has {0} bytes, more than the {MAX_RULES_JSON} allowed")]
    TooLarge(usize),
    /// Not the JSON it should be.
    #[error("{RULES_JSON} cannot be read: field {field} is wrong")]
    Syntax {
        /// Path of the field.
        field: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The build date cannot be one.
    #[error("build {0} is no build date: give an instant in whole seconds, such as 2026-11-25T12:00:00Z")]
    Build(Timestamp),
    /// The notes are too long.
    #[error("the notes have {0} bytes, more than the {MAX_NOTES} allowed; shorten them")]
    Notes(usize),
    /// It promises no rules, or too many.
    #[error("{RULES_JSON} promises {0} rules: a package carries 1 to {MAX_RULES}")]
    Rules(u64),
    /// The signed fields speak of something else than the package.
    #[error("the signed target says build {signed}, the package says {packed}: sign the package again")]
    Differs {
        /// What the target says.
        signed: Timestamp,
        /// What `rules.json` says.
        packed: Timestamp,
    },
}

impl RulesManifest {
    /// Reads and validates `rules.json`.
    ///
    /// # Errors
    /// When it is too large, not exactly this shape, or its values make no sense.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, RulesError> {
        if bytes.len() > MAX_RULES_JSON {
            return Err(RulesError::TooLarge(bytes.len()));
        }
        let reader = &mut serde_json::Deserializer::from_slice(bytes);
        let manifest: Self = serde_path_to_error::deserialize(&mut *reader)
            .map_err(|e| RulesError::Syntax { field: e.path().to_string(), source: e.into_inner() })?;
        reader.end().map_err(|source| RulesError::Syntax { field: "(after the end)".to_owned(), source })?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The bytes of `rules.json`, always the same for the same package.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Checks the values against their limits.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn validate(&self) -> Result<(), RulesError> {
        if self.notes.len() > MAX_NOTES {
            return Err(RulesError::Notes(self.notes.len()));
        }
        if !is_build(self.build) {
            return Err(RulesError::Build(self.build));
        }
        let promised = u64::from(self.sigma_expected) + u64::from(self.suricata_expected);
        if promised == 0 || promised > u64::from(MAX_RULES) {
            return Err(RulesError::Rules(promised));
        }
        Ok(())
    }

    /// The fields that are signed beside the package's hash.
    #[must_use]
    pub fn signed(&self, rules_counter: u64) -> SignedRules {
        SignedRules { component: RULES_COMPONENT.to_owned(), build: self.build, rules_counter }
    }

    /// Checks that the signed fields describe this very package.
    ///
    /// # Errors
    /// When the build date differs.
    pub fn matches(&self, signed: &SignedRules) -> Result<(), RulesError> {
        if self.build == signed.build {
            Ok(())
        } else {
            Err(RulesError::Differs { signed: signed.build, packed: self.build })
        }
    }
}

/// Whether an instant can be the build date of a package: whole seconds in a sensible year.
fn is_build(build: Timestamp) -> bool {
    build.millis() % 1_000 == 0 && YEARS.contains(&build.millis())
}

/// A build date as it stands in names of files: `20261125t120000`.
#[must_use]
pub fn build_stamp(build: Timestamp) -> String {
    let plain = |c: &char| c.is_ascii_digit() || *c == 'T';
    build.to_string().chars().filter(plain).map(|c| c.to_ascii_lowercase()).collect()
}

/// The file name of the package with this build date: flat and lower-case, as a target's name must be.
#[must_use]
pub fn rules_file_name(build: Timestamp) -> String {
    format!("watchpost-rules-{}.cab", build_stamp(build))
}

/// How many rules a file for Suricata holds: lines that are no comment and name a `sid:`. Counted, not judged; whether
/// they load is for the engine to say.
#[must_use]
pub fn count_suricata_rules(text: &[u8]) -> u32 {
    let is_rule = |line: &&[u8]| {
        let line = line.trim_ascii();
        !line.starts_with(b"#") && line.windows(4).any(|four| four == b"sid:")
    };
    u32::try_from(text.split(|byte| *byte == b'\n').filter(is_rule).count()).unwrap_or(u32::MAX)
}
