//! One look of the planner over the fleet, and what a rollout has come to.

use std::collections::{BTreeMap, BTreeSet};

use super::settle::{confirm, deadline, settle, updater_given_up};
use super::standing::{Standing, ring_in};
use super::{Event, Fleet, Ring, Rollout, RolloutState, Wake, What, restarts};
use crate::id::SensorId;
use crate::sensor::Context;
use crate::time::Timestamp;
use crate::version::Version;

/// All rollouts of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planner {
    /// By the version they roll out.
    pub rollouts: BTreeMap<Version, Rollout>,
    /// Whether signed metadata has expired: every host would refuse an update, so nobody new is asked to take one.
    pub is_trust_expired: bool,
    /// Who was in flight at the last look, for the reasons people read.
    pub(super) in_flight_names: Vec<String>,
    /// Who does not watch for another reason than an update: it loads rules.
    pub(super) away: BTreeSet<SensorId>,
}

/// What a rollout has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sensors that were cleared.
    pub cleared: u32,
    /// Sensors that went back or failed.
    pub failed: u32,
    /// Sensors that are passed over for now.
    pub skipped: u32,
    /// Sensors whose turn is still to come.
    pub pending: u32,
    /// Sensors in flight.
    pub in_flight: u32,
    /// Of the pending ones, those that wait for the delayed ring to open.
    pub behind_gate: u32,
    /// When the delayed ring opens, if somebody waits for it.
    pub gate_opens_at: Option<Timestamp>,
}

impl Summary {
    /// Whether something happens here without waiting for the delayed ring.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.in_flight > 0 || self.pending > self.behind_gate
    }
}

impl Planner {
    /// A planner over the rollouts that were remembered.
    #[must_use]
    pub fn over(rollouts: impl IntoIterator<Item = Rollout>) -> Self {
        let rollouts = rollouts.into_iter().map(|rollout| (rollout.version, rollout)).collect();
        Self { rollouts, is_trust_expired: false, in_flight_names: Vec::new(), away: BTreeSet::new() }
    }

    /// Names the sensors that do not watch although they look as if they did, because they may be loading rules: no
    /// coverage is counted on them.
    pub fn count_as_away(&mut self, away: BTreeSet<SensorId>) {
        self.away = away;
    }

    /// Looks at everything: ends attempts, halts, starts who is next, and says when to look again.
    pub fn wake(&mut self, fleet: &mut Fleet, context: &Context<'_>) -> Wake {
        let mut wake = Wake::default();
        self.settle_all(fleet, context, &mut wake);
        self.halt_where_needed(fleet, context, &mut wake);
        self.hand_out(fleet, context, &mut wake);
        self.note_flights(fleet, &mut wake);
        self.complete(fleet, context, &mut wake);
        wake.wakes_at = self.wakes_at(fleet, context);
        wake
    }

    fn settle_all(&mut self, fleet: &mut Fleet, context: &Context<'_>, wake: &mut Wake) {
        for (id, sensor) in fleet.iter_mut() {
            if sensor.update.catch_up(&sensor.report, context.catalogue) {
                wake.sensors.insert(*id);
            }
            if let Some(settled) = settle(sensor, context).or_else(|| updater_given_up(sensor, context.now)) {
                wake.sensors.insert(*id);
                wake.events.extend(settled.events);
                if let Some((version, ring)) = settled.failed {
                    self.note_failure(version, ring);
                    wake.rollouts.insert(version);
                }
            } else if confirm(sensor) {
                wake.sensors.insert(*id);
            }
            let rollouts = &self.rollouts;
            let is_wanted = |version: Version| {
                let goes_on = rollouts.get(&version).is_some_and(|rollout| rollout.state != RolloutState::Aborted);
                goes_on && context.catalogue.get(version).is_some_and(|release| release.is_on_offer(context.now))
            };
            if restarts::withdraw_staged(sensor, context, is_wanted) {
                wake.sensors.insert(*id);
            }
        }
    }

    fn note_failure(&mut self, version: Version, ring: Ring) {
        if let Some(rollout) = self.rollouts.get_mut(&version) {
            rollout.pace.entry(ring).or_default().failed = true;
        }
    }

    /// How many sensors have failed in each ring of a rollout.
    pub(super) fn failures(fleet: &Fleet, version: Version) -> BTreeMap<Ring, u32> {
        let mut failures = BTreeMap::new();
        for sensor in fleet.values() {
            if let Some(outcome) = sensor.update.outcomes.get(&version).filter(|outcome| !outcome.cleared) {
                *failures.entry(outcome.ring).or_insert(0) += 1;
            }
        }
        failures
    }

    fn halt_where_needed(&mut self, fleet: &Fleet, context: &Context<'_>, wake: &mut Wake) {
        let budget = context.policy.rollout.failure_budget;
        let over = |rollout: &Rollout, ring: Ring, failed: u32, size: u32| {
            let counted = failed.saturating_sub(rollout.acknowledged.get(&ring).copied().unwrap_or(0));
            (counted > budget.tolerated(size)).then_some(counted)
        };
        // A larger ring tolerates no less: what an empty one would bear needs no ring counted.
        let in_doubt: BTreeMap<Version, BTreeMap<Ring, u32>> = self
            .rollouts
            .values()
            .filter(|rollout| rollout.state.hands_out())
            .map(|rollout| (rollout, Self::failures(fleet, rollout.version)))
            .filter(|(rollout, failures)| failures.iter().any(|(ring, n)| over(rollout, *ring, *n, 0).is_some()))
            .map(|(rollout, failures)| (rollout.version, failures))
            .collect();
        if in_doubt.is_empty() {
            return;
        }
        let sizes = self.ring_sizes(fleet);
        for (version, failures) in in_doubt {
            let Some(rollout) = self.rollouts.get_mut(&version) else { continue };
            for (ring, failed) in failures {
                let size = sizes.get(&(version, ring)).copied().unwrap_or(0);
                if let Some(counted) = over(rollout, ring, failed, size) {
                    let tolerated = budget.tolerated(size);
                    let reason = format!("{counted} failures, and a ring of {size} tolerates {tolerated}");
                    rollout.state = RolloutState::Halted { reason: reason.clone() };
                    let what = What::Halted { reason };
                    wake.events.push(Event { at: context.now, sensor: None, version, what });
                    wake.rollouts.insert(version);
                    break;
                }
            }
        }
    }

