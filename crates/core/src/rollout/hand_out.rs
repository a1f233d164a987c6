//! Whose turn it is: slots, pace, coverage, and the first installation.

use std::collections::BTreeMap;

use super::pace::RingPace;
use super::planner::Planner;
use super::record::{Flight, Skip};
use super::standing::{SkipReason, Standing, watching_by_zone};
use super::{Event, Fleet, Pace, Ring, RolloutState, Wake, What, restarts};
use crate::id::SensorId;
use crate::sensor::{Context, Sensor, is_watching};
use crate::sync::UpdateProgress;
use crate::version::Version;

/// The places that are free at this look.
struct Slots {
    /// Free across all rollouts; `None`: no cap across them.
    everywhere: Option<u32>,
    /// Free per rollout and ring, filled in when first asked for.
    rings: BTreeMap<(Version, Ring), u32>,
}

impl Planner {
    /// Starts every sensor whose turn it is.
    pub(super) fn hand_out(&mut self, fleet: &mut Fleet, context: &Context<'_>, wake: &mut Wake) {
        let mut watching = watching_by_zone(fleet, &self.away, context);
        let flights = flights_by_ring(fleet);
        let mut slots = self.slots(fleet, &flights, context, wake);
        for (id, sensor) in fleet.iter_mut() {
            if sensor.version().is_none() {
                if !self.is_trust_expired {
                    self.first_installation(sensor, context, wake);
                }
                continue;
            }
            let version = match self.standing(sensor, context) {
                Standing::Next(version) => version,
                // A closed gate changes nothing about an exclusion.
                Standing::Gate(version, _) if sensor.update.excluded.contains(&version) => {
                    skip(sensor, version, SkipReason::Excluded, context, wake);
                    continue;
                }
                Standing::Gate(..) | Standing::None => {
                    forget_skip(sensor, wake);
                    continue;
                }
            };
            if !self.rollouts.get(&version).is_some_and(|rollout| rollout.state.hands_out()) {
                forget_skip(sensor, wake);
                continue;
            }
            let place = (version, Ring::of(sensor));
            let obstacle = self.is_trust_expired.then_some(SkipReason::TrustExpired);
            let obstacle = obstacle.or_else(|| Self::obstacle(sensor, version, context));
            if let Some(reason) = obstacle {
                skip(sensor, version, reason, context, wake);
            } else if is_unfinished(sensor) {
                forget_skip(sensor, wake);
            } else if slots.has(place) {
                // Who only stages goes on watching.
                let stops_watching = restarts::may_restart(sensor, version, context);
                if stops_watching && self.leaves_zone_short(sensor, &watching, context) {
                    skip(sensor, version, SkipReason::Coverage, context, wake);
                    continue;
                }
                slots.take(place);
                if stops_watching {
                    self.uncount(sensor, &mut watching, context);
                }
                self.start_sensor(*id, sensor, place, context, wake);
            } else if !self.leaves_zone_short(sensor, &watching, context) {
                // No slot is free. A zone that is short stays the reason why it is passed over.
                forget_skip(sensor, wake);
            }
        }
    }

    fn start_sensor(
        &mut self,
        id: SensorId,
        sensor: &mut Sensor,
        (version, ring): (Version, Ring),
        context: &Context<'_>,
        wake: &mut Wake,
    ) {
        let Some(from) = sensor.version() else { return };
        let at = context.now;
        sensor.update.skip = None;
        sensor.update.failures.remove(&version);
        let (restart, may_restart) =
            (restarts::need(version, context.catalogue), restarts::may_restart(sensor, version, context));
        sensor.update.want(Some(version), false, context.catalogue);
        sensor.update.desired.may_restart = restart.is_needed() && may_restart;
        sensor.update.staged.take_if(|staged| *staged != version);
        let (generation, only_stages) = (sensor.update.desired.generation, !may_restart);
        sensor.update.flight =
            Some(Flight { version, from, ring, generation, started_at: at, switched_at: None, restart, only_stages });
        wake.sensors.insert(id);
        if let Some(rollout) = self.rollouts.get_mut(&version) {
            if rollout.state == RolloutState::Planned {
                rollout.state = RolloutState::Running;
                wake.events.push(Event { at, sensor: None, version, what: What::Started });
            }
            rollout.pace.entry(ring).or_default().begun = true;
            wake.rollouts.insert(version);
        }
        let what = if only_stages { What::Staging } else { What::Started };
        wake.events.push(Event { at, sensor: Some(id), version, what });
    }

