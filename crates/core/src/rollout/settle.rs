//! How an attempt ends: by proof, by the host's own word, or by a deadline. Silence is a failure.

use super::record::{Failure, Flight, Outcome};
use super::{Event, Ring, What, restarts};
use crate::catalogue::Catalogue;
use crate::sensor::{Context, Sensor, all_are_proven};
use crate::sync::{ServiceState, UpdateProgress};
use crate::time::Timestamp;
use crate::version::Version;

/// Check-ins a host is given, past its own deadline, to report that it went back.
const REPORTS_PAST_THE_DEADLINE: u32 = 2;

/// What became of a sensor's attempt at this look.
pub(super) struct Settled {
    pub(super) events: Vec<Event>,
    /// The version and ring of an attempt that ended badly.
    pub(super) failed: Option<(Version, Ring)>,
}

/// Whether the sensor has shown, for this desired generation, that `version` detects with every rule loaded and by every
/// engine that should run.
fn is_proven(sensor: &Sensor, version: Version, generation: u64) -> bool {
    let report = &sensor.report;
    report.version == Some(version)
        && report.service == ServiceState::Running
        && report.proof.as_ref().is_some_and(|proof| {
            let is_whole = proof.rules_failed == 0 && proof.rules_loaded > 0;
            proof.version == version && proof.generation >= generation && is_whole && all_are_proven(sensor, proof)
        })
}

/// When the attempt is over, if nothing is heard of it before.
pub(super) fn deadline(sensor: &Sensor, flight: &Flight, context: &Context<'_>) -> Timestamp {
    let policy = context.policy;
    let allowance = flight.allowance(context);
    let silent = context.silent_since(sensor) + policy.rollout.clearance_deadline + allowance;
    let step = match flight.switched_at {
        None => flight.started_at + policy.rollout.staging_deadline + allowance,
        Some(at) => at + policy.rollout.clearance_deadline + policy.contact.check_in * REPORTS_PAST_THE_DEADLINE,
    };
    silent.min(step)
}

/// Looks at a sensor in flight; `None` when nothing changed.
pub(super) fn settle(sensor: &mut Sensor, context: &Context<'_>) -> Option<Settled> {
    let mut flight = sensor.update.flight.clone()?;
    let mut events = Vec::new();
    if let Some(event) = restarts::staged(sensor, &flight, context.now) {
        return Some(Settled { events: vec![event], failed: None });
    }
    let mut say = |at: Timestamp, what: What| {
        events.push(Event { at, sensor: Some(sensor.id), version: flight.version, what });
    };
    if let (None, Some(at)) = (flight.switched_at, switched_at(sensor, &flight)) {
        flight.switched_at = Some(at);
        say(at, What::Switched);
        sensor.update.flight = Some(flight.clone());
    }
    let ring = flight.ring;
    if is_proven(sensor, flight.version, flight.generation) {
        say(context.now, What::Cleared);
        cleared(sensor, &flight, context.now);
        return Some(Settled { events, failed: None });
    }
    let failure = reported(sensor, &flight).or_else(|| overdue(sensor, &flight, context));
    match failure {
        Some(failure) => {
            let reason = failure.reason.clone();
            let what = if failure.reverted { What::Reverted { reason } } else { What::Failed { reason } };
            say(context.now, what);
            failed(sensor, &flight, failure, context.catalogue);
            Some(Settled { events, failed: Some((flight.version, ring)) })
        }
        None => (!events.is_empty()).then_some(Settled { events, failed: None }),
    }
}

/// A sensor without a flight that runs what it was asked to run, and proves it, is told that it may keep it.
pub(super) fn confirm(sensor: &mut Sensor) -> bool {
    let desired = &sensor.update.desired;
    let Some(version) = desired.version.filter(|_| !desired.cleared && sensor.update.flight.is_none()) else {
        return false;
    };
    let proven = is_proven(sensor, version, desired.generation);
    if proven {
        sensor.update.clear_desired();
    }
    proven
}

