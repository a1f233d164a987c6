//! The scenario file, read strictly: what is not understood is refused with the path of its key.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::check;
use crate::release::ReleaseKind;
use crate::restart::{RestartNeed, RestartSwitch};
use crate::sensor::SensorKind;
use crate::time::{Timestamp, parse_duration};
use crate::version::Version;

/// Why a scenario is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is not JSON, or a key is unknown, missing or of the wrong form.
    #[error("{path} cannot be read; correct the scenario there")]
    Syntax {
        /// Path of the key.
        path: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Each key is right by itself, but not beside the others.
    #[error("{path}: {why}")]
    Meaning {
        /// Path of the key.
        path: String,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// A duration from the start of the scenario, or a span, written as ISO 8601.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

/// A moment to look at everything; it keeps its spelling for the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) at: Duration,
    pub(super) text: String,
}

impl<'de> Deserialize<'de> for Look {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = parse_duration(&text).map_err(D::Error::custom)?;
        Ok(Self { at, text })
    }
}

/// An instant, or a duration from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Instant(Timestamp),
    FromStart(Duration),
}

impl Moment {
    pub(super) fn after(self, start: Timestamp) -> Timestamp {
        match self {
            Self::Instant(at) => at,
            Self::FromStart(span) => start + span,
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with('P') {
            return parse_duration(&text).map(Self::FromStart).map_err(D::Error::custom);
        }
        text.parse().map(Self::Instant).map_err(D::Error::custom)
    }
}

/// A fleet, its releases, and what happens to both.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    pub(super) start: Timestamp,
    pub(super) until: Span,
    #[serde(default)]
    pub(super) policy: PolicySpec,
    #[serde(default)]
    pub(super) catalogue: Vec<History>,
    pub(super) sensors: Vec<SensorSpec>,
    #[serde(default)]
    pub(super) releases: Vec<ReleaseSpec>,
    #[serde(default)]
    pub(super) operator: Vec<Step>,
    #[serde(default)]
    pub(super) observe: Vec<Look>,
}

#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PolicySpec {
    pub(super) check_in: Option<Span>,
    pub(super) delayed_ring: Option<Span>,
    pub(super) max_in_flight: Option<u32>,
    pub(super) clearance_deadline: Option<Span>,
    #[serde(default)]
    pub(super) restart_for_major: RestartSwitch,
    #[serde(default)]
    pub(super) failure_budget: BudgetSpec,
    #[serde(default)]
    pub(super) coverage: Vec<CoverageSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BudgetSpec {
    pub(super) percent: Option<f64>,
    pub(super) at_least: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CoverageSpec {
    pub(super) zone: String,
    pub(super) keep_watching: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct History {
    pub(super) version: Version,
    pub(super) published_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) kind: ReleaseKind,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SensorSpec {
    pub(super) name: String,
    #[serde(default = "on_a_domain_controller", rename = "type")]
    pub(super) kind: SensorKind,
    #[serde(default)]
    pub(super) domain: String,
    pub(super) zone: Option<String>,
    pub(super) version: Option<Version>,
    #[serde(default)]
    pub(super) delayed: bool,
    #[serde(default)]
    pub(super) domain_controller_dns_names: Vec<String>,
    #[serde(default)]
    pub(super) behaviour: Behaviour,
}

fn on_a_domain_controller() -> SensorKind {
    SensorKind::DomainControllerIntegrated
}

/// What a simulated host does, beside what every host does.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behaviour {
    #[serde(default)]
    pub(super) offline: Vec<Window>,
    #[serde(default)]
    pub(super) no_config_pull: Vec<Window>,
    #[serde(default)]
    pub(super) service_stopped: Vec<Window>,
    #[serde(default)]
    pub(super) health_facts: Vec<FactWindow>,
    #[serde(default)]
    pub(super) on_update: BTreeMap<Version, OnUpdate>,
    pub(super) update_takes: Option<Span>,
}

impl Behaviour {
    /// A host on which each version behaves so, and which needs so long to fetch and unpack one.
    #[must_use]
    pub fn of(on_update: BTreeMap<Version, OnUpdate>, update_takes: Duration) -> Self {
        Self { on_update, update_takes: Some(Span(update_takes)), ..Self::default() }
    }
}

/// From the first instant on, until just before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Window {
    pub(super) from: Span,
    pub(super) to: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FactWindow {
    pub(super) from: Span,
    pub(super) to: Span,
    pub(super) issue_type: String,
}

impl FactWindow {
    pub(super) fn window(&self) -> Window {
        Window { from: self.from, to: self.to }
    }
}

/// How a version behaves on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnUpdate {
    /// It starts and detects.
    #[default]
    Ok,
    /// It dies at start.
    Crash,
    /// It lives and does not detect.
    Unhealthy,
    /// The host says nothing any more after the switch.
    Silent,
    /// The download never ends.
    Stall,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReleaseSpec {
    pub(super) at: Span,
    pub(super) version: Version,
    #[serde(default)]
    pub(super) kind: ReleaseKind,
    #[serde(default)]
    pub(super) restart: RestartNeed,
    pub(super) pulled_back_at: Option<Moment>,
}

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Deed {
    Pause,
    Resume,
    Abort,
    SetDelayed,
    Retry,
    Exclude,
    Delete,
    RemoveFromDirectory,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Step {
    pub(super) at: Span,
    #[serde(rename = "do")]
    pub(super) deed: Deed,
    pub(super) version: Option<Version>,
    pub(super) sensor: Option<String>,
    pub(super) value: Option<bool>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// When it is not JSON, a key is unknown, missing or wrong, or keys contradict one another.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let scenario: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { "the scenario".to_owned() } else { path };
            ScenarioError::Syntax { path, source: error.into_inner() }
        })?;
        json.end().map_err(|source| ScenarioError::Syntax { path: "the end of the scenario".to_owned(), source })?;
        check::check(&scenario)?;
        Ok(scenario)
    }
}
