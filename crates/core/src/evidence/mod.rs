//! Evidence as plain values: alerts, sightings and devices, timeline entries, and how they travel (H8, B8).
//!
//! The sensor keeps all of it; alerts and device summaries also go up to the control plane, in batches with ids.

pub mod bounds;
pub mod captures;
pub mod devices;
pub mod retention;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::facts::EngineKind;
use crate::time::Timestamp;

/// Most bytes of one batch in its JSON form.
pub const MAX_BATCH_BYTES: usize = 40 * 1024;
/// Most alerts and devices in one batch.
pub const MAX_BATCH_ITEMS: usize = 200;
/// Most characters of any one text.
pub const MAX_TEXT: usize = 256;
/// Most addresses, names or protocols that a device is known by.
pub const MAX_DEVICE_TRAITS: usize = 32;

/// How serious an alert is, in Sigma's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum AlertLevel {
    /// For the record.
    Informational,
    /// Worth a look some day.
    Low,
    /// Worth a look.
    #[default]
    Medium,
    /// Worth a look now.
    High,
    /// Drop everything.
    Critical,
}

impl AlertLevel {
    /// Every level, the least first.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word in rules and in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The level of a word; medium for one that is not known.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|level| level.word() == word).unwrap_or_default()
    }
}

/// What a person has made of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum AlertStatus {
    /// Nobody has looked at it.
    #[default]
    New,
    /// Somebody works on it.
    Active,
    /// It is done with.
    Closed,
}

impl AlertStatus {
    /// Every status, in the order of an alert's life.
    pub const ALL: [Self; 3] = [Self::New, Self::Active, Self::Closed];

    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Closed => "closed",
        }
    }

    /// The status of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

/// One alert as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// 32 hex digits, derived from rule and event: the same event read again gives the same id.
    pub id: String,
    /// When it was raised, by the sensor's clock.
    pub at: Timestamp,
    /// What detected.
    pub engine: EngineKind,
    /// The rule's id; for `suricata`, `generator:signature`.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// How serious.
    pub level: AlertLevel,
    /// What happened: names and values, each at most [`MAX_TEXT`] characters, in the words of the event.
    #[serde(default)]
    pub event: serde_json::Map<String, serde_json::Value>,
    /// Addresses or names of the devices involved.
    #[serde(default)]
    pub devices: BTreeSet<String>,
    /// Whether packets of it are kept on the sensor.
    #[serde(default)]
    pub has_packets: bool,
}

/// One glimpse of a device in traffic or in an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Sighting {
    /// When.
    pub at: Timestamp,
    /// Its network address.
    pub address: Option<String>,
    /// Its hardware address, lower case with colons.
    pub hardware: Option<String>,
    /// A name it gave or was given.
    pub name: Option<String>,
    /// What it spoke, such as `modbus`.
    pub protocol: Option<String>,
    /// It offered `protocol` (it was asked) rather than used it.
    pub is_server: bool,
}

/// What is known of a device, as it travels: always the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Stable on its sensor: `hardware` where it is known, else the address.
    pub key: String,
    /// Addresses, most recent last.
    pub addresses: Vec<String>,
    /// Hardware address.
    pub hardware: Option<String>,
    /// Names, most recent last.
    pub names: Vec<String>,
    /// Protocols it was asked in.
    pub serves: BTreeSet<String>,
    /// Protocols it asked in.
    pub uses: BTreeSet<String>,
    /// First seen.
    pub first_seen: Timestamp,
    /// Last seen, to the minute.
    pub last_seen: Timestamp,
    /// Keys of devices that turned out to be this one, most recent last; they are no devices of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
}

/// One line of a sensor's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What kind: `alert`, `device`, `protocol`, `engine`, `interface`, `rules`, `settings`, `logon`, …
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// Addresses or names of the devices involved.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<String>,
}

/// A piece of the stream that a sensor sends up. Sent again until it is acknowledged; what was taken already changes
/// nothing, so that from the server's point of view each item arrives exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Batch {
    /// Which evidence store it comes from: another one after the sensor's disk was lost.
    pub stream: String,
    /// The number of the last item in it; numbers grow by one within a stream.
    pub through: u64,
    /// Alerts.
    pub alerts: Vec<Alert>,
    /// Devices that changed.
    pub devices: Vec<Device>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_read_back_and_an_unknown_one_is_medium() {
        for level in
            [AlertLevel::Informational, AlertLevel::Low, AlertLevel::Medium, AlertLevel::High, AlertLevel::Critical]
        {
            assert_eq!(AlertLevel::from_word(level.word()), level);
        }
        assert_eq!(AlertLevel::from_word("dire"), AlertLevel::Medium);
    }
}
