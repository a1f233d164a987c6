//! The server's own keys: which of them hosts may trust, and how one takes the place of another without locking anybody out.
//!
//! Announce, so that hosts learn the next one; switch, once they have; retire the one before. A host trusts a server by
//! the hash of its key alone, so a switch that hosts do not know of would be the end of the fleet.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::time::Timestamp;

/// Most keys of its server that a host believes at once. Two are in use; the others are room for a change of mind.
pub const MAX_SERVER_KEYS: usize = 4;
/// Most names that a refusal spells out.
const NAMES: usize = 20;

/// SHA-256 of the SubjectPublicKeyInfo of a gateway's certificate. Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey([u8; 32]);

/// Keys of a server, each of which is trusted.
pub type ServerKeys = BTreeSet<ServerKey>;

/// A text that names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” names no key of a server: it should have 64 hexadecimal digits")]
pub struct ServerKeyParseError(String);

impl ServerKey {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for ServerKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerKey({self})")
    }
}

impl FromStr for ServerKey {
    type Err = ServerKeyParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        let read = hex::decode_to_slice(text, &mut bytes);
        read.map(|()| Self(bytes)).map_err(|_| ServerKeyParseError(text.chars().take(64).collect()))
    }
}

impl Serialize for ServerKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServerKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A key of the server and its number, which never names another one; its files bear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberedKey {
    /// 1 for the key that the server was founded with.
    pub number: u32,
    /// What hosts know of it.
    pub key: ServerKey,
}

/// Where the renewal of the server's key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "stage")]
pub enum Renewal {
    /// One key, and no other one to come.
    #[serde(rename_all = "camelCase")]
    Settled {
        /// It.
        serving: NumberedKey,
    },
    /// Hosts are told of the next key; the one before serves.
    #[serde(rename_all = "camelCase")]
    Announced {
        /// Serves.
        serving: NumberedKey,
        /// Will serve.
        next: NumberedKey,
        /// Since when hosts can learn of it.
        since: Timestamp,
    },
    /// The next key serves; hosts still trust the one before.
    #[serde(rename_all = "camelCase")]
    Switched {
        /// Serves.
        serving: NumberedKey,
        /// Served before.
        previous: NumberedKey,
        /// Since when.
        since: Timestamp,
    },
}

/// Why a step was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalRefused {
    /// Another step comes first.
    #[error("{step} is not what comes next: {why}")]
    Order {
        /// What was wanted.
        step: &'static str,
        /// What comes first.
        why: &'static str,
    },
    /// Sensors that are connected would be locked out.
    #[error(
        "{count} connected sensors do not hold the next key yet and would be locked out: {names}; wait until they have \
         checked in, look at their log, or force it"
    )]
    LockedOut {
        /// How many.
        count: usize,
        /// Their names, the first of them.
        names: String,
    },
}

impl Renewal {
    /// The key that the server presents.
    #[must_use]
    pub fn serving(&self) -> NumberedKey {
        match self {
            Self::Settled { serving } | Self::Announced { serving, .. } | Self::Switched { serving, .. } => *serving,
        }
    }

    /// The keys that hosts are told to trust.
    #[must_use]
    pub fn published(&self) -> ServerKeys {
        match self {
            Self::Settled { serving } => ServerKeys::from([serving.key]),
            Self::Announced { serving, next: other, .. } | Self::Switched { serving, previous: other, .. } => {
                ServerKeys::from([serving.key, other.key])
            }
        }
    }

    /// The key that a host needs to go on through what comes next.
    #[must_use]
    pub fn needed(&self) -> ServerKey {
        match self {
            Self::Announced { next, .. } => next.key,
            Self::Settled { serving } | Self::Switched { serving, .. } => serving.key,
        }
    }