    /// The slots that are free now, after every ring that finished a step has taken its next pace.
    fn slots(
        &mut self,
        fleet: &Fleet,
        flights: &BTreeMap<(Version, Ring), u32>,
        context: &Context<'_>,
        wake: &mut Wake,
    ) -> Slots {
        let in_flight: u32 = flights.values().sum();
        if let Some(cap) = context.policy.rollout.max_in_flight {
            let left = cap.saturating_sub(in_flight);
            return Slots { everywhere: Some(left), rings: BTreeMap::new() };
        }
        let sizes = self.ring_sizes(fleet);
        let (mut rings, mut is_adaptive) = (BTreeMap::new(), false);
        for (place, size) in sizes {
            let (version, ring) = place;
            let busy = flights.get(&place).copied().unwrap_or(0);
            let free = match RingPace::of(size, &context.policy.rollout) {
                RingPace::Adaptive { widest } => {
                    is_adaptive = true;
                    self.next_step(version, ring, busy, widest, wake)
                }
                RingPace::OneByOne | RingPace::Capped { .. } => u32::from(busy == 0),
            };
            rings.insert(place, free);
        }
        // One after another means one, whichever rollout or ring it is in.
        let everywhere = (!is_adaptive).then(|| 1_u32.saturating_sub(in_flight));
        Slots { everywhere, rings }
    }

    /// The adaptive pace: 1, doubling after each clean step and halving after one with a failure.
    fn next_step(&mut self, version: Version, ring: Ring, busy: u32, widest: u32, wake: &mut Wake) -> u32 {
        let Some(rollout) = self.rollouts.get_mut(&version) else { return 0 };
        let pace = rollout.pace.entry(ring).or_default();
        if busy > 0 {
            return 0;
        }
        if pace.begun {
            let width = if pace.failed { (pace.width / 2).max(1) } else { (pace.width * 2).min(widest) };
            *pace = Pace { width, begun: false, failed: false };
            wake.rollouts.insert(version);
        }
        pace.width
    }

    /// How many sensors each ring of each rollout has, those that are done included.
    pub(crate) fn ring_sizes(&self, fleet: &Fleet) -> BTreeMap<(Version, Ring), u32> {
        let mut sizes = BTreeMap::new();
        for version in self.rollouts.keys().copied() {
            let (mut automatic, mut delayed) = (0_u32, 0_u32);
            for sensor in fleet.values() {
                let is_below = sensor.version().is_some_and(|running| running.can_become(version));
                let flight = sensor.update.flight.as_ref().filter(|flight| flight.version == version);
                let tried_in = flight
                    .map(|flight| flight.ring)
                    .or_else(|| sensor.update.outcomes.get(&version).map(|outcome| outcome.ring));
                match tried_in.or_else(|| is_below.then(|| Ring::of(sensor))) {
                    Some(Ring::Automatic) => automatic += 1,
                    Some(Ring::Delayed) => delayed += 1,
                    None => {}
                }
            }
            let counted = [(Ring::Automatic, automatic), (Ring::Delayed, delayed)];
            sizes.extend(counted.into_iter().filter(|(_, size)| *size > 0).map(|(ring, size)| ((version, ring), size)));
        }
        sizes
    }

