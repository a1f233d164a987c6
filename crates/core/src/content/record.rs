//! What a host must not forget about rule packages. The disk is the truth; everything else follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::manifest::build_stamp;
use super::{RulesFailure, RulesManifest};
use crate::time::Timestamp;

/// One package that lies verified on the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesSet {
    /// Its build date.
    pub build: Timestamp,
    /// SHA-256 of its package, lower-case hex.
    pub sha256: String,
}

impl RulesSet {
    /// The name of its folder: `20261125t120000-1a2b3c4d`.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", build_stamp(self.build), self.sha256.get(..8).unwrap_or_default())
    }
}

/// How many rules a package says it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct RulesPromise {
    /// For `sigma`.
    pub sigma: u32,
    /// For `suricata`.
    pub suricata: u32,
}

impl From<&RulesManifest> for RulesPromise {
    fn from(manifest: &RulesManifest) -> Self {
        Self { sigma: manifest.sigma_expected, suricata: manifest.suricata_expected }
    }
}

/// A package on trial: handed to the sensor, and not yet found to do what it promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesTrial {
    /// Which one.
    pub set: RulesSet,
    /// What it promises.
    pub promise: RulesPromise,
    /// The push that ordered it.
    #[serde(default)]
    pub push: u32,
    /// The run of the sensor that was asked to load it last; `None`: no sensor that may still live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_to: Option<u64>,
    /// How many runs of the sensor ended after they were asked to load it.
    #[serde(default)]
    pub ended: u32,
}

/// The durable record of rule packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct RulesRecord {
    /// What was loaded, judged and kept; `None`: the rules of the release alone.
    pub in_effect: Option<RulesSet>,
    /// What was in effect before: the only older one that this host goes back to.
    pub previous: Option<RulesSet>,
    /// What is on trial.
    pub trial: Option<RulesTrial>,
    /// The newest build that was ever kept here; an older one is not fetched.
    pub floor: Option<Timestamp>,
    /// Builds that were put back, each with the push that had ordered it.
    pub bad: BTreeMap<Timestamp, u32>,
    /// The last build that was put back or refused.
    pub failed: Option<RulesFailure>,
}

impl RulesRecord {
    /// What the sensor should have loaded at this moment.
    #[must_use]
    pub fn wanted(&self) -> Option<&RulesSet> {
        self.trial.as_ref().map(|trial| &trial.set).or(self.in_effect.as_ref())
    }

    /// The folders that must stay.
    #[must_use]
    pub fn kept(&self) -> Vec<RulesSet> {
        let trial = self.trial.as_ref().map(|trial| &trial.set);
        self.in_effect.iter().chain(&self.previous).chain(trial).cloned().collect()
    }

    /// Whether a build was put back here and no later push orders it again.
    #[must_use]
    pub fn is_bad(&self, build: Timestamp, push: u32) -> bool {
        self.bad.get(&build).is_some_and(|failed_at| push <= *failed_at)
    }

    /// Remembers a bad build, and forgets the oldest ones beyond `most`.
    pub(super) fn remember_bad(&mut self, build: Timestamp, push: u32, most: usize) {
        self.bad.insert(build, push);
        while self.bad.len() > most {
            self.bad.pop_first();
        }
    }
}
