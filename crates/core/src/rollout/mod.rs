//! Rollouts: one sensor after another with clearance, the delayed ring, and what stops them (E1, E5, E6, E8).
//!
//! The planner reads facts and writes desired states; it never talks to a host. What it decides is in the events.

mod actions;
mod asked;
#[cfg(test)]
mod asked_tests;
#[cfg(test)]
mod capture_tests;
mod hand_out;
mod pace;
mod planner;
mod record;
mod restarts;
#[cfg(test)]
mod restarts_tests;
mod settings;
mod settle;
mod standing;
#[cfg(test)]
mod stepping_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::SensorId;
use crate::sensor::Sensor;
use crate::time::Timestamp;
use crate::version::Version;

pub use actions::ActionError;
pub use pace::{RingPace, one_by_one_takes};
pub use planner::{Planner, Summary};
pub use record::{Failure, Flight, Outcome, Skip, UpdateRecord};
pub use settings::{RolloutSettings, RolloutSettingsError};
pub use standing::SkipReason;

/// All sensors of a workspace, in the order in which they take their turn.
pub type Fleet = BTreeMap<SensorId, Sensor>;

/// The two rings (E6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ring {
    /// Starts when the release is published.
    Automatic,
    /// Starts 72 hours later.
    Delayed,
}

impl Ring {
    /// The ring a sensor is in.
    #[must_use]
    pub fn of(sensor: &Sensor) -> Self {
        if sensor.delayed { Self::Delayed } else { Self::Automatic }
    }
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum RolloutState {
    /// Published; no sensor was started yet.
    Planned,
    /// Sensors are started as their turn comes.
    Running,
    /// Too many failures: nobody is started until a person resumes.
    Halted {
        /// What halted it.
        reason: String,
    },
    /// A person paused it.
    Paused,
    /// A person ended it.
    Aborted,
    /// Nobody is left to start; who returns later is still started.
    Completed,
}

impl RolloutState {
    /// The API's word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Halted { .. } => "halted",
            Self::Paused => "paused",
            Self::Aborted => "aborted",
            Self::Completed => "completed",
        }
    }

    /// Whether a sensor may be started in this state.
    #[must_use]
    pub fn hands_out(&self) -> bool {
        match self {
            Self::Planned | Self::Running | Self::Completed => true,
            Self::Halted { .. } | Self::Paused | Self::Aborted => false,
        }
    }
}

/// How many sensors of a ring may be in flight, where one at a time would take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pace {
    /// Sensors of the step.
    pub(crate) width: u32,
    /// Whether a step was begun with this width.
    pub(crate) begun: bool,
    /// Whether one of the step has failed.
    pub(crate) failed: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { width: 1, begun: false, failed: false }
    }
}

/// The rollout of one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// What is rolled out.
    pub version: Version,
    /// Where it is.
    #[serde(flatten)]
    pub state: RolloutState,
    /// When it was planned: when its release was published here.
    pub planned_at: Timestamp,
    /// Failures that a person has acknowledged by resuming, per ring.
    pub acknowledged: BTreeMap<Ring, u32>,
    /// The most sensors that were in flight at once.
    pub peak_in_flight: u32,
    pub(crate) pace: BTreeMap<Ring, Pace>,
}

/// Something the planner decided or learnt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// The sensor it is about; `None`: the rollout itself.
    pub sensor: Option<SensorId>,
    /// The release it is about.
    pub version: Version,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum What {
    /// A rollout was planned.
    Planned,
    /// A sensor was handed the version; or the rollout's first one was.
    Started,
    /// A sensor was told to stage the version, which needs a restart that is not allowed yet.
    Staging,
    /// It lies on the host and waits for the restart.
    Staged,
    /// The host runs the version.
    Switched,
    /// The sensor has shown that it detects.
    Cleared,
    /// The host is back on its old version.
    Reverted {
        /// Why.
        reason: String,
    },
    /// The attempt is over without a return.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was not this sensor's turn, for a reason that may pass.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The failure budget is spent.
    Halted {
        /// Why.
        reason: String,
    },
    /// A person paused it.
    Paused,
    /// A person resumed it.
    Resumed,
    /// A person ended it.
    Aborted,
    /// Nobody is left to start.
    Completed,
}

impl What {
    /// The word of `spec/rehearsal.md`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Started => "started",
            Self::Staging => "staging",
            Self::Staged => "staged",
            Self::Switched => "switched",
            Self::Cleared => "cleared",
            Self::Reverted { .. } => "reverted",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Halted { .. } => "halted",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Aborted => "aborted",
            Self::Completed => "completed",
        }
    }

    /// Why, where there is a why.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Reverted { reason }
            | Self::Failed { reason }
            | Self::Skipped { reason }
            | Self::Halted { reason } => Some(reason),
            Self::Planned
            | Self::Started
            | Self::Staging
            | Self::Staged
            | Self::Switched
            | Self::Cleared
            | Self::Paused
            | Self::Resumed
            | Self::Aborted
            | Self::Completed => None,
        }
    }
}

/// What one look of the planner came to. An unread one is an update that nobody gets.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Sensors whose record changed.
    pub sensors: BTreeSet<SensorId>,
    /// Rollouts that changed.
    pub rollouts: BTreeSet<Version>,
    /// When to look again if nothing is heard before.
    pub wakes_at: Option<Timestamp>,
}
