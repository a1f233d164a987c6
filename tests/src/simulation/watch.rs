//! What must hold at every moment of a story, and what must have come about once nothing breaks any more.
//!
//! Each rule is worked out anew from the fleet and the catalogue; none of the planner's own answers is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use watchpost_core::id::SensorId;
use watchpost_core::policy::Policy;
use watchpost_core::rollout::{Fleet, Ring, RolloutState, UpdateRecord, Wake, What};
use watchpost_core::sensor::{Context, Sensor, is_watching};
use watchpost_core::sync::UpdateProgress;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::member::Member;
use super::world::Plane;

/// The delayed ring, from the product documents.
const DELAYED: Duration = Duration::from_secs(72 * 60 * 60);
/// Staging deadline, clearance deadline and the check-ins that tell of it, and one look of the planner.
const LONGEST_FLIGHT: Duration = Duration::from_secs((30 + 10 + 5) * 60);

/// What was seen so far.
#[derive(Default)]
pub struct Watch {
    /// Versions that a host went back from.
    reverted: BTreeSet<(SensorId, Version)>,
    /// When a backup was put back last.
    put_back: Option<Timestamp>,
    /// Looks of the planner.
    pub looks: u64,
    /// Sensors that were started.
    pub started: u64,
    /// Sensors that were cleared.
    pub cleared: u64,
    /// Attempts that ended badly.
    pub failed: u64,
    /// Rollouts that halted.
    pub halted: u64,
    /// Sensors that were passed over, by reason.
    pub skipped: BTreeMap<String, u64>,
}

/// The fleet just before a look of the planner.
pub struct Before {
    watching: BTreeMap<String, u32>,
    watched: BTreeSet<SensorId>,
}

impl Watch {
    /// A backup was put back.
    pub fn was_put_back(&mut self, now: Timestamp) {
        self.put_back = Some(now);
    }

    /// Who watches, whoever loads rules left out.
    #[must_use]
    pub fn before(&self, fleet: &Fleet, away: &BTreeSet<SensorId>, context: &Context<'_>) -> Before {
        let mut before = Before { watching: BTreeMap::new(), watched: BTreeSet::new() };
        // A sensor in flight at this instant may be settled within the look, and watches then.
        let lands =
            |sensor: &Sensor| is_watching(&Sensor { update: UpdateRecord::default(), ..sensor.clone() }, context);
        let watches = |sensor: &Sensor| {
            let is_flying = sensor.update.flight.is_some();
            !away.contains(&sensor.id) && if is_flying { lands(sensor) } else { is_watching(sensor, context) }
        };
        let covered = &context.policy.rollout.coverage;
        for sensor in fleet.values() {
            let zone = sensor.zone.as_ref().filter(|zone| covered.contains_key(*zone));
            if let Some(zone) = zone.filter(|_| watches(sensor)) {
                *before.watching.entry(zone.clone()).or_default() += 1;
                before.watched.insert(sensor.id);
            }
        }
        before
    }

    /// A look of the planner is over.
    ///
    /// # Errors
    /// When it did what it may not.
    pub fn hears(&mut self, before: &Before, wake: &Wake, plane: &Plane, context: &Context<'_>) -> anyhow::Result<()> {
        self.looks += 1;
        let now = context.now;
        let mut versions: BTreeMap<Ring, BTreeSet<Version>> = BTreeMap::new();
        for event in &wake.events {
            match (&event.what, event.sensor) {
                (What::Started, Some(id)) => {
                    self.started += 1;
                    let sensor = &plane.fleet[&id];
                    may_be_started(sensor, event.version, plane, context)?;
                    let is_bad = self.reverted.contains(&(id, event.version)) && self.remembers(sensor, event.version);
                    ensure!(
                        !is_bad,
                        "{now}: {} is handed {} again, which it went back from",
                        sensor.name,
                        event.version
                    );
                    versions.entry(Ring::of(sensor)).or_default().insert(event.version);
                }
                (What::Cleared, _) => self.cleared += 1,
                (What::Failed { .. } | What::Reverted { .. }, _) => self.failed += 1,
                (What::Halted { .. }, _) => self.halted += 1,
                (What::Skipped { reason }, _) => *self.skipped.entry(reason.clone()).or_default() += 1,
                _ => {}
            }
        }
        for (ring, versions) in versions {
            ensure!(versions.len() == 1, "{now}: {versions:?} are handed to the ring {ring:?} at once");
        }
        zones_keep_watching(before, wake, &plane.fleet, context)?;
        for sensor in plane.fleet.values() {
            let (asks, knows) = (sensor.update.desired.generation, sensor.report.generation);
            ensure!(asks >= knows, "{now}: {} knows generation {knows} and is asked for {asks}", sensor.name);
        }
        Ok(())
    }

    /// Whether the control plane has been told that the host went back: a backup may not know it.
    fn remembers(&self, sensor: &Sensor, version: Version) -> bool {
        sensor.report.bad_versions.contains(&version)
    }