    /// Whether its start would take its zone below what it declares. Who is away was not counted on, but may in truth
    /// still watch: it is started only where the others are enough without it.
    fn leaves_zone_short(&self, sensor: &Sensor, watching: &BTreeMap<String, u32>, context: &Context<'_>) -> bool {
        let keep = sensor.zone.as_ref().and_then(|zone| context.policy.rollout.coverage.get(zone));
        let count = sensor.zone.as_ref().and_then(|zone| watching.get(zone)).copied().unwrap_or(0);
        let others = if self.counts(sensor, context) { count.saturating_sub(1) } else { count };
        is_watching(sensor, context) && keep.is_some_and(|keep| others < *keep)
    }

    fn uncount(&self, sensor: &Sensor, watching: &mut BTreeMap<String, u32>, context: &Context<'_>) {
        if let (true, Some(zone)) = (self.counts(sensor, context), &sensor.zone)
            && let Some(count) = watching.get_mut(zone)
        {
            *count = count.saturating_sub(1);
        }
    }

    fn counts(&self, sensor: &Sensor, context: &Context<'_>) -> bool {
        is_watching(sensor, context) && !self.away.contains(&sensor.id)
    }

    /// A sensor without a version gets the newest release that others have completed; never a halted one.
    fn first_installation(&self, sensor: &mut Sensor, context: &Context<'_>, wake: &mut Wake) {
        let system = sensor.report.facts.host.system.as_ref();
        let offered = || {
            self.rollouts.values().rev().filter(|rollout| {
                context
                    .catalogue
                    .get(rollout.version)
                    .is_some_and(|release| release.is_on_offer(context.now) && release.runs_on(system))
            })
        };
        let completed = offered().find(|rollout| rollout.state == RolloutState::Completed);
        let chosen = completed.or_else(|| offered().find(|rollout| rollout.state.hands_out()));
        let version = chosen.map(|rollout| rollout.version);
        // Also when there is none left to offer: what was asked for and has halted since is not asked for any more.
        if sensor.update.desired.version != version {
            sensor.update.want(version, false, context.catalogue);
            wake.sensors.insert(sensor.id);
        }
    }
}

impl Slots {
    fn has(&self, place: (Version, Ring)) -> bool {
        self.everywhere != Some(0) && self.rings.get(&place) != Some(&0)
    }

    fn take(&mut self, place: (Version, Ring)) {
        if let Some(left) = &mut self.everywhere {
            *left = left.saturating_sub(1);
        }
        if let Some(left) = self.rings.get_mut(&place) {
            *left = left.saturating_sub(1);
        }
    }
}

/// Whether the host is still at an earlier attempt: cleared or withdrawn here, and it has not heard so. What it is
/// handed before that would replace the answer it waits for.
fn is_unfinished(sensor: &Sensor) -> bool {
    matches!(sensor.report.update, UpdateProgress::AwaitingClearance { .. })
}

fn flights_by_ring(fleet: &Fleet) -> BTreeMap<(Version, Ring), u32> {
    let mut flights = BTreeMap::new();
    for flight in fleet.values().filter_map(|sensor| sensor.update.flight.as_ref()) {
        *flights.entry((flight.version, flight.ring)).or_insert(0) += 1;
    }
    flights
}

fn skip(sensor: &mut Sensor, version: Version, reason: SkipReason, context: &Context<'_>, wake: &mut Wake) {
    let reason = reason.word().to_owned();
    let skip = Skip { version, reason: reason.clone() };
    if sensor.update.skip.as_ref() != Some(&skip) {
        sensor.update.skip = Some(skip);
        wake.sensors.insert(sensor.id);
        wake.events.push(Event { at: context.now, sensor: Some(sensor.id), version, what: What::Skipped { reason } });
    }
}

fn forget_skip(sensor: &mut Sensor, wake: &mut Wake) {
    if sensor.update.skip.take().is_some() {
        wake.sensors.insert(sensor.id);
    }
}
