//! Where a sensor stands towards the rollouts: which one is for it, and why it may have to wait.

use std::collections::{BTreeMap, BTreeSet};

use super::planner::Planner;
use super::{Ring, Rollout, restarts};
use crate::id::SensorId;
use crate::sensor::{Context, Sensor, cannot_capture, is_watching};
use crate::sync::ServiceState;
use crate::time::Timestamp;
use crate::version::Version;

/// Why a sensor is passed over for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// A person excluded it.
    Excluded,
    /// Its domain controller is gone from the directory.
    Unreachable,
    /// It has not been heard of lately, or not at all.
    Offline,
    /// Its service does not run, so it could not prove anything.
    ServiceNotRunning,
    /// None of the interfaces it should listen on is up, or its packet engine does not run, so it could not prove anything.
    CaptureDown,
    /// The version was reverted here, or failed here, before.
    BadVersion,
    /// What it runs is too old for this release.
    MinimumBaseVersion,
    /// The release does not run on its operating system.
    OperatingSystem,
    /// Its zone would be left with fewer watching sensors than it declares.
    Coverage,
    /// Signed metadata has expired, so its host would refuse.
    TrustExpired,
    /// The release is staged and needs a restart that is not allowed now.
    WaitingForRestart,
}

impl SkipReason {
    /// The word in events and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::Unreachable => "unreachable",
            Self::Offline => "offline",
            Self::ServiceNotRunning => "serviceNotRunning",
            Self::CaptureDown => "captureDown",
            Self::BadVersion => "badVersion",
            Self::MinimumBaseVersion => "minimumBaseVersion",
            Self::OperatingSystem => "operatingSystem",
            Self::Coverage => "coverage",
            Self::TrustExpired => "trustExpired",
            Self::WaitingForRestart => "waitingForRestart",
        }
    }
}

/// Where a sensor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No rollout is for it.
    None,
    /// It takes this version when its turn comes.
    Next(Version),
    /// Its delayed ring opens for this version at this instant.
    Gate(Version, Timestamp),
}

impl Planner {
    /// The rollout that is for a sensor: the newest one offered; in the delayed ring the newest whose 72 hours are over.
    pub(super) fn standing(&self, sensor: &Sensor, context: &Context<'_>) -> Standing {
        match sensor.version() {
            Some(running) if sensor.update.flight.is_none() => self.standing_above(running, sensor, context),
            Some(_) | None => Standing::None,
        }
    }

    /// Where a sensor in flight will stand if the version it is in flight to is cleared.
    pub(super) fn standing_after_flight(&self, sensor: &Sensor, context: &Context<'_>) -> Standing {
        let flight = sensor.update.flight.as_ref();
        flight.map_or(Standing::None, |flight| self.standing_above(flight.version, sensor, context))
    }

    fn standing_above(&self, running: Version, sensor: &Sensor, context: &Context<'_>) -> Standing {
        let newer = self.rollouts.range(running..).rev().map(|(_, rollout)| rollout);
        let (mut gate, mut too_far) = (None, None);
        // Where somebody asks for one release, that one is next.
        let is_asked = |version| sensor.report.asked.is_none_or(|asked| asked == version);
        for rollout in newer.filter(|rollout| running.can_become(rollout.version) && is_asked(rollout.version)) {
            let version = rollout.version;
            let Some(release) = context.catalogue.get(version) else { continue };
            if !release.is_on_offer(context.now) || rollout.state == super::RolloutState::Aborted {
                continue;
            }
            let opens_at = release.published_at + context.policy.rollout.delayed_ring;
            if sensor.delayed && context.now < opens_at {
                gate = Some(Standing::Gate(version, opens_at));
                continue;
            }
            let runs_there = release.runs_on(sensor.report.facts.host.system.as_ref());
            if !runs_there || release.minimum_base.is_some_and(|base| running < base) {
                // An older release that it may take leads over; only without one does it stand before this one.
                too_far = too_far.or(Some(Standing::Next(version)));
                continue;
            }
            let is_over = sensor.update.outcomes.contains_key(&version);
            let waits = gate.or(too_far);
            return if is_over { waits.unwrap_or(Standing::None) } else { gate_or_next(gate, version, rollout) };
        }
        gate.or(too_far).unwrap_or(Standing::None)
    }

    /// Whether `version` is offered to a sensor that must take an older release first, or go without.
    pub(super) fn is_beyond_a_step(&self, version: Version, sensor: &Sensor, context: &Context<'_>) -> bool {
        let (running, release) = (sensor.version(), context.catalogue.get(version));
        let offered = release.filter(|release| release.is_on_offer(context.now));
        let base = offered.and_then(|release| release.minimum_base);
        let goes_on = self.rollouts.get(&version).is_some_and(|rollout| rollout.state != super::RolloutState::Aborted);
        goes_on
            && running.is_some_and(|running| running.can_become(version) && base.is_some_and(|base| running < base))
            && !sensor.update.excluded.contains(&version)
    }

