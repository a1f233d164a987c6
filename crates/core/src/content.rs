//! Rule packages: what one says of itself, what a host should have and what it has (H2, decision 16).
//!
//! A package has its own clock, its build date, and is independent of the sensor's version. “Loaded” is what the
//! sensor's engines report, never what was sent.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::sync::TargetRef;
use crate::time::Timestamp;

/// The component of a rule package's target.
pub const RULES_COMPONENT: &str = "rules";

/// A rule package that a host should have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredRules {
    /// When it was built: its version.
    pub build: Timestamp,
    /// Its target, as both repositories must name it.
    pub target: TargetRef,
}

/// How a host stands with rule packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct RulesReport {
    /// The build that the engines have loaded; `None`: only the rules of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Timestamp>,
    /// The build under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loading: Option<Timestamp>,
    /// The last build that was put back or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<RulesFailure>,
    /// Builds that were put back here and are not tried again by themselves.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub bad: BTreeSet<Timestamp>,
}

/// A rule package that did not do what it promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesFailure {
    /// Which build.
    pub build: Timestamp,
    /// Why, in one line for a person.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}
