//! Health issues: what is wrong with a sensor, since when, and what a person did about it (B1, B3).

pub mod catalogue;
pub mod domains;
pub mod global;
mod judge;
mod outlook;
mod rules;
pub mod systems;
#[cfg(test)]
mod tests;
mod types;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

pub use judge::{Change, MAX_DETAILS, MAX_TEXT, Seen, line};
pub use rules::{conditions, next_change, review};
pub use types::{IssueType, Severity};

/// Whether an issue counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "status")]
pub enum IssueStatus {
    /// It counts.
    Open,
    /// It does not.
    Closed,
    /// A person asked not to hear of it until then.
    Suppressed {
        /// From then on the condition decides again.
        until: Timestamp,
    },
}

/// What a person did to an issue, for as long as it binds the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// The condition decides.
    #[default]
    None,
    /// Closed by hand: stays closed until the condition has gone and come back.
    ClosedByHand,
    /// Reopened by hand: stays open until the condition is seen and goes, or a person closes it.
    ReopenedByHand,
}

/// One issue of one sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// Whether it counts.
    #[serde(flatten)]
    pub status: IssueStatus,
    /// When it was opened last.
    pub opened_at: Timestamp,
    /// When its status changed last.
    pub changed_at: Timestamp,
    /// What was seen.
    pub reason: String,
    /// What was seen one by one, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What a person did.
    pub hold: Hold,
}

impl Issue {
    /// Whether it counts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == IssueStatus::Open
    }

    /// Closes it by hand.
    pub fn close(&mut self, now: Timestamp) {
        self.status = IssueStatus::Closed;
        self.hold = Hold::ClosedByHand;
        self.changed_at = now;
    }

    /// Opens it again by hand.
    pub fn reopen(&mut self, now: Timestamp) {
        self.status = IssueStatus::Open;
        self.hold = Hold::ReopenedByHand;
        self.changed_at = now;
    }

    /// Suppresses it until `until`.
    pub fn suppress(&mut self, until: Timestamp, now: Timestamp) {
        self.status = IssueStatus::Suppressed { until };
        self.hold = Hold::None;
        self.changed_at = now;
    }
}

/// The health of a sensor: its worst open severity (B3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthStatus {
    /// No open issue: green.
    Healthy,
    /// Yellow.
    NotHealthyLow,
    /// Orange.
    NotHealthyMedium,
    /// Red.
    NotHealthyHigh,
}

impl HealthStatus {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::NotHealthyLow => "notHealthyLow",
            Self::NotHealthyMedium => "notHealthyMedium",
            Self::NotHealthyHigh => "notHealthyHigh",
        }
    }
}

/// The health that these severities of open issues make.
#[must_use]
pub fn roll_up(open: impl IntoIterator<Item = Severity>) -> HealthStatus {
    match open.into_iter().max() {
        None => HealthStatus::Healthy,
        Some(Severity::Low) => HealthStatus::NotHealthyLow,
        Some(Severity::Medium) => HealthStatus::NotHealthyMedium,
        Some(Severity::High) => HealthStatus::NotHealthyHigh,
    }
}

/// The health of a sensor.
#[must_use]
pub fn health_status(sensor: &crate::sensor::Sensor) -> HealthStatus {
    let counted = sensor.issues.iter().filter(|(kind, issue)| issue.is_open() && kind.entry().counts());
    roll_up(counted.map(|(kind, _)| kind.severity()))
}
