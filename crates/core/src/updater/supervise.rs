//! One sensor at a time: the local gate (started and ready within a minute), restarts, and proofs.

use std::time::Duration;

use super::machine::Machine;
use super::record::{Phase, Release};
use super::sensor::State;
use super::{CRASHES_BEFORE_CLEARANCE, Command, Death, FAILED_STARTS, UNPROVEN_STARTS};
use crate::sync::{Desired, DetectionProof};
use crate::time::Timestamp;

/// The pause before a canary that was not detected is run again while the sensor is not cleared.
const PROVE_AGAIN_AFTER: Duration = Duration::from_secs(30);

impl Machine {
    pub(super) fn sensor_ready(&mut self, release: Release, now: Timestamp) {
        let was_ready = self.sensor.is_ready() && self.sensor.release() == Some(release);
        if was_ready {
            return;
        }
        self.sensor.state = State::Ready { release, since: now };
        (self.prove_at, self.asked_to_prove_at) = (Some(now), None);
        if let Phase::Trial { from, to, switched_at, .. } = self.record.phase
            && to == release
        {
            self.record.phase = Phase::AwaitingClearance { from, to, switched_at, crashes: 0 };
            self.record.last_failure.take_if(|failure| failure.version == to.version);
        }
    }

    pub(super) fn sensor_not_ready(&mut self, release: Release, now: Timestamp) {
        if self.sensor.is_ready() && self.sensor.release() == Some(release) {
            self.sensor.state = State::Starting { release, since: now };
        }
    }

    pub(super) fn proof_seen(&mut self, proof: DetectionProof) {
        if self.sensor.release().is_some_and(|release| release.version == proof.version) {
            self.proof = Some(proof);
            if self.is_proven() {
                self.prove_at = None;
            }
        }
    }

    /// Without this, a release that was proven before its settings came would never be cleared.
    pub(super) fn proof_outgrown(&mut self, now: Timestamp) {
        self.proof = None;
        self.prove_at = Some(now);
    }

    /// Whether the running release has detected a canary of the newest generation.
    pub(super) fn is_proven(&self) -> bool {
        let running = self.sensor.release().map(|release| release.version);
        self.proof
            .as_ref()
            .is_some_and(|proof| Some(proof.version) == running && proof.generation >= self.record.generation)
    }

    /// The process is gone. On a new release it counts; a committed one is simply started again after a pause.
    pub(super) fn sensor_died(&mut self, death: Death, now: Timestamp) {
        self.sensor.died(now);
        let (is_refusal, reason) = match death {
            Death::Refused(reason) => (true, reason),
            Death::Ended(reason) => (false, reason),
        };
        match &mut self.record.phase {
            Phase::Committed
            | Phase::Preparing { .. }
            | Phase::Staged { .. }
            | Phase::Switching { .. }
            | Phase::Restarting { .. } => {}
            Phase::Trial { failed, .. } => {
                *failed = failed.saturating_add(1);
                if is_refusal || *failed >= FAILED_STARTS {
                    self.give_up_trial(format!("the new version did not start: {reason}"), now);
                }
            }
            Phase::AwaitingClearance { crashes, .. } => {
                *crashes = crashes.saturating_add(1);
                if is_refusal || *crashes >= CRASHES_BEFORE_CLEARANCE {
                    self.give_up_trial(format!("the new version died before it was cleared: {reason}"), now);
                }
            }
        }
    }

    /// The sensor is stopped and comes back after a pause. It has not failed: on a new release nothing is counted.
    pub(super) fn give_memory_back(&mut self, pause: Duration, now: Timestamp) {
        if self.sensor.release().is_none() {
            return;
        }
        self.emit(Command::StopSensor);
        self.sensor.rests(now + pause);
    }

    /// A started sensor that does not get ready in time is stopped and counts as dead.
    pub(super) fn enforce_ready_deadline(&mut self, now: Timestamp) {
        if let State::Starting { since, .. } = self.sensor.state
            && now >= since + self.policy.ready_within
        {
            self.emit(Command::StopSensor);
            let limit = self.policy.ready_within.as_secs();
            self.sensor_died(Death::Ended(format!("it was not ready within {limit} s")), now);
        }
    }