    /// Why the sensor cannot take `version` now, coverage aside.
    pub(super) fn obstacle(sensor: &Sensor, version: Version, context: &Context<'_>) -> Option<SkipReason> {
        let update = &sensor.update;
        let release = context.catalogue.get(version);
        let base = release.and_then(|release| release.minimum_base);
        let runs_there = release.is_none_or(|release| release.runs_on(sensor.report.facts.host.system.as_ref()));
        let is_retry = update.retry == Some(version);
        let is_bad = update.bad_versions.contains(&version) || sensor.report.bad_versions.contains(&version);
        let is_silent = sensor.last_contact.is_none() || context.is_disconnected(sensor);
        [
            (update.excluded.contains(&version), SkipReason::Excluded),
            (sensor.removed_from_directory, SkipReason::Unreachable),
            (is_silent, SkipReason::Offline),
            (sensor.report.service != ServiceState::Running, SkipReason::ServiceNotRunning),
            (cannot_capture(sensor), SkipReason::CaptureDown),
            (is_bad && !is_retry, SkipReason::BadVersion),
            (base.is_some_and(|base| sensor.version() < Some(base)), SkipReason::MinimumBaseVersion),
            (!runs_there, SkipReason::OperatingSystem),
            (restarts::waits(sensor, version, context), SkipReason::WaitingForRestart),
        ]
        .into_iter()
        .find_map(|(holds, reason)| holds.then_some(reason))
    }

    /// Why a sensor waits, for people; `None` when it waits for nothing.
    #[must_use]
    pub fn waiting_for(&self, sensor: &Sensor, context: &Context<'_>) -> Option<String> {
        if let Some(flight) = &sensor.update.flight {
            return Some(match flight.switched_at {
                None if flight.only_stages => format!("the host to fetch and verify {}", flight.version),
                None if flight.restart.is_needed() => {
                    format!("{} to restart and run {}", flight.restart.what(), flight.version)
                }
                None => format!("the host to fetch, verify and switch to {}", flight.version),
                Some(_) => format!("proof that {} detects", flight.version),
            });
        }
        match self.standing(sensor, context) {
            Standing::None => None,
            Standing::Gate(version, _) if sensor.update.excluded.contains(&version) => {
                Some(self.turn(sensor, version, context))
            }
            Standing::Gate(version, at) => Some(format!("its delayed ring, which opens for {version} at {at}")),
            Standing::Next(version) => Some(self.turn(sensor, version, context)),
        }
    }

    fn turn(&self, sensor: &Sensor, version: Version, context: &Context<'_>) -> String {
        if restarts::waits(sensor, version, context) {
            let what = restarts::need(version, context.catalogue).what();
            return match restarts::opens_at(sensor, version, context) {
                Some(at) => format!("a restart of {what} for {version}, which may begin at {at}"),
                None => format!("somebody to allow a restart of {what} for {version}, which is staged"),
            };
        }
        if let Some(reason) = Self::obstacle(sensor, version, context) {
            return format!("nothing: skipped ({})", reason.word());
        }
        if let Some(skip) = sensor.update.skip.as_ref().filter(|skip| skip.version == version) {
            return format!("its turn: skipped for now ({})", skip.reason);
        }
        match self.rollouts.get(&version).map(|rollout| &rollout.state) {
            Some(super::RolloutState::Paused) => format!("somebody to resume the rollout of {version}"),
            Some(super::RolloutState::Halted { reason }) => {
                format!("somebody to resume the rollout of {version}, which halted: {reason}")
            }
            Some(_) | None => match self.in_flight_names.first() {
                Some(name) => format!("{name} to be cleared"),
                None => "its next check-in".to_owned(),
            },
        }
    }
}

/// A newer release whose gate is still closed does not keep an older one, whose gate is open, from its turn.
fn gate_or_next(gate: Option<Standing>, version: Version, rollout: &Rollout) -> Standing {
    match gate {
        Some(gate) if !rollout.state.hands_out() => gate,
        Some(_) | None => Standing::Next(version),
    }
}

/// How many sensors of each zone with a declared coverage are watching.
pub(super) fn watching_by_zone(
    fleet: &super::Fleet,
    away: &BTreeSet<SensorId>,
    context: &Context<'_>,
) -> BTreeMap<String, u32> {
    let mut watching: BTreeMap<String, u32> =
        context.policy.rollout.coverage.keys().map(|zone| (zone.clone(), 0)).collect();
    if watching.is_empty() {
        return watching;
    }
    for sensor in fleet.values().filter(|sensor| is_watching(sensor, context) && !away.contains(&sensor.id)) {
        if let Some(count) = sensor.zone.as_ref().and_then(|zone| watching.get_mut(zone)) {
            *count += 1;
        }
    }
    watching
}

/// The ring of a sensor for a rollout: the one it was tried in, else the one it is in.
pub(super) fn ring_in(sensor: &Sensor, version: Version) -> Ring {
    sensor.update.outcomes.get(&version).map_or_else(|| Ring::of(sensor), |outcome| outcome.ring)
}