    /// What holds at any moment.
    ///
    /// # Errors
    /// When something does not; says what.
    pub fn holds(
        &mut self,
        plane: &Plane,
        members: &[Member<'_>],
        policy: &Policy,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let flights: Vec<_> = plane.fleet.values().filter_map(|sensor| sensor.update.flight.as_ref()).collect();
        let most = policy.rollout.max_in_flight.unwrap_or(1) as usize;
        ensure!(flights.len() <= most, "{now}: {} sensors are in flight, and {most} may be", flights.len());
        for member in members.iter().filter(|member| !member.is_quiet) {
            let report = member.host.report(now);
            for version in &report.bad_versions {
                self.reverted.insert((member.id, *version));
            }
            let runs = report.version.map(|version| (member.id, version));
            let is_back = runs.is_some_and(|runs| self.reverted.contains(&runs))
                && matches!(report.update, UpdateProgress::Idle | UpdateProgress::AwaitingClearance { .. });
            ensure!(!is_back, "{now}: {} runs {:?} again, which it went back from", member.id, report.version);
        }
        if self.put_back == Some(now) {
            for member in members {
                ensure!(member.is_let_in(&plane.pins[&member.id]), "{now}: {} is locked out by a backup", member.id);
            }
        }
        Ok(())
    }

    /// Nothing is under way for longer than its deadlines allow, once nothing breaks.
    ///
    /// # Errors
    /// When something is.
    pub fn nothing_hangs(&self, plane: &Plane, now: Timestamp) -> anyhow::Result<()> {
        for sensor in plane.fleet.values() {
            if let Some(flight) = &sensor.update.flight {
                let age = now.since(flight.started_at);
                ensure!(age <= LONGEST_FLIGHT, "{now}: {} is in flight for {} s", sensor.name, age.as_secs());
            }
        }
        Ok(())
    }

    /// At the end every sensor that can be is on the newest release that is handed out, or it is known why not.
    ///
    /// # Errors
    /// When one is not.
    pub fn has_converged(&self, plane: &Plane, members: &[Member<'_>], now: Timestamp) -> anyhow::Result<()> {
        let on_offer =
            |version: &Version| plane.catalogue.get(*version).is_some_and(|release| release.is_on_offer(now));
        let goes_on = |state: &RolloutState| *state != RolloutState::Aborted;
        let newest =
            plane.planner.rollouts.iter().rev().find(|(version, rollout)| on_offer(version) && goes_on(&rollout.state));
        for member in members.iter().filter(|member| member.talks(now)) {
            let sensor = &plane.fleet[&member.id];
            ensure!(sensor.update.flight.is_none(), "{now}: {} is still in flight: {:?}", sensor.name, sensor.update);
            let knows = member.report(now).generation;
            let asked = sensor.update.desired.generation;
            ensure!(knows == asked, "{now}: {} is asked for generation {asked} and knows {knows}", sensor.name);
            let Some((newest, _)) = newest.filter(|(_, rollout)| rollout.state.hands_out()) else { continue };
            let is_explained = sensor.update.outcomes.contains_key(newest)
                || sensor.update.skip.is_some()
                || sensor.version().is_none_or(|runs| runs >= *newest);
            ensure!(
                is_explained,
                "{now}: {} stays on {:?}, and {newest} is handed out: {:?}",
                sensor.name,
                sensor.version(),
                sensor.update
            );
        }
        Ok(())
    }
}

/// Ring, offer and state allow that this sensor is started; and nothing newer is open to it.
fn may_be_started(sensor: &Sensor, version: Version, plane: &Plane, context: &Context<'_>) -> anyhow::Result<()> {
    let (now, name) = (context.now, &sensor.name);
    let is_open = |version: Version| {
        let release = plane.catalogue.get(version).filter(|release| release.is_on_offer(now));
        release.is_some_and(|release| !sensor.delayed || now >= release.published_at + DELAYED)
    };
    ensure!(is_open(version), "{now}: {name} is handed {version} before its ring opens, or after it was pulled back");
    let rollout = &plane.planner.rollouts[&version];
    ensure!(rollout.state.hands_out(), "{now}: {name} is handed {version}, whose rollout is {}", rollout.state.word());
    let newer = plane
        .planner
        .rollouts
        .range(version..)
        .filter(|(newer, rollout)| **newer > version && is_open(**newer) && rollout.state != RolloutState::Aborted);
    let newer: Vec<_> = newer.map(|(newer, _)| newer.to_string()).collect();
    ensure!(newer.is_empty(), "{now}: {name} is handed {version}, and {newer:?} is open to it");
    Ok(())
}

/// No start takes a zone below what it declares.
fn zones_keep_watching(before: &Before, wake: &Wake, fleet: &Fleet, context: &Context<'_>) -> anyhow::Result<()> {
    let started: BTreeSet<SensorId> =
        wake.events.iter().filter(|event| event.what == What::Started).filter_map(|event| event.sensor).collect();
    for (zone, keep) in &context.policy.rollout.coverage {
        let taken: Vec<&Sensor> =
            started.iter().map(|id| &fleet[id]).filter(|sensor| sensor.zone.as_ref() == Some(zone)).collect();
        if taken.iter().all(|sensor| !before.watched.contains(&sensor.id)) {
            continue;
        }
        let flying = fleet.values().filter(|sensor| {
            sensor.zone.as_ref() == Some(zone) && sensor.update.flight.is_some() && before.watched.contains(&sensor.id)
        });
        let left = before.watching.get(zone).copied().unwrap_or(0).saturating_sub(u32::try_from(flying.count())?);
        let names: Vec<&str> = taken.iter().map(|sensor| sensor.name.as_str()).collect();
        ensure!(left >= *keep, "{}: {zone} has {left} of {keep} once {names:?} are started", context.now);
    }
    Ok(())
}