    fn note_flights(&mut self, fleet: &Fleet, wake: &mut Wake) {
        let mut flying: BTreeMap<Version, u32> = BTreeMap::new();
        self.in_flight_names.clear();
        for sensor in fleet.values() {
            if let Some(flight) = &sensor.update.flight {
                *flying.entry(flight.version).or_insert(0) += 1;
                self.in_flight_names.push(sensor.name.clone());
            }
        }
        for (version, count) in flying {
            if let Some(rollout) = self.rollouts.get_mut(&version).filter(|rollout| rollout.peak_in_flight < count) {
                rollout.peak_in_flight = count;
                wake.rollouts.insert(version);
            }
        }
    }

    fn complete(&mut self, fleet: &Fleet, context: &Context<'_>, wake: &mut Wake) {
        // Whoever is passed over meanwhile is still to come: nothing is completed by that.
        if self.is_trust_expired {
            return;
        }
        let open: Vec<Version> = self
            .rollouts
            .values()
            .filter(|rollout| matches!(rollout.state, RolloutState::Planned | RolloutState::Running))
            .map(|rollout| rollout.version)
            .collect();
        for version in open {
            let summary = self.summary(version, fleet, context);
            if summary.pending == 0 && summary.in_flight == 0 {
                if let Some(rollout) = self.rollouts.get_mut(&version) {
                    rollout.state = RolloutState::Completed;
                }
                wake.events.push(Event { at: context.now, sensor: None, version, what: What::Completed });
                wake.rollouts.insert(version);
            }
        }
    }

    /// What the rollout of `version` has come to.
    #[must_use]
    pub fn summary(&self, version: Version, fleet: &Fleet, context: &Context<'_>) -> Summary {
        let mut summary = Summary::default();
        for sensor in fleet.values() {
            let update = &sensor.update;
            if update.flight.as_ref().is_some_and(|flight| flight.version == version) {
                summary.in_flight += 1;
                continue;
            }
            match update.outcomes.get(&version) {
                Some(outcome) if outcome.cleared => summary.cleared += 1,
                Some(_) => summary.failed += 1,
                None => self.count_waiting(&mut summary, version, sensor, context),
            }
        }
        summary
    }

    fn count_waiting(
        &self,
        summary: &mut Summary,
        version: Version,
        sensor: &crate::sensor::Sensor,
        context: &Context<'_>,
    ) {
        let is_skipped = sensor.update.skip.as_ref().is_some_and(|skip| skip.version == version);
        let standing = match sensor.update.flight {
            None => self.standing(sensor, context),
            Some(_) => self.standing_after_flight(sensor, context),
        };
        match standing {
            Standing::Next(next) | Standing::Gate(next, _) if next == version && is_skipped => summary.skipped += 1,
            Standing::Next(next) if next == version => summary.pending += 1,
            Standing::Next(step) if step < version && self.is_beyond_a_step(version, sensor, context) => {
                let is_held_up = sensor.update.skip.as_ref().is_some_and(|skip| skip.version == step);
                *(if is_held_up { &mut summary.skipped } else { &mut summary.pending }) += 1;
            }
            Standing::Next(_) | Standing::Gate(..) | Standing::None => {
                if let Some(at) = self.gate_ahead(version, sensor, context) {
                    summary.pending += 1;
                    summary.behind_gate += 1;
                    summary.gate_opens_at = Some(at);
                }
            }
        }
    }

    /// When the delayed ring of `version` opens for a sensor that will then take it.
    fn gate_ahead(&self, version: Version, sensor: &crate::sensor::Sensor, context: &Context<'_>) -> Option<Timestamp> {
        let release = context.catalogue.get(version).filter(|release| release.is_on_offer(context.now))?;
        let opens_at = release.published_at + context.policy.rollout.delayed_ring;
        let is_ahead = ring_in(sensor, version) == Ring::Delayed
            && context.now < opens_at
            && sensor.version().is_some_and(|running| running.can_become(version))
            && !sensor.update.excluded.contains(&version);
        is_ahead.then_some(opens_at)
    }

    /// The next deadline, gate or silence that may change something.
    fn wakes_at(&self, fleet: &Fleet, context: &Context<'_>) -> Option<Timestamp> {
        let mut wakes_at: Option<Timestamp> = None;
        let mut consider = |at: Timestamp| {
            if at > context.now {
                wakes_at = Some(wakes_at.map_or(at, |before| before.min(at)));
            }
        };
        for sensor in fleet.values() {
            if let Some(flight) = &sensor.update.flight {
                consider(deadline(sensor, flight, context));
                continue;
            }
            match self.standing(sensor, context) {
                Standing::None => {}
                Standing::Gate(_, at) => consider(at),
                Standing::Next(version) => {
                    consider(context.silent_since(sensor) + context.policy.contact.disconnected_after);
                    restarts::opens_at(sensor, version, context).into_iter().for_each(&mut consider);
                }
            }
        }
        wakes_at.into_iter().chain(context.catalogue.changes_at(context.now)).min()
    }
}
