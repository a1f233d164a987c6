//! Who a host is: the certificates of one sensor, and how a new one takes the place of an old one (decision 4).
//!
//! Two machines: [`Pins`] is the control plane's, [`Machine`] the host's. They know of each other only what a
//! [`Standing`] says. At no instant, whatever crashes, gets lost or is put back from a backup, does the host hold no
//! certificate that the control plane accepts: `model` looks at every state.

mod campaign;
mod machine;
#[cfg(test)]
mod model;
mod pins;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

pub use campaign::{
    Campaign, CampaignRefused, Candidate, DEFAULT_SPREAD, MAX_NAMED, MAX_REHEARSED, MAX_SPREAD, PATIENCE,
    REHEARSED_ONE_IN, Selection, Stage,
};
pub use machine::{Machine, Slots, Step};
pub use pins::{Admission, Held, MAX_RETIRING, PROPOSALS_EVERY, Pins, PinsError, ProposalRefused};

use crate::id::SensorId;
use crate::policy::CertificatePolicy;
use crate::time::Timestamp;

/// SHA-256 of a client certificate's DER: the identity of a host. Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin([u8; 32]);

/// A text that is no pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no pin of a certificate: it should have 64 hexadecimal digits")]
pub struct PinParseError(String);

impl Pin {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Pin {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl FromStr for Pin {
    type Err = PinParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        let read = hex::decode_to_slice(text, &mut bytes);
        read.map(|()| Self(bytes)).map_err(|_| PinParseError(text.chars().take(64).collect()))
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What the control plane takes a certificate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The one in use.
    Active,
    /// Proposed; it may do nothing but be confirmed.
    Pending,
    /// The one before; still accepted, until it is removed.
    Retiring,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Active, Self::Pending, Self::Retiring];

    /// The word of the API and the store.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Retiring => "retiring",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// What the control plane says of a sensor's certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Standing {
    /// Every certificate that is known, and what for.
    pub pins: Vec<(Pin, Role)>,
    /// Whether the active one should be replaced by another one.
    pub renew: bool,
}

impl Standing {
    /// What a certificate is taken for; `None`: it is not known.
    #[must_use]
    pub fn role(&self, pin: Pin) -> Option<Role> {
        self.pins.iter().find(|(known, _)| *known == pin).map(|(_, role)| *role)
    }
}

/// What a sensor's row tells of its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Certificate {
    /// When the active one expires; `None` where nobody knows, as in a rehearsal.
    pub expires_at: Option<Timestamp>,
    /// When somebody ordered that it be replaced; stays after that was done.
    pub ordered_at: Option<Timestamp>,
}

/// When a certificate that was registered then expires: the control plane counts by its own clock, never by the dates
/// that the host wrote into it.
#[must_use]
pub fn expires_at(registered_at: Timestamp, policy: &CertificatePolicy) -> Timestamp {
    registered_at + policy.validity
}

/// When the renewal of a certificate begins: so long before its end, and spread by a hash of the sensor, so that a
/// fleet that was installed on one day does not renew on one day.
#[must_use]
pub fn renewal_begins(sensor: SensorId, registered_at: Timestamp, policy: &CertificatePolicy) -> Timestamp {
    let spread = u64::try_from(policy.renewal_spread.as_millis()).unwrap_or(u64::MAX).max(1);
    let late = std::time::Duration::from_millis(hash(&sensor.to_string()) % spread);
    expires_at(registered_at, policy) - policy.renewal_before + late
}

/// FNV-1a, finished by the mixer of `splitmix64`: ids differ in few digits, and their hashes must differ everywhere.
fn hash(text: &str) -> u64 {
    let folded = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