    /// The word of its stage.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Settled { .. } => "settled",
            Self::Announced { .. } => "announced",
            Self::Switched { .. } => "switched",
        }
    }

    /// The number that the next key gets.
    ///
    /// # Errors
    /// When a renewal is under way already.
    pub fn next_number(&self) -> Result<u32, RenewalRefused> {
        let refuse = |why| Err(RenewalRefused::Order { step: "announcing a key", why });
        match self {
            Self::Settled { serving } => Ok(serving.number.saturating_add(1)),
            Self::Announced { .. } => refuse("one is announced already; switch to it"),
            Self::Switched { .. } => refuse("the key before is still trusted; retire it"),
        }
    }

    /// After this key was made and announced.
    ///
    /// # Errors
    /// When a renewal is under way already.
    pub fn announce(self, key: ServerKey, now: Timestamp) -> Result<Self, RenewalRefused> {
        let number = self.next_number()?;
        Ok(Self::Announced { serving: self.serving(), next: NumberedKey { number, key }, since: now })
    }

    /// After the announced key has begun to serve.
    ///
    /// # Errors
    /// When none is announced, or a connected sensor does not hold it and `is_forced` is not said.
    pub fn switch(self, readiness: &Readiness, is_forced: bool, now: Timestamp) -> Result<Self, RenewalRefused> {
        let refuse = |why| Err(RenewalRefused::Order { step: "switching", why });
        match self {
            Self::Settled { .. } => refuse("no key is announced; announce one"),
            Self::Switched { .. } => refuse("the announced key serves already; retire the one before"),
            Self::Announced { .. } if !is_forced && !readiness.waiting.is_empty() => {
                Err(RenewalRefused::LockedOut { count: readiness.waiting.len(), names: some(&readiness.waiting) })
            }
            Self::Announced { serving, next, .. } => {
                Ok(Self::Switched { serving: next, previous: serving, since: now })
            }
        }
    }

    /// After the key before was given up: hosts drop it.
    ///
    /// # Errors
    /// When there is none.
    pub fn retire(self) -> Result<Self, RenewalRefused> {
        let refuse = |why| Err(RenewalRefused::Order { step: "retiring the key before", why });
        match self {
            Self::Switched { serving, .. } => Ok(Self::Settled { serving }),
            Self::Settled { .. } => refuse("there is none"),
            Self::Announced { .. } => refuse("it still serves; switch first"),
        }
    }
}

/// The first of these names, and how many more there are.
fn some(names: &[String]) -> String {
    let mut text = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES {
        text.push_str(&format!(" and {} more", names.len() - NAMES));
    }
    text
}

/// One sensor, as far as the server's key is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// Its name.
    pub name: &'a str,
    /// The keys that its host has said to trust.
    pub held: &'a ServerKeys,
    /// When it was last heard of; when it enrolled, if never.
    pub heard_at: Timestamp,
}

/// Who is ready for the key that comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// How many sensors hold it.
    pub ready: usize,
    /// Connected ones that do not, by name: they stop a switch.
    pub waiting: Vec<String>,
    /// Ones that are not connected and do not, by name: a switch locks them out, until they are set up again.
    pub absent: Vec<String>,
}

impl Readiness {
    /// Who of `holders` is ready for `key`. Connected is who was heard of within `silence`; silence before the control plane
    /// itself was ready does not count.
    #[must_use]
    pub fn of<'a>(
        holders: impl Iterator<Item = Holder<'a>>,
        key: ServerKey,
        silence: Duration,
        ready_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        let mut readiness = Self::default();
        for holder in holders {
            if holder.held.contains(&key) {
                readiness.ready += 1;
            } else if now.since(holder.heard_at.max(ready_at)) < silence {
                readiness.waiting.push(holder.name.to_owned());
            } else {
                readiness.absent.push(holder.name.to_owned());
            }
        }
        readiness.waiting.sort_unstable();
        readiness.absent.sort_unstable();
        readiness
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_millis(1_767_571_200_000);
    const SILENCE: Duration = Duration::from_secs(300);
    const SECOND: Duration = Duration::from_secs(1);

    fn key(byte: u8) -> ServerKey {
        ServerKey::from([byte; 32])
    }

