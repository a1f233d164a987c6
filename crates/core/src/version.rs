//! Versions of sensors and releases: `major.minor.build.revision`, compared number by number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A four-part version such as `2.254.19112.470`. Its first part is the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u32; 4]);

/// A text that is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not a version: write four numbers, as in 2.254.19112.470")]
pub struct VersionParseError(String);

impl Version {
    /// The version with these four parts.
    #[must_use]
    pub const fn new(major: u32, minor: u32, build: u32, revision: u32) -> Self {
        Self([major, minor, build, revision])
    }

    /// The generation of sensor this version belongs to: 2 is installed, 3 is hosted by the platform agent.
    #[must_use]
    pub const fn generation(self) -> u32 {
        let [major, ..] = self.0;
        major
    }

    /// Whether a sensor that runs this version can be updated to `newer`: it is newer, and of the same generation.
    #[must_use]
    pub fn can_become(self, newer: Self) -> bool {
        self < newer && self.generation() == newer.generation()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

impl FromStr for Version {
    type Err = VersionParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || VersionParseError(text.to_owned());
        let mut parts = [0; 4];
        let mut fields = text.split('.');
        for part in &mut parts {
            let field = fields.next().ok_or_else(refuse)?;
            let plain = field.bytes().all(|b| b.is_ascii_digit()) && (field == "0" || !field.starts_with('0'));
            *part = if plain { field.parse().map_err(|_| refuse())? } else { return Err(refuse()) };
        }
        if fields.next().is_some() { Err(refuse()) } else { Ok(Self(parts)) }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_number_by_number() {
        let older: Version = "2.254.9.470".parse().unwrap();
        let newer: Version = "2.254.19112.3".parse().unwrap();
        assert!(older < newer);
        assert_eq!(newer.generation(), 2);
        assert!(older.can_become(newer) && !newer.can_become(older) && !older.can_become(older));
        assert!(!older.can_become(Version::new(3, 0, 8, 0)), "another generation is a migration");
        assert_eq!(newer.to_string(), "2.254.19112.3");
    }

    #[test]
    fn what_is_not_four_plain_numbers_is_refused() {
        for bad in [
            "",
            "2",
            "2.254.1",
            "2.254.1.0.1",
            "2.254.1.x",
            "2.254.1.-1",
            "2.254.01.0",
            "2.254..0",
            "2.254.1.4294967296",
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad} was taken");
        }
    }
}
