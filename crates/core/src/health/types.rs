//! The catalogue of issue types as data (`spec/identity-facts.md` §1.2); the ones this issue of the product observes.

use serde::{Deserialize, Serialize};

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Yellow.
    Low,
    /// Orange.
    Medium,
    /// Red.
    High,
}

impl Severity {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A type of health issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IssueType {
    /// Some name resolutions fail.
    LowNameResolutionSuccess,
    /// The resource guard stopped the sensor for a while.
    MemoryLimitReached,
    /// An update failed, or the sensor is three releases behind.
    SensorOutdated,
    /// The service did not start.
    SensorServiceFailedToStart,
    /// Nothing was heard for five minutes.
    SensorStoppedCommunicating,
    /// Events were dropped, or could not be read.
    SomeEventsNotAnalyzed,
    /// Packets were dropped.
    SomeNetworkTrafficNotAnalyzed,
}

/// What people read about a type.
struct Row {
    kind: IssueType,
    word: &'static str,
    title: &'static str,
    severity: Severity,
    remediation: &'static str,
}

const CATALOGUE: [Row; 7] = [
    Row {
        kind: IssueType::LowNameResolutionSuccess,
        word: "lowNameResolutionSuccess",
        title: "Low success rate of active name resolution",
        severity: Severity::Low,
        remediation: "Open the ports of name resolution between sensor and clients, and enable reverse look-up zones.",
    },
    Row {
        kind: IssueType::MemoryLimitReached,
        word: "memoryLimitReached",
        title: "Sensor reached a memory resource limit",
        severity: Severity::Medium,
        remediation: "Give the host more memory, or spread what it watches over more hosts.",
    },
    Row {
        kind: IssueType::SensorOutdated,
        word: "sensorOutdated",
        title: "Sensor outdated",
        severity: Severity::Medium,
        remediation: "Read the reason and mend the host; the next release is tried there by itself.",
    },
    Row {
        kind: IssueType::SensorServiceFailedToStart,
        word: "sensorServiceFailedToStart",
        title: "Sensor service failed to start",
        severity: Severity::High,
        remediation: "Read the sensor's log on the host; the updater keeps trying to start it.",
    },
    Row {
        kind: IssueType::SensorStoppedCommunicating,
        word: "sensorStoppedCommunicating",
        title: "Sensor stopped communicating",
        severity: Severity::Medium,
        remediation: "Check that the host runs and reaches the control plane; it may be slow to restart.",
    },
    Row {
        kind: IssueType::SomeEventsNotAnalyzed,
        word: "someEventsNotAnalyzed",
        title: "Some events are not being analyzed",
        severity: Severity::Medium,
        remediation: "Check the format of the audit log, and give the host more CPU or memory if events are dropped.",
    },
    Row {
        kind: IssueType::SomeNetworkTrafficNotAnalyzed,
        word: "someNetworkTrafficNotAnalyzed",
        title: "Some network traffic could not be analyzed",
        severity: Severity::Medium,
        remediation: "Give the host more CPU or memory, or send it less mirrored traffic.",
    },
];

impl IssueType {
    /// Every type.
    pub fn all() -> impl Iterator<Item = Self> {
        CATALOGUE.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        // The catalogue holds every variant (a test says so); the first row only closes the type.
        CATALOGUE.iter().find(|row| row.kind == self).unwrap_or(&CATALOGUE[0])
    }

    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// The type of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        CATALOGUE.iter().find(|row| row.word == word).map(|row| row.kind)
    }

    /// What people read.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.row().severity
    }

    /// What to do about it.
    #[must_use]
    pub fn remediation(self) -> &'static str {
        self.row().remediation
    }
}
