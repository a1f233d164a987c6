//! What a release says about itself: `release.json` in its package, and the signed fields of its TUF target.
//!
//! Only values and their validation. Where the bytes come from and whether they may be believed is `package`'s business.

pub mod terms;

use semver::Version as Semver;
use serde::{Deserialize, Serialize};

use self::terms::{MAX_SYSTEMS, SystemLine};
use crate::restart::RestartNeed;
use crate::time::Timestamp;
use crate::version::Version;

/// Longest release notes, in bytes.
pub const MAX_NOTES: usize = 4_000;
/// Most rules a release may announce.
pub const MAX_RULES: u32 = 100_000;
/// Most open files a release may ask of a host.
pub const MAX_FILE_DESCRIPTORS: u32 = 1_048_576;
/// Largest `release.json`, in bytes.
pub const MAX_RELEASE_JSON: usize = 64 * 1024;
/// The component every package of the demo carries; a target of another component is never installed as a sensor.
pub const SENSOR_COMPONENT: &str = "sensor";

/// How much a release changes (feature E1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseKind {
    /// The usual one.
    #[default]
    Minor,
    /// Changes more than the sensor itself may; can declare a restart.
    Major,
    /// A repair of the release before.
    Hotfix,
}

/// What a release needs of a host; a sensor refuses to start where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Needs {
    /// Open files the host's hard limit must allow; 0 asks for nothing.
    #[serde(default)]
    pub file_descriptors: u32,
}

/// `release.json`, written by the author of the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseManifest {
    /// The version this release is.
    pub version: Version,
    /// How much it changes.
    #[serde(default)]
    pub kind: ReleaseKind,
    /// What changed, for people.
    #[serde(default)]
    pub notes: String,
    /// The oldest version that can be updated to this one directly; `None`: any.
    #[serde(default)]
    pub minimum_base_version: Option<Version>,
    /// How many rules the engine must have loaded for the release to count as whole.
    pub rules_expected: u32,
    /// How many Suricata rules of the release must be loaded where that engine runs. Only written when there are any:
    /// hosts that do not know the field refuse it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suricata_rules_expected: u32,
    /// What it needs of a host.
    #[serde(default)]
    pub needs: Needs,
    /// The restart that it needs, which a major release alone may ask for. Only written where there is one.
    #[serde(default, skip_serializing_if = "is_no_restart")]
    pub restart: RestartNeed,
    /// Operating systems that it runs on; none named: any. Sensors on others are passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operating_systems: Vec<SystemLine>,
    /// The oldest control plane that may publish it, such as `1.4.0`; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_control_plane_version: Option<Semver>,
    /// Until when its author supports it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supported_until: Option<Timestamp>,
    /// Whether its author recommends it above others, for people.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recommended: bool,
}

/// The custom fields of a release's TUF target. Both repositories must carry the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedRelease {
    /// What the package is for; [`SENSOR_COMPONENT`].
    pub component: String,
    /// The version inside.
    pub version: Version,
    /// Grows by one with every release the author signs; a host never goes below the highest one it committed.
    pub release_counter: u64,
    /// The oldest version that can be updated to this one directly; `None`: any.
    pub minimum_base_version: Option<Version>,
}