/// A sensor that was cleared for a release whose updater its host has given up: it goes on watching, and the release has
/// failed on it, so that a bad updater spends the failure budget as a bad sensor does.
pub(super) fn updater_given_up(sensor: &mut Sensor, now: Timestamp) -> Option<Settled> {
    let refused = sensor.report.updater.refused.as_ref()?;
    let (version, reason) = (refused.version, format!("its updater did not prove itself: {}", refused.reason));
    let outcome = sensor.update.outcomes.get_mut(&version).filter(|outcome| outcome.cleared)?;
    (outcome.cleared, outcome.at) = (false, now);
    let ring = outcome.ring;
    let what = What::Failed { reason: reason.clone() };
    sensor.update.failures.insert(version, Failure { version, reverted: false, is_of_updater: true, reason, at: now });
    let events = vec![Event { at: now, sensor: Some(sensor.id), version, what }];
    Some(Settled { events, failed: Some((version, ring)) })
}

fn switched_at(sensor: &Sensor, flight: &Flight) -> Option<Timestamp> {
    match &sensor.report.update {
        UpdateProgress::AwaitingClearance { version, switched_at } if *version == flight.version => {
            Some((*switched_at).max(flight.started_at))
        }
        UpdateProgress::AwaitingClearance { .. }
        | UpdateProgress::Staged { .. }
        | UpdateProgress::Restarting { .. }
        | UpdateProgress::Idle
        | UpdateProgress::Preparing { .. }
        | UpdateProgress::Failed { .. } => None,
    }
}

/// A failure that the host reports of this very attempt, not of an earlier one.
fn reported(sensor: &Sensor, flight: &Flight) -> Option<Failure> {
    match &sensor.report.update {
        UpdateProgress::Failed { version, reverted, reason, at }
            if *version == flight.version && sensor.report.generation >= flight.generation =>
        {
            let (reverted, reason) = (*reverted, reason.clone());
            Some(Failure { version: *version, reverted, is_of_updater: false, reason, at: *at })
        }
        UpdateProgress::Failed { .. }
        | UpdateProgress::Idle
        | UpdateProgress::Preparing { .. }
        | UpdateProgress::Staged { .. }
        | UpdateProgress::Restarting { .. }
        | UpdateProgress::AwaitingClearance { .. } => None,
    }
}

fn overdue(sensor: &Sensor, flight: &Flight, context: &Context<'_>) -> Option<Failure> {
    let policy = context.policy;
    if context.now < deadline(sensor, flight, context) {
        return None;
    }
    let minutes = |span: std::time::Duration| span.as_secs() / 60;
    let (silence, staging) = (policy.rollout.clearance_deadline, policy.rollout.staging_deadline);
    let (silence, staging) = (silence + flight.allowance(context), staging + flight.allowance(context));
    let is_silent = context.now >= context.silent_since(sensor) + silence;
    let reason = match flight.switched_at {
        _ if is_silent => format!("nothing was heard of it for {} min", minutes(silence)),
        None => format!("it had not switched {} min after the hand-out", minutes(staging)),
        Some(_) => {
            format!("it was not cleared within {} min of the switch", minutes(policy.rollout.clearance_deadline))
        }
    };
    Some(Failure { version: flight.version, reverted: false, is_of_updater: false, reason, at: context.now })
}

fn cleared(sensor: &mut Sensor, flight: &Flight, now: Timestamp) {
    let update = &mut sensor.update;
    update.outcomes.insert(flight.version, Outcome { ring: flight.ring, cleared: true, at: now });
    update.failures.retain(|version, _| *version > flight.version);
    update.bad_versions.remove(&flight.version);
    update.retry.take_if(|version| *version == flight.version);
    update.flight = None;
    (update.staged, update.restart_now) = (None, None);
    update.clear_desired();
}

fn failed(sensor: &mut Sensor, flight: &Flight, failure: Failure, catalogue: &Catalogue) {
    let update = &mut sensor.update;
    update.outcomes.insert(flight.version, Outcome { ring: flight.ring, cleared: false, at: failure.at });
    if failure.reverted {
        update.bad_versions.insert(flight.version);
    }
    update.retry.take_if(|version| *version == flight.version);
    update.flight = None;
    (update.staged, update.restart_now) = (None, None);
    update.failures.insert(flight.version, failure);
    update.want(Some(flight.from), true, catalogue);
}
