//! What a rehearsal came to, in the form of the result document.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::version::Version;

/// The whole result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What happened, in time order.
    pub events: Vec<EventRow>,
    /// The fleet at the moments asked for.
    pub observations: Vec<ObservationRow>,
    /// How each sensor ended, in input order.
    pub sensors: Vec<SensorRow>,
    /// How each rollout ended, in the order of publication.
    pub rollouts: Vec<RolloutRow>,
}

/// One event. Keys that do not apply are left out.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRow {
    /// When, from the start.
    pub at: String,
    /// The sensor it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<String>,
    /// The rollout it is about, where it is about no sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Version>,
    /// What happened.
    pub event: String,
    /// To which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which health issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue_type: Option<String>,
    /// The status before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The status after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// The fleet at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservationRow {
    /// When, as the scenario spells it.
    pub at: String,
    /// Each sensor, in input order.
    pub sensors: Vec<ObservedSensor>,
}

/// One sensor at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedSensor {
    /// Its name.
    pub name: String,
    /// The version it last reported.
    pub version: Option<Version>,
    /// The API's word.
    pub sensor_status: String,
    /// The API's word.
    pub service_status: String,
    /// The API's word.
    pub health_status: String,
    /// Words of the types that are open.
    pub open_health_issues: Vec<String>,
    /// What its update waits for.
    pub waiting_for: Option<String>,
}

/// How a sensor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SensorRow {
    /// Its name.
    pub name: String,
    /// The version it last reported.
    pub version: Option<Version>,
    /// The API's word.
    pub sensor_status: String,
    /// Versions it went back from.
    pub bad_versions: BTreeSet<Version>,
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRow {
    /// Of which release.
    pub version: Version,
    /// The API's word.
    pub state: String,
    /// Sensors that were cleared.
    pub cleared: u32,
    /// Sensors that went back or failed.
    pub failed: u32,
    /// Sensors that are passed over.
    pub skipped: u32,
    /// Sensors whose turn is still to come, or that are in flight.
    pub pending: u32,
    /// The most sensors in flight at once.
    pub peak_in_flight: u32,
}