    fn settled() -> Renewal {
        Renewal::Settled { serving: NumberedKey { number: 1, key: key(1) } }
    }

    #[test]
    fn hosts_trust_both_keys_from_the_announcement_until_the_old_one_is_retired() {
        let nobody = Readiness::default();
        let announced = settled().announce(key(2), T0).unwrap();
        let switched = announced.switch(&nobody, false, T0 + SECOND).unwrap();
        let retired = switched.retire().unwrap();
        assert_eq!(settled().published(), [key(1)].into());
        assert_eq!((announced.published(), announced.serving().key), ([key(1), key(2)].into(), key(1)));
        assert_eq!((switched.published(), switched.serving().key), ([key(1), key(2)].into(), key(2)));
        assert_eq!((retired.published(), retired.serving().number), ([key(2)].into(), 2));
        assert_eq!([announced.needed(), switched.needed(), retired.needed()], [key(2); 3]);
        assert_eq!(retired.announce(key(3), T0).unwrap().needed(), key(3));
    }

    #[test]
    fn no_step_is_taken_out_of_order() {
        let nobody = Readiness::default();
        let announced = settled().announce(key(2), T0).unwrap();
        let switched = announced.switch(&nobody, false, T0).unwrap();
        for refused in [
            settled().switch(&nobody, true, T0),
            settled().retire(),
            announced.announce(key(3), T0),
            announced.retire(),
            switched.announce(key(3), T0),
            switched.switch(&nobody, true, T0),
        ] {
            assert!(matches!(refused, Err(RenewalRefused::Order { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_connected_sensor_that_does_not_hold_the_next_key_stops_the_switch_and_an_absent_one_does_not() {
        let (knows, does_not) = (ServerKeys::from([key(1), key(2)]), ServerKeys::from([key(1)]));
        let now = T0 + SILENCE;
        let holders = |last: Timestamp| {
            [
                Holder { name: "DC1", held: &knows, heard_at: T0 },
                Holder { name: "DC2", held: &does_not, heard_at: last },
            ]
            .into_iter()
        };
        let of = |last, ready_at| Readiness::of(holders(last), key(2), SILENCE, ready_at, now);
        // Five minutes of silence, less one second.
        let waiting = of(T0 + SECOND, T0);
        assert_eq!((waiting.ready, waiting.waiting.as_slice()), (1, ["DC2".to_owned()].as_slice()));
        let announced = settled().announce(key(2), T0).unwrap();
        let refused = announced.switch(&waiting, false, now).unwrap_err();
        assert!(refused.to_string().starts_with("1 connected sensors") && refused.to_string().contains(": DC2;"));
        assert!(announced.switch(&waiting, true, now).is_ok());
        let absent = of(T0, T0);
        assert_eq!((absent.waiting.len(), absent.absent.as_slice()), (0, ["DC2".to_owned()].as_slice()));
        assert!(announced.switch(&absent, false, now).is_ok());
        // The control plane was away itself: nobody's silence is known.
        assert_eq!(of(T0, T0 + SECOND).waiting, ["DC2"]);
    }

    #[test]
    fn a_refusal_spells_out_twenty_names_and_counts_the_others() {
        let names: Vec<String> = (0..23).map(|n| format!("DC{n:02}")).collect();
        assert!(some(&names).ends_with("DC19 and 3 more"), "{}", some(&names));
        assert_eq!(some(&names[..2]), "DC00, DC01");
    }

    #[test]
    fn the_stage_is_read_back_as_it_was_written() {
        let announced = settled().announce(key(2), T0).unwrap();
        for renewal in [settled(), announced, announced.switch(&Readiness::default(), true, T0).unwrap()] {
            let text = serde_json::to_string(&renewal).unwrap();
            assert!(text.contains(&format!("\"stage\":\"{}\"", renewal.stage())), "{text}");
            assert_eq!(serde_json::from_str::<Renewal>(&text).unwrap(), renewal);
        }
    }
}
