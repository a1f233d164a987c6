//! Rule packages as the control plane sees them: which one each sensor should have, and how it stands.
//!
//! Pure bookkeeping over reports; it hands a build that failed on too many sensors to no further one.

use std::collections::{BTreeMap, BTreeSet};

use super::{DesiredRules, RulesMode, RulesReport};
use crate::id::SensorId;
use crate::policy::RulesPolicy;
use crate::sensor::{Derived, Sensor};
use crate::sync::TargetRef;
use crate::time::Timestamp;

/// A published rule package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePackage {
    /// Its build date.
    pub build: Timestamp,
    /// Its target.
    pub target: TargetRef,
    /// When it was published.
    pub published_at: Timestamp,
    /// When it was pulled back.
    pub pulled_back_at: Option<Timestamp>,
}

/// How a sensor stands with rule packages (H2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RulesStatus {
    /// Its engines have what they should have.
    Ok,
    /// A package is on its way or being loaded.
    InProgress,
    /// There is a newer package than the one it has.
    UpdateAvailable,
    /// The package it should have was refused or put back.
    Failed,
}

impl RulesStatus {
    /// The word in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::InProgress => "inProgress",
            Self::UpdateAvailable => "updateAvailable",
            Self::Failed => "failed",
        }
    }
}

/// What is shown of one sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesStanding {
    /// What its engines have loaded, as it reports.
    pub build: Option<Timestamp>,
    /// What it is offered.
    pub offered: Option<Timestamp>,
    /// Whether it takes new packages by itself.
    pub mode: RulesMode,
    /// How it stands, and why.
    pub status: Derived<RulesStatus>,
}

/// All packages, and who failed with which.
#[derive(Clone, Debug, Default)]
pub struct RulesBoard {
    packages: BTreeMap<Timestamp, RulePackage>,
    failures: BTreeMap<Timestamp, BTreeSet<SensorId>>,
    /// Which builds a sensor was noted for, so that it can be taken off again.
    noted: BTreeMap<SensorId, BTreeSet<Timestamp>>,
    policy: RulesPolicy,
}