    /// Stops the wrong sensor, starts the right one; never a second one.
    pub(super) fn keep_one_sensor(&mut self, now: Timestamp) {
        let wanted = match &self.record.phase {
            Phase::Committed | Phase::Preparing { .. } | Phase::Staged { .. } => self.record.committed,
            // What ran until here goes on running until `current` has been switched.
            Phase::Switching { .. } => return,
            Phase::Restarting { from, .. } => *from,
            Phase::Trial { to, .. } | Phase::AwaitingClearance { to, .. } => Some(*to),
        };
        let is_wrong = match self.sensor.state {
            State::Down { .. } => false,
            State::Unknown => true,
            State::Starting { release, .. } | State::Ready { release, .. } => Some(release) != wanted,
        };
        if is_wrong {
            self.emit(Command::StopSensor);
            self.sensor.stopped(now);
        }
        let may_start = matches!(self.sensor.state, State::Down { until } if until <= now);
        if let (Some(release), true) = (wanted, may_start) {
            self.start_sensor(release, now);
        }
    }

    fn start_sensor(&mut self, release: Release, now: Timestamp) {
        if let Phase::Trial { from, starts, .. } = &mut self.record.phase {
            if *starts >= UNPROVEN_STARTS && from.is_some() {
                self.give_up_trial("the new version was started again and again and never got ready".to_owned(), now);
                return;
            }
            *starts = starts.saturating_add(1);
        }
        self.emit(Command::StartSensor(release));
        self.sensor.state = State::Starting { release, since: now };
    }

    /// Whether the control plane waits for a proof of what runs here: of an update, or of a release that is committed
    /// and was never cleared, or not under the newest generation.
    fn is_proof_awaited(&self) -> bool {
        let runs = self.sensor.release().map(|release| release.version);
        let is_uncleared = |desired: &Desired| !desired.cleared && desired.version.is_some() && desired.version == runs;
        match self.record.phase {
            Phase::AwaitingClearance { .. } => true,
            Phase::Committed | Phase::Preparing { .. } | Phase::Staged { .. } => {
                self.desired.as_ref().is_some_and(is_uncleared)
            }
            Phase::Switching { .. } | Phase::Restarting { .. } | Phase::Trial { .. } => false,
        }
    }

    pub(super) fn keep_proving(&mut self, now: Timestamp) {
        if self.prove_at.is_none() && self.sensor.is_ready() && !self.is_proven() && self.is_proof_awaited() {
            self.prove_at = Some(self.asked_to_prove_at.map_or(now, |last| last + PROVE_AGAIN_AFTER));
        }
        let is_due = self.prove_at.is_some_and(|at| at <= now);
        if !is_due || !self.sensor.is_ready() {
            return;
        }
        self.emit(Command::Prove { generation: self.record.generation });
        self.asked_to_prove_at = Some(now);
        self.prove_at = self.is_proof_awaited().then(|| now + PROVE_AGAIN_AFTER);
    }

    pub(super) fn sensor_wakes_at(&self) -> Option<Timestamp> {
        match self.sensor.state {
            State::Down { until } => {
                let has_something_to_run = match &self.record.phase {
                    Phase::Committed | Phase::Preparing { .. } | Phase::Staged { .. } => {
                        self.record.committed.is_some()
                    }
                    Phase::Switching { .. } => false,
                    Phase::Restarting { from, .. } => from.is_some(),
                    Phase::Trial { .. } | Phase::AwaitingClearance { .. } => true,
                };
                has_something_to_run.then_some(until)
            }
            State::Unknown | State::Ready { .. } => None,
            State::Starting { since, .. } => Some(since + self.policy.ready_within),
        }
    }

    pub(super) fn prove_wakes_at(&self) -> Option<Timestamp> {
        self.prove_at.filter(|_| self.sensor.is_ready())
    }
}
