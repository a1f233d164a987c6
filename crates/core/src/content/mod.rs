//! Rule packages: what one says of itself, what a host should have and what it has (H2, decision 16).
//!
//! A package has its own clock, its build date, and is independent of the sensor's version. “Loaded” is what the
//! sensor's engines report, never what was sent.

mod board;
mod machine;
mod manifest;
mod order;
mod places;
#[cfg(test)]
mod places_tests;
#[cfg(test)]
mod property;
mod record;
#[cfg(test)]
mod tests;
mod under_way;
mod verdict;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::sync::TargetRef;
use crate::time::Timestamp;

pub use board::{RulePackage, RulesBoard, RulesStanding, RulesStatus};
pub use machine::{RulesCommand, RulesEvent, RulesMachine, recover_rules};
pub use manifest::{
    MAX_RULES_JSON, RULES_JSON, RulesError, RulesManifest, SIGMA_FOLDER, SURICATA_FOLDER, SignedRules, build_stamp,
    count_suricata_rules, rules_file_name,
};
pub use order::{RulesMode, RulesOrder};
pub use places::RulePlaces;
pub use record::{RulesPromise, RulesRecord, RulesSet, RulesTrial};
pub use verdict::{BUILT_IN_SURICATA_RULES, Baseline, EngineReading, RulesView, Verdict, judge_load};

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
    /// How often a person has pushed it to this sensor: a higher number lifts the mark of a build that was put back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub push: u32,
    /// The build that failed here last and was pulled back since: its failure is of the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
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
