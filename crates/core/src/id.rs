//! Identities: one type per noun, a three-letter prefix and a ULID in text (`sen_01J…`).
//!
//! Making one takes the instant and the randomness as parameters; nothing here draws either.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use ulid::Ulid;

use crate::time::Timestamp;

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{text}” is not a {kind}: it should read {prefix}_ and 26 letters and digits")]
pub struct IdParseError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// The id made at `now` with these random bits (80 of them are used).
            #[must_use]
            pub fn from_parts(now: Timestamp, random: u128) -> Self {
                Self(Ulid::from_parts(u64::try_from(now.millis()).unwrap_or(0), random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|ulid| Ulid::from_string(ulid).ok())
                    .map(Self)
                    .ok_or_else(|| IdParseError { text: text.to_owned(), kind: stringify!($name), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

// Alphabetical: one line per kind.
typed_id! {
    /// One alert, as the control plane keeps it.
    AlertId, "alr";
    /// One row of the audit log.
    AuditId, "aud";
    /// One health issue.
    IssueId, "iss";
    /// One sensor.
    SensorId, "sen";
    /// One signed-in browser session.
    SessionId, "ses";
    /// One site.
    SiteId, "sit";
    /// One API token.
    TokenId, "tok";
    /// One person who may sign in.
    UserId, "usr";
    /// One workspace; every row of the store belongs to one.
    WorkspaceId, "wsp";
    /// One zone of a site.
    ZoneId, "zon";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_knows_its_kind() {
        let id = SensorId::from_parts(Timestamp::from_millis(1_767_571_200_000), 7);
        let text = id.to_string();
        assert!(text.starts_with("sen_01"), "{text}");
        assert_eq!(text.parse::<SensorId>().unwrap(), id);
        assert!(text.parse::<SiteId>().is_err());
        assert!("sen_nope".parse::<SensorId>().is_err());
    }
}