/// Why a release description is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Larger than any honest one.
    #[error("release.json has {0} bytes, more than the {MAX_RELEASE_JSON} allowed")]
    TooLarge(usize),
    /// Not the JSON it should be.
    #[error("release.json cannot be read: field {field} is wrong")]
    Syntax {
        /// Path of the field.
        field: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Notes are too long.
    #[error("the release notes have {0} bytes, more than the {MAX_NOTES} allowed: shorten them")]
    Notes(usize),
    /// No rules, or absurdly many.
    #[error("rulesExpected is {0}: a release carries 1 to {MAX_RULES} rules")]
    Rules(u32),
    /// Too many Suricata rules.
    #[error("suricataRulesExpected is {0}: a release carries at most {MAX_RULES}")]
    SuricataRules(u32),
    /// An absurd demand on the host.
    #[error("needs.fileDescriptors is {0}, more than the {MAX_FILE_DESCRIPTORS} allowed")]
    FileDescriptors(u32),
    /// A release that is not major wants a restart.
    #[error("restart is “{}” and kind is not “major”: only a major release may ask for a restart", .0.word())]
    Restart(RestartNeed),
    /// Too many systems, or one without a name.
    #[error("operatingSystems: name at most {MAX_SYSTEMS}, each with an id such as debian, and a version if you like")]
    Systems,
    /// The oldest base is not older than the release.
    #[error("minimumBaseVersion {base} is not older than the release, {version}")]
    Base {
        /// The base version.
        base: Version,
        /// The release.
        version: Version,
    },
    /// The signed fields speak of something else than the package.
    #[error("the signed target says {signed}, the package says {packed}: sign the package again")]
    Differs {
        /// What the target says.
        signed: Version,
        /// What `release.json` says.
        packed: Version,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_no_restart(need: &RestartNeed) -> bool {
    !need.is_needed()
}

impl ReleaseManifest {
    /// A minor release that asks nothing of its hosts.
    #[must_use]
    pub fn minor(version: Version, rules_expected: u32) -> Self {
        Self {
            version,
            kind: ReleaseKind::Minor,
            notes: String::new(),
            minimum_base_version: None,
            rules_expected,
            suricata_rules_expected: 0,
            needs: Needs::default(),
            restart: RestartNeed::None,
            operating_systems: Vec::new(),
            minimum_control_plane_version: None,
            supported_until: None,
            recommended: false,
        }
    }

    /// Reads and validates `release.json`.
    ///
    /// # Errors
    /// When it is too large, not exactly this shape, or its values make no sense.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ReleaseError> {
        if bytes.len() > MAX_RELEASE_JSON {
            return Err(ReleaseError::TooLarge(bytes.len()));
        }
        let reader = &mut serde_json::Deserializer::from_slice(bytes);
        let manifest: Self = serde_path_to_error::deserialize(&mut *reader)
            .map_err(|e| ReleaseError::Syntax { field: e.path().to_string(), source: e.into_inner() })?;
        reader.end().map_err(|source| ReleaseError::Syntax { field: "(after the end)".to_owned(), source })?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The bytes of `release.json`, always the same for the same release.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Checks the values against each other and against the limits.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub fn validate(&self) -> Result<(), ReleaseError> {
        if self.notes.len() > MAX_NOTES {
            return Err(ReleaseError::Notes(self.notes.len()));
        }
        if self.rules_expected == 0 || self.rules_expected > MAX_RULES {
            return Err(ReleaseError::Rules(self.rules_expected));
        }
        if self.suricata_rules_expected > MAX_RULES {
            return Err(ReleaseError::SuricataRules(self.suricata_rules_expected));
        }
        if self.needs.file_descriptors > MAX_FILE_DESCRIPTORS {
            return Err(ReleaseError::FileDescriptors(self.needs.file_descriptors));
        }
        if self.restart.is_needed() && self.kind != ReleaseKind::Major {
            return Err(ReleaseError::Restart(self.restart));
        }
        if self.operating_systems.len() > MAX_SYSTEMS || !self.operating_systems.iter().all(SystemLine::is_sound) {
            return Err(ReleaseError::Systems);
        }
        match self.minimum_base_version {
            Some(base) if base >= self.version => Err(ReleaseError::Base { base, version: self.version }),
            Some(_) | None => Ok(()),
        }
    }

    /// The fields that are signed beside the package's hash.
    #[must_use]
    pub fn signed(&self, release_counter: u64) -> SignedRelease {
        SignedRelease {
            component: SENSOR_COMPONENT.to_owned(),
            version: self.version,
            release_counter,
            minimum_base_version: self.minimum_base_version,
        }
    }

    /// Checks that the signed fields describe this very release.
    ///
    /// # Errors
    /// When version or oldest base differ.
    pub fn matches(&self, signed: &SignedRelease) -> Result<(), ReleaseError> {
        if self.version == signed.version && self.minimum_base_version == signed.minimum_base_version {
            Ok(())
        } else {
            Err(ReleaseError::Differs { signed: signed.version, packed: self.version })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"version":"2.255.1.0","kind":"minor","notes":"n","minimumBaseVersion":"2.254.0.0",
        "rulesExpected":6,"needs":{"fileDescriptors":1024}}"#;

    #[test]
    fn a_release_reads_back() {
        let release = ReleaseManifest::from_slice(GOOD.as_bytes()).unwrap();
        assert_eq!(release.version, Version::new(2, 255, 1, 0));
        assert_eq!(release.needs.file_descriptors, 1024);
        assert_eq!(ReleaseManifest::from_slice(&release.to_vec()).unwrap(), release);
        assert!(!GOOD.contains("suricata") && !String::from_utf8(release.to_vec()).unwrap().contains("suricata"));
        let with = ReleaseManifest { suricata_rules_expected: 3, ..release.clone() };
        assert_eq!(ReleaseManifest::from_slice(&with.to_vec()).unwrap(), with);
        let many = ReleaseManifest { suricata_rules_expected: MAX_RULES + 1, ..release.clone() };
        assert!(matches!(many.validate(), Err(ReleaseError::SuricataRules(100_001))));
        let restarting = ReleaseManifest { restart: RestartNeed::Host, kind: ReleaseKind::Major, ..release.clone() };
        assert_eq!(ReleaseManifest::from_slice(&restarting.to_vec()).unwrap(), restarting);
        let minor = ReleaseManifest { kind: ReleaseKind::Minor, ..restarting };
        assert!(matches!(minor.validate(), Err(ReleaseError::Restart(RestartNeed::Host))));
        assert!(!String::from_utf8(release.to_vec()).unwrap().contains("restart"));
        let text = GOOD.replace(
            "}}",
            r#"},"operatingSystems":[{"id":"debian","version":"12"},{"id":"ubuntu"}],
            "minimumControlPlaneVersion":"1.4.0","supportedUntil":"2027-11-01T00:00:00Z","recommended":true}"#,
        );
        let with_terms = ReleaseManifest::from_slice(text.as_bytes()).unwrap();
        assert_eq!(with_terms.minimum_control_plane_version, Some(Semver::new(1, 4, 0)));
        assert_eq!(ReleaseManifest::from_slice(&with_terms.to_vec()).unwrap(), with_terms);
        let bare = String::from_utf8(release.to_vec()).unwrap();
        assert!(["operating", "Control", "supported", "recommended"].iter().all(|word| !bare.contains(word)), "{bare}");
        let signed = release.signed(4);
        release.matches(&signed).unwrap();
        assert!(release.matches(&SignedRelease { version: Version::new(2, 255, 2, 0), ..signed }).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (from, to) in [
            ("2.255.1.0", "2.255.1"),
            ("minor", "tiny"),
            ("2.254.0.0", "2.255.1.0"),
            (":6", ":0"),
            (":6", ":100001"),
            (":6", ":-1"),
            (":1024", ":1048577"),
            ("}}", "},\"operatingSystems\":[{\"id\":\"\"}]}"),
            ("}}", "},\"minimumControlPlaneVersion\":\"1.4\"}"),
            ("notes", "remarks"),
            ("}}", "}} x"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            assert!(ReleaseManifest::from_slice(bad.as_bytes()).is_err(), "{bad} was taken");
        }
        let long = GOOD.replace("\"n\"", &format!("\"{}\"", "n".repeat(MAX_NOTES + 1)));
        assert!(matches!(ReleaseManifest::from_slice(long.as_bytes()), Err(ReleaseError::Notes(4001))));
        let huge = vec![b' '; MAX_RELEASE_JSON + 1];
        assert!(matches!(ReleaseManifest::from_slice(&huge), Err(ReleaseError::TooLarge(_))));
    }
}
