//! What was observed on a host: the only thing that health issues are opened and closed by, beside the clock.
//!
//! A fact is a state with the instant since when it holds, never a counter: an unchanged host reports the same facts, so
//! its check-in costs no SQL. What is absent was not observed; it opens nothing and closes nothing by itself.

pub mod door;
pub mod door_file;
pub mod fitted;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

pub use door::DoorFacts;

/// Most bytes of the facts of one report in their JSON form.
pub const MAX_FACTS_BYTES: usize = 24 * 1024;

/// Everything one host has observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// The network interfaces that are there, loopback left out, and those that should be.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub interfaces: BTreeMap<String, InterfaceFacts>,
    /// The engines that should run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub engines: BTreeMap<EngineKind, EngineFacts>,
    /// The stream of audit events; `None`: this sensor watches none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<EventFacts>,
    /// How active name resolution went over the last full window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_resolution: Option<NameResolution>,
    /// The host itself.
    #[serde(skip_serializing_if = "HostFacts::is_empty")]
    pub host: HostFacts,
    /// What only a collector of its own can observe, such as one on Windows; see `docs/operators/fact-door.md`.
    #[serde(skip_serializing_if = "DoorFacts::is_empty")]
    pub door: DoorFacts,
}

/// What detects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EngineKind {
    /// Sigma rules over audit events.
    Sigma,
    /// Suricata over packets.
    Suricata,
}

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Sigma, Self::Suricata];

    /// The word in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sigma => "sigma",
            Self::Suricata => "suricata",
        }
    }

    /// The engine of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceFacts {
    /// The settings name it for capture.
    pub selected: bool,
    /// It exists.
    pub present: bool,
    /// It is up and has a link.
    pub up: bool,
    /// The engine has seen no packet on it since, for a minute at least; `None`: packets flow, or nothing listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Timestamp>,
    /// The kernel has dropped packets of it since; `None`: none within the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub losing_since: Option<Timestamp>,
}

/// One engine, as it answered when it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineFacts {
    /// What it does.
    pub state: EngineState,
    /// Since when.
    pub since: Timestamp,
    /// Why it does not run; empty while it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Rules it says it has loaded, the canary's included.
    #[serde(default)]
    pub rules_loaded: u32,
    /// Rules it says it has refused.
    #[serde(default)]
    pub rules_failed: u32,
    /// Rules of a package that it left out, because the release has the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rules_superseded: u32,
    /// The first refusals in words, at most [`EngineFacts::MAX_COMPLAINTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<String>,
    /// What it said of the traffic was lost or not understood since; `None`: nothing of it within the last hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_lost_since: Option<Timestamp>,
}

impl EngineFacts {
    /// Most complaints that travel.
    pub const MAX_COMPLAINTS: usize = 5;
    /// Most characters of the reason and of each complaint.
    pub const MAX_TEXT: usize = 300;
}

/// What an engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EngineState {
    /// It was started for the first time, or anew on purpose, and has not answered yet.
    Starting,
    /// It answers.
    Running,
    /// It ended, or does not answer; so it stays until it answers again, however often it is started meanwhile.
    NotRunning,
    /// It ended before it answered, or the host lacks what it needs; so it stays until it answers.
    StartFailed,
}

/// The stream of audit events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct EventFacts {
    /// Nothing was appended to the log since; `None`: events flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Timestamp>,
    /// The log cannot be opened or read since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable_since: Option<Timestamp>,
    /// Lines could not be analysed, or were lost between two files, since; `None`: none within the last hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropping_since: Option<Timestamp>,
}

/// How active name resolution went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameResolution {
    /// Look-ups tried within the window.
    pub attempts: u32,
    /// Of these, without an answer.
    pub failures: u32,
}

/// The host itself. Everything the updater measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct HostFacts {
    /// The operating system as `/etc/os-release` names it: `ID` and `VERSION_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<OperatingSystem>,
    /// Less memory than the reserve (15 %) is available since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_short_since: Option<Timestamp>,
    /// The processors are busier than the reserve (15 %) allows since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor_short_since: Option<Timestamp>,
    /// The disk of the sensor's folder is nearly full since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_low_since: Option<Timestamp>,
    /// The host's clock is ahead of the server's by so many seconds (negative: behind), to the half minute; 0: within it.
    #[serde(skip_serializing_if = "is_zero")]
    pub clock_ahead_seconds: i64,
    /// The log folder that was asked for cannot be written since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_path_fails_since: Option<Timestamp>,
    /// Settings that arrived could not be applied: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings_refused: Option<String>,
    /// Evidence could not be written since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_fails_since: Option<Timestamp>,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl HostFacts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An operating system, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatingSystem {
    /// Which one, such as `debian` or `windows-server`.
    pub id: String,
    /// Which version, such as `12` or `2019`.
    pub version: String,
}

impl OperatingSystem {
    /// Whether it belongs to the line of this version, which may be only the part before a dot: `12.5` is of `12`.
    #[must_use]
    pub fn is_of(&self, id: &str, version: &str) -> bool {
        let rest = self.version.strip_prefix(version);
        self.id == id && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Numbers that change all the time: shown, never stored with each check-in, never what an issue rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Measurements {
    /// Per capture interface.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub interfaces: BTreeMap<String, InterfaceCounters>,
    /// Audit events read since the sensor started.
    pub events_read: u64,
    /// Of these, not analysed.
    pub events_not_analysed: u64,
    /// Bytes of evidence on the sensor's disk.
    pub evidence_bytes: u64,
    /// Alerts and devices that wait to be sent.
    pub evidence_waiting: u64,
    /// Memory that the sensor and its engines use, in bytes.
    pub memory_bytes: u64,
}

/// What the engine counts on one interface since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceCounters {
    /// Packets that reached the engine.
    pub packets: u64,
    /// Packets that the kernel dropped before they reached it.
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_observed_nothing_says_nothing_and_unknown_facts_are_passed_over() {
        assert_eq!(serde_json::to_string(&Facts::default()).unwrap(), "{}");
        let later: Facts = serde_json::from_str(r#"{"engines":{},"laterFact":{"x":1},"host":{"later":2}}"#).unwrap();
        assert_eq!(later, Facts::default());
    }

    #[test]
    fn facts_have_the_agreed_words() {
        let text = r#"{"interfaces":{"eth1":{"selected":true,"present":true,"up":false,"silentSince":"2026-01-05T00:00:00Z"}},
            "engines":{"suricata":{"state":"notRunning","since":"2026-01-05T00:00:00Z","reason":"it ended"}}}"#;
        let facts: Facts = serde_json::from_str(text).unwrap();
        assert!(facts.interfaces["eth1"].selected && !facts.interfaces["eth1"].up);
        assert_eq!(facts.engines[&EngineKind::Suricata].state, EngineState::NotRunning);
        assert_eq!(serde_json::from_str::<Facts>(&serde_json::to_string(&facts).unwrap()).unwrap(), facts);
    }
}
