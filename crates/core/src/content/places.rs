//! Places for loading rules: in a zone with a declared coverage, so many sensors at once that enough keep watching (E11).
//!
//! A sensor with a place counts as not watching, here and in the update planner: both draw on the same coverage.
//! Kept in memory alone. What was offered before a restart may still be under way, so it is waited for.

use std::collections::{BTreeMap, BTreeSet};

use super::RulesBoard;
use crate::id::SensorId;
use crate::rollout::Fleet;
use crate::sensor::{Context, Sensor, is_watching};
use crate::time::Timestamp;

/// Check-ins until it is certain that a host has heard that its offer was withdrawn, and says so.
const CHECK_INS_TO_LEAVE: u32 = 2;

/// What a sensor is doing in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is offered other rules than it has: this build, or `None` for those of its release.
    Offered { build: Option<Timestamp> },
    /// It was, or may have been, and is not any more; it may still be at it.
    Leaving { since: Timestamp },
}

/// Who waits for a place in a zone.
#[derive(Default)]
struct Waiting {
    /// Sensors that watch and have no place.
    watching: u32,
    /// Of those, who wants other rules, whose last turn is longest ago first.
    queue: Vec<(Option<u64>, SensorId)>,
    /// Who wants other rules and does not watch.
    free: Vec<SensorId>,
}

/// Who has a place.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RulePlaces {
    taken: BTreeMap<SensorId, Place>,
    /// Zones that were covered at the last look: what was offered in any other was offered without a place.
    covered: BTreeSet<String>,
    /// The turn that each sensor had last, so that one that cannot fetch its rules does not keep the others waiting.
    turns: BTreeMap<SensorId, u64>,
    turn: u64,
}

impl RulePlaces {
    /// Whether a sensor may be offered other rules than it has.
    #[must_use]
    pub fn may_load(&self, sensor: &Sensor, coverage: &BTreeMap<String, u32>) -> bool {
        let is_covered = sensor.zone.as_ref().is_some_and(|zone| coverage.contains_key(zone));
        !is_covered || matches!(self.taken.get(&sensor.id), Some(Place::Offered { .. }))
    }

    /// Who counts as not watching.
    #[must_use]
    pub fn away(&self) -> BTreeSet<SensorId> {
        self.taken.keys().copied().collect()
    }

    /// Takes places back that are not needed any more. Comes before the planner hands out updates.
    pub fn release(&mut self, fleet: &Fleet, board: &RulesBoard, context: &Context<'_>) {
        let coverage = &context.policy.rollout.coverage;
        let is_covered = |sensor: &Sensor| sensor.zone.as_ref().is_some_and(|zone| coverage.contains_key(zone));
        self.taken.retain(|id, _| fleet.get(id).is_some_and(is_covered));
        let contended = self.contended(fleet, board, coverage);
        for sensor in fleet.values().filter(|sensor| is_covered(sensor)) {
            let is_known = sensor.zone.as_ref().is_some_and(|zone| self.covered.contains(zone));
            let place = self.place(sensor, board, fleet.len(), is_known, &contended, context);
            match place {
                Some(place) => self.taken.insert(sensor.id, place),
                None => self.taken.remove(&sensor.id),
            };
        }
        self.covered = coverage.keys().cloned().collect();
    }

    /// Zones where somebody without a place waits for one.
    fn contended(&self, fleet: &Fleet, board: &RulesBoard, coverage: &BTreeMap<String, u32>) -> BTreeSet<String> {
        let waiting = fleet.values().filter(|sensor| !self.taken.contains_key(&sensor.id));
        let zones = waiting.filter(|sensor| wants_other_rules(sensor, board, fleet.len()));
        zones.filter_map(|sensor| sensor.zone.clone()).filter(|zone| coverage.contains_key(zone)).collect()
    }