impl RulesBoard {
    /// An empty board under these values.
    #[must_use]
    pub fn new(policy: RulesPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Adds a package, or replaces what is known of it.
    pub fn insert(&mut self, package: RulePackage) {
        self.packages.insert(package.build, package);
    }

    /// All packages, oldest first.
    pub fn packages(&self) -> impl DoubleEndedIterator<Item = &RulePackage> {
        self.packages.values()
    }

    /// The package of this build.
    #[must_use]
    pub fn get(&self, build: Timestamp) -> Option<&RulePackage> {
        self.packages.get(&build)
    }

    /// The newest package that was not pulled back.
    #[must_use]
    pub fn newest(&self) -> Option<&RulePackage> {
        self.packages.values().rev().find(|package| package.pulled_back_at.is_none())
    }

    /// How many sensors a build failed on.
    #[must_use]
    pub fn failures(&self, build: Timestamp) -> usize {
        self.failures.get(&build).map_or(0, BTreeSet::len)
    }

    /// Notes what a sensor reports. Cheap when it failed with nothing, before and now. Only what engines have judged
    /// counts: a host that could not fetch a package says nothing about the package.
    pub fn note(&mut self, sensor: SensorId, report: &RulesReport) {
        let failed = &report.bad;
        if self.noted.get(&sensor).map_or(failed.is_empty(), |before| before == failed) {
            return;
        }
        for build in self.noted.remove(&sensor).unwrap_or_default() {
            if let Some(sensors) = self.failures.get_mut(&build) {
                sensors.remove(&sensor);
            }
        }
        for build in failed {
            self.failures.entry(*build).or_default().insert(sensor);
        }
        self.failures.retain(|_, sensors| !sensors.is_empty());
        if !failed.is_empty() {
            self.noted.insert(sensor, failed.clone());
        }
    }

    /// Whether a build failed on so many of `fleet` sensors that it is handed to no further one.
    #[must_use]
    pub fn is_braked(&self, build: Timestamp, fleet: usize) -> bool {
        let tolerated = self.policy.brake.tolerated(u32::try_from(fleet).unwrap_or(u32::MAX));
        self.failures(build) > tolerated as usize
    }

    /// What a sensor of a fleet of `fleet` should have; `None`: the rules of the release alone.
    #[must_use]
    pub fn desired(&self, sensor: &Sensor, fleet: usize) -> Option<DesiredRules> {
        let (order, report) = (&sensor.rules, &sensor.report.rules);
        let is_free = |package: &&RulePackage| {
            let build = package.build;
            let is_ordered = order.build == Some(build);
            let is_here = report.build == Some(build);
            let is_tried = report.bad.contains(&build);
            package.pulled_back_at.is_none() && (is_ordered || is_here || !(is_tried || self.is_braked(build, fleet)))
        };
        let found = match order.mode {
            RulesMode::Automatic => self.packages.values().rev().find(is_free),
            // What was ordered, or what comes before it when that was pulled back. Nothing was ordered: what it has.
            RulesMode::Manual => {
                let last = order.build.or(report.build)?;
                self.packages.range(..=last).rev().map(|(_, package)| package).find(is_free)
            }
        }?;
        let withdrawn = report.failed.as_ref().map(|failure| failure.build);
        Some(DesiredRules {
            build: found.build,
            target: found.target.clone(),
            push: if order.build == Some(found.build) { order.pushes } else { 0 },
            withdrawn: withdrawn.filter(|build| self.get(*build).is_some_and(|p| p.pulled_back_at.is_some())),
        })
    }

    /// What a sensor is told while its zone can spare nobody: to stay with what it has.
    #[must_use]
    pub fn as_it_is(&self, sensor: &Sensor) -> Option<DesiredRules> {
        let build = sensor.report.rules.build?;
        let order = &sensor.rules;
        Some(DesiredRules {
            build,
            target: self.get(build)?.target.clone(),
            push: if order.build == Some(build) { order.pushes } else { 0 },
            withdrawn: None,
        })
    }

    /// How a sensor of a fleet of `fleet` stands; `has_place`: whether its zone can spare it while it loads.
    #[must_use]
    pub fn standing(&self, sensor: &Sensor, fleet: usize, has_place: bool, now: Timestamp) -> RulesStanding {
        let desired = self.desired(sensor, fleet);
        let wanted = desired.as_ref().map(|order| order.build);
        let (build, mode) = (sensor.report.rules.build, sensor.rules.mode);
        if wanted == build || has_place || sensor.report.rules.loading.is_some() {
            return RulesStanding { build, offered: wanted, mode, status: self.status(sensor, wanted, fleet, now) };
        }
        let zone = sensor.zone.as_deref().unwrap_or_default();
        let reason = format!("other rules wait for their turn: the zone {zone} can spare nobody at this moment");
        let status = Derived { value: RulesStatus::UpdateAvailable, reason, changes_at: None };
        RulesStanding { build, offered: build, mode, status }
    }

    fn status(
        &self,
        sensor: &Sensor,
        offered: Option<Timestamp>,
        fleet: usize,
        now: Timestamp,
    ) -> Derived<RulesStatus> {
        let report = &sensor.report.rules;
        let newest = self.newest().map(|package| package.build);
        let said = |value, reason: String, changes_at| Derived { value, reason, changes_at };
        if let Some(loading) = report.loading {
            return said(RulesStatus::InProgress, format!("the package of {loading} is on its way"), None);
        }
        let failed = report.failed.as_ref().filter(|f| Some(f.build) == newest || Some(f.build) == offered);
        if let Some(failure) = failed.filter(|failure| report.build != Some(failure.build)) {
            return said(RulesStatus::Failed, format!("the package of {}: {}", failure.build, failure.reason), None);
        }
        if report.build != offered {
            let what = offered.map_or("the rules of the release alone".to_owned(), |b| format!("the package of {b}"));
            let until = self.offered_at(sensor, offered) + self.policy.offer_deadline;
            if now < until {
                return said(RulesStatus::InProgress, format!("{what} was offered to it"), Some(until));
            }
            let why = format!("{what} is offered to it, and it has not begun with it");
            return said(RulesStatus::UpdateAvailable, why, None);
        }
        match newest.filter(|newest| Some(*newest) > report.build) {
            Some(newest) if report.bad.contains(&newest) => said(
                RulesStatus::Failed,
                format!("the package of {newest} was put back here; push it to try again"),
                None,
            ),
            Some(newest) if self.is_braked(newest, fleet) => {
                let count = self.failures(newest);
                let why = format!("the package of {newest} failed on {count} sensors and is handed to no further one");
                said(RulesStatus::UpdateAvailable, why, None)
            }
            Some(newest) => {
                let why = format!("the package of {newest} is there; this sensor is set to manual, so push it");
                said(RulesStatus::UpdateAvailable, why, None)
            }
            None if report.build.is_none() => {
                said(RulesStatus::Ok, "it has the rules of its release; no package is published".to_owned(), None)
            }
            None => said(RulesStatus::Ok, "its engines have loaded the package".to_owned(), None),
        }
    }

    /// Since when a sensor is offered what it is offered.
    fn offered_at(&self, sensor: &Sensor, offered: Option<Timestamp>) -> Timestamp {
        let published = offered.and_then(|build| self.get(build)).map(|package| package.published_at);
        // What a sensor has is offered something else, too, when it was pulled back.
        let pulled = sensor.report.rules.build.and_then(|build| self.get(build)).and_then(|p| p.pulled_back_at);
        [published, pulled, sensor.rules.at].into_iter().flatten().max().unwrap_or_default().max(sensor.created_at)
    }
}
