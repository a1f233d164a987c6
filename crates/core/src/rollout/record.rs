//! What the planner remembers of one sensor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ring;
use crate::catalogue::Catalogue;
use crate::restart::{RestartNeed, RestartSwitch};
use crate::sensor::Context;
use crate::sync::{Desired, Report};
use crate::time::Timestamp;
use crate::version::Version;

/// An update under way: from the hand-out to clearance, return or failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flight {
    /// What it is to run.
    pub version: Version,
    /// What it ran when it was started.
    pub from: Version,
    /// The ring it was started in.
    pub ring: Ring,
    /// The desired generation that hands it out.
    pub generation: u64,
    /// When it was handed out.
    pub started_at: Timestamp,
    /// When the host switched.
    pub switched_at: Option<Timestamp>,
    /// What is restarted besides the sensor.
    #[serde(default)]
    pub restart: RestartNeed,
    /// It only stages the release, which needs a restart that is not allowed yet.
    #[serde(default)]
    pub only_stages: bool,
}

impl Flight {
    /// How much longer than the sensor's own restart the other one may take.
    pub(super) fn allowance(&self, context: &Context<'_>) -> Duration {
        match self.restart {
            RestartNeed::Host | RestartNeed::WatchedService if !self.only_stages => {
                context.policy.rollout.restart_takes
            }
            RestartNeed::Host | RestartNeed::WatchedService | RestartNeed::None => Duration::ZERO,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The ring it counts in.
    pub ring: Ring,
    /// Cleared, else failed.
    pub cleared: bool,
    /// When.
    pub at: Timestamp,
}

/// The last attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What was attempted.
    pub version: Version,
    /// Whether the host had switched and went back.
    pub reverted: bool,
    /// The sensor runs it; the updater that came with it did not prove itself.
    #[serde(default)]
    pub is_of_updater: bool,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Why a sensor was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skip {
    /// In which rollout.
    pub version: Version,
    /// Why.
    pub reason: String,
}

/// The planner's memory of a sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct UpdateRecord {
    /// What the host should be; its generation only grows.
    pub desired: Desired,
    /// The update under way.
    pub flight: Option<Flight>,
    /// How the attempt at each version ended.
    pub outcomes: BTreeMap<Version, Outcome>,
    /// The last failed attempt at each version, until a newer version is cleared or a retry is ordered.
    pub failures: BTreeMap<Version, Failure>,
    /// Versions that were reverted here.
    pub bad_versions: BTreeSet<Version>,
    /// Rollouts a person has excluded it from.
    pub excluded: BTreeSet<Version>,
    /// A person's order to try this version again.
    pub retry: Option<Version>,
    /// The release that lies staged on its host and waits for a restart.
    #[serde(default)]
    pub staged: Option<Version>,
    /// A person's order to restart for this version as soon as it is its turn, whatever the switch says.
    #[serde(default)]
    pub restart_now: Option<Version>,
    /// What was set for this sensor alone; `None`: as for the workspace.
    #[serde(default)]
    pub restart_for_major: Option<RestartSwitch>,
    /// Why it was passed over at the last look.
    pub skip: Option<Skip>,
}

impl UpdateRecord {
    /// The newest failure that still stands: its release was not pulled back since.
    #[must_use]
    pub fn standing_failure(&self, context: &Context<'_>) -> Option<&Failure> {
        self.failures.values().rev().find(|failure| {
            context.catalogue.get(failure.version).is_none_or(|release| release.is_on_offer(context.now))
        })
    }

    /// Asks for a version, in a new generation. A version nobody has a package of asks for nothing.
    pub(super) fn want(&mut self, version: Option<Version>, cleared: bool, catalogue: &Catalogue) {
        let target = version.and_then(|version| catalogue.get(version)).and_then(|release| release.target.clone());
        let retry = version.is_some() && self.retry == version;
        self.desired = Desired {
            generation: self.desired.generation.saturating_add(1),
            version,
            target,
            cleared,
            retry,
            ..Desired::default()
        };
    }

    /// The host knows a newer generation than this record: the control plane was put back from a backup. Whatever it asks
    /// for from here on lies above that, or the host would refuse it as old, and no proof or failure from before counts.
    /// Where nothing is under way here, the host keeps what it runs.
    pub(super) fn catch_up(&mut self, report: &Report, catalogue: &Catalogue) -> bool {
        if report.generation <= self.desired.generation {
            return false;
        }
        self.desired.generation = report.generation;
        match (&mut self.flight, report.version) {
            (Some(flight), _) => {
                self.desired.generation = self.desired.generation.saturating_add(1);
                flight.generation = self.desired.generation;
            }
            (None, Some(runs)) => {
                // It proves itself once more before it is told to keep what this control plane never saw cleared.
                let is_cleared = self.desired.cleared && self.desired.version == Some(runs);
                self.want(Some(runs), is_cleared, catalogue);
            }
            (None, None) => self.desired.generation = self.desired.generation.saturating_add(1),
        }
        true
    }

    /// Tells the host that what it runs is cleared.
    pub(super) fn clear_desired(&mut self) {
        self.desired.generation = self.desired.generation.saturating_add(1);
        self.desired.cleared = true;
    }
}