    fn place(
        &self,
        sensor: &Sensor,
        board: &RulesBoard,
        size: usize,
        is_known: bool,
        contended: &BTreeSet<String>,
        context: &Context<'_>,
    ) -> Option<Place> {
        let (wanted, report) = (wanted(sensor, board, size), &sensor.report.rules);
        let (wants, is_loading, now) = (wanted != report.build, report.loading.is_some(), context.now);
        let leaving = Place::Leaving { since: now };
        match self.taken.get(&sensor.id).copied() {
            Some(Place::Offered { build }) if !wants => {
                // Done with what it was offered, or it has just heard of what is offered no more and may be at it.
                let is_done = report.build == build || build.is_some_and(|build| report.bad.contains(&build));
                (is_loading || !is_done).then_some(leaving)
            }
            Some(Place::Offered { .. }) => {
                let is_in_the_way = sensor.zone.as_ref().is_some_and(|zone| contended.contains(zone));
                let gives_way = !is_loading && is_in_the_way && cannot_load_now(sensor, wanted);
                Some(if gives_way { leaving } else { Place::Offered { build: wanted } })
            }
            Some(Place::Leaving { since }) => {
                let settles = since + context.policy.contact.check_in * CHECK_INS_TO_LEAVE;
                let has_left = !is_loading && sensor.last_contact.is_some_and(|at| at >= settles);
                (!has_left).then_some(Place::Leaving { since })
            }
            // Whoever was offered anything before a restart may be at it, also at what has been pulled back since.
            None => (is_loading || (!is_known && board.packages().next().is_some())).then_some(leaving),
        }
    }

    /// Gives places to those whose turn it is. Comes after the planner has handed out updates.
    pub fn grant(&mut self, fleet: &Fleet, board: &RulesBoard, context: &Context<'_>) {
        let coverage = &context.policy.rollout.coverage;
        let mut zones: BTreeMap<&str, Waiting> = BTreeMap::new();
        for sensor in fleet.values().filter(|sensor| !self.taken.contains_key(&sensor.id)) {
            let Some(zone) = sensor.zone.as_ref().filter(|zone| coverage.contains_key(*zone)) else { continue };
            let zone = zones.entry(zone).or_default();
            let (watches, wants) = (is_watching(sensor, context), wants_other_rules(sensor, board, fleet.len()));
            zone.watching += u32::from(watches);
            match (wants, watches) {
                (true, true) => zone.queue.push((self.turns.get(&sensor.id).copied(), sensor.id)),
                // Nobody counts on it, and other rules may be what it needs.
                (true, false) => zone.free.push(sensor.id),
                (false, _) => {}
            }
        }
        for (zone, Waiting { watching, mut queue, free }) in zones {
            let room = watching.saturating_sub(coverage.get(zone).copied().unwrap_or(0));
            queue.sort_unstable();
            let queued = queue.into_iter().map(|(_, id)| id).take(usize::try_from(room).unwrap_or(usize::MAX));
            for id in free.into_iter().chain(queued) {
                self.turn = self.turn.saturating_add(1);
                self.turns.insert(id, self.turn);
                let build = fleet.get(&id).and_then(|sensor| wanted(sensor, board, fleet.len()));
                self.taken.insert(id, Place::Offered { build });
            }
        }
        self.turns.retain(|id, _| fleet.contains_key(id));
    }

    /// When to look again although nothing new was heard: somebody may have left by then.
    #[must_use]
    pub fn wakes_at(&self, context: &Context<'_>) -> Option<Timestamp> {
        let is_leaving = self.taken.values().any(|place| matches!(place, Place::Leaving { .. }));
        is_leaving.then(|| context.now + context.policy.contact.check_in)
    }
}

/// The build that a sensor should have; `None`: the rules of its release.
fn wanted(sensor: &Sensor, board: &RulesBoard, size: usize) -> Option<Timestamp> {
    board.desired(sensor, size).map(|order| order.build)
}

fn wants_other_rules(sensor: &Sensor, board: &RulesBoard, size: usize) -> bool {
    wanted(sensor, board, size) != sensor.report.rules.build
}

/// Whether it has said of the very package it is offered that it could not load it, and waits before it tries again.
fn cannot_load_now(sensor: &Sensor, wanted: Option<Timestamp>) -> bool {
    sensor.report.rules.failed.as_ref().is_some_and(|failure| Some(failure.build) == wanted)
}
