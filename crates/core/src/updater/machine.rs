//! The machine: takes events, keeps what is true on the host, says what to do and when to look again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attempt::Staging;
use super::record::{Phase, Purpose, Record, Release};
use super::sensor::{Sensor, State};
use super::{Command, Event, Policy};
use crate::sync::{Desired, DetectionProof, Report, UpdateProgress};
use crate::time::Timestamp;

/// The shortest step by which a later server time is made durable; finer steps would write at every check-in.
const TIME_FLOOR_STEP: Duration = Duration::from_secs(60 * 60);
/// Check-ins that may be missed before the server counts as out of reach.
const MISSED_CHECK_INS: u32 = 3;

/// An uninterrupted stretch of answered check-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    pub(super) since: Timestamp,
    pub(super) last: Timestamp,
}

/// The updater of one host.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) record: Record,
    durable: Record,
    pub(super) policy: Policy,
    pub(super) current: Option<Release>,
    pub(super) sensor: Sensor,
    pub(super) desired: Option<Desired>,
    pub(super) contact: Option<Contact>,
    pub(super) staging: Staging,
    pub(super) proof: Option<DetectionProof>,
    pub(super) prove_at: Option<Timestamp>,
    /// When the running sensor was asked for a proof last.
    pub(super) asked_to_prove_at: Option<Timestamp>,
    pub(super) has_garbage: bool,
    pub(super) switch_again_at: Option<Timestamp>,
    /// The boot of the host that this run of the updater belongs to.
    pub(super) boot: String,
    /// When this run has asked for a restart.
    pub(super) restart_asked_at: Option<Timestamp>,
    out: Vec<Command>,
}

impl Machine {
    /// A machine over `record`, which is durable already unless `durable` says otherwise. See [`super::recover`].
    pub(super) fn over(
        record: Record,
        durable: Record,
        current: Option<Release>,
        sensor: State,
        policy: Policy,
    ) -> Self {
        Self {
            record,
            durable,
            policy,
            current,
            sensor: Sensor::new(sensor),
            desired: None,
            contact: None,
            staging: Staging::default(),
            proof: None,
            prove_at: None,
            asked_to_prove_at: None,
            has_garbage: true,
            switch_again_at: None,
            boot: String::new(),
            restart_asked_at: None,
            out: Vec::new(),
        }
    }

    /// Takes an event; says what is to be done, in this order.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Command> {
        match event {
            Event::DesiredReceived(desired) => self.desired_received(desired, now),
            Event::PrepareProgress { release, percent } => self.prepare_progress(release, percent),
            Event::Prepared { release, restart } => self.prepared(release, restart),
            Event::PrepareFailed { release, reason, retryable } => self.prepare_failed(release, reason, retryable, now),
            Event::Switched(release) => self.switched(release, now),
            Event::SwitchFailed { release, reason, retryable } => {
                self.switch_failed(release, &reason, retryable, now);
            }
            Event::Restarted => self.restarted(now),
            Event::RestartFailed(reason) => self.restart_failed(&reason, now),
            Event::SensorReady(release) => self.sensor_ready(release, now),
            Event::SensorNotReady(release) => self.sensor_not_ready(release, now),
            Event::SensorDied(death) => self.sensor_died(death, now),
            Event::ProofSeen(proof) => self.proof_seen(proof),
            Event::ProofOutgrown => self.proof_outgrown(now),
            Event::MemoryNeeded { pause } => self.give_memory_back(pause, now),
            Event::Tick => {}
        }
        self.decide(now)
    }

    /// Applies every rule that depends on the state and the time alone.
    pub(super) fn decide(&mut self, now: Timestamp) -> Vec<Command> {
        self.enforce_ready_deadline(now);
        self.enforce_staging_deadline(now);
        self.enforce_clearance_deadline(now);
        self.consider_desired(now);
        self.keep_preparing(now);
        self.keep_going_back(now);
        self.keep_restarting(now);
        self.keep_one_sensor(now);
        self.keep_proving(now);
        self.sweep();
        self.make_durable();
        std::mem::take(&mut self.out)
    }

    /// Adds a command; whatever was decided before it is made durable before it.
    pub(super) fn emit(&mut self, command: Command) {
        self.make_durable();
        self.out.push(command);
    }

    fn make_durable(&mut self) {
        if self.record != self.durable {
            self.durable = self.record.clone();
            self.out.push(Command::Persist(self.record.clone()));
        }
    }

    /// Garbage is collected only when nothing is under way and the committed release has shown that it starts
    /// (elastic-agent #14699: a clean-up that ran during a switch deleted the running version).
    fn sweep(&mut self) {
        let is_settled = self.record.phase == Phase::Committed
            && self.sensor.is_ready()
            && self.sensor.release() == self.record.committed
            && self.current == self.record.committed;
        if self.has_garbage && is_settled {
            self.has_garbage = false;
            let keep: BTreeSet<Release> = self.record.in_use();
            self.emit(Command::CollectGarbage { keep });
        }
    }

    /// When to call [`Self::handle`] with [`Event::Tick`] if nothing else happens before.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        let sensor = [self.sensor_wakes_at(), self.prove_wakes_at()];
        let attempt =
            [self.staging_wakes_at(), self.clearance_wakes_at(), self.switch_again_at, self.restart_wakes_at()];
        sensor.into_iter().chain(attempt).flatten().min()
    }

    /// What is durable on this host (or about to be).
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What `current` points at.
    #[must_use]
    pub fn current(&self) -> Option<Release> {
        self.current
    }

    /// The release that the running sensor runs from.
    #[must_use]
    pub fn running(&self) -> Option<Release> {
        self.sensor.release()
    }

    /// Takes note of how often the server wants a check-in, so that an outage is told from a long interval.
    pub fn check_in_every(&mut self, interval: Duration) {
        self.policy.contact_gap = Policy::default().contact_gap.max(interval.saturating_mul(MISSED_CHECK_INS));
    }

    /// Takes note of the server's time as a floor for judging expiry; an empty list or one `Persist`.
    pub fn raise_time_floor(&mut self, server_time: Timestamp) -> Vec<Command> {
        if server_time.since(self.record.time_floor) >= TIME_FLOOR_STEP {
            self.record.time_floor = server_time;
        }
        self.make_durable();
        std::mem::take(&mut self.out)
    }

    /// Where the host is with an update.
    #[must_use]
    pub fn progress(&self) -> UpdateProgress {
        match &self.record.phase {
            Phase::Committed => self.failed().unwrap_or_default(),
            Phase::Preparing { to, .. } => {
                UpdateProgress::Preparing { version: to.version, percent: self.staging.percent() }
            }
            Phase::Staged { to, .. } => UpdateProgress::Staged { version: to.version },
            Phase::Restarting { to, .. } => UpdateProgress::Restarting { version: to.version },
            Phase::Switching { to, purpose: Purpose::Update { .. }, .. } => {
                UpdateProgress::Preparing { version: to.version, percent: 100 }
            }
            Phase::Switching { from: Some(from), purpose: Purpose::GoBack { switched_at }, .. } => {
                UpdateProgress::AwaitingClearance { version: from.version, switched_at: *switched_at }
            }
            Phase::Switching { from: None, .. } => UpdateProgress::Idle,
            Phase::Trial { from, to, switched_at, .. } | Phase::AwaitingClearance { from, to, switched_at, .. } => {
                let waiting = UpdateProgress::AwaitingClearance { version: to.version, switched_at: *switched_at };
                let is_stuck_without_way_back = from.is_none();
                self.failed().filter(|_| is_stuck_without_way_back).unwrap_or(waiting)
            }
        }
    }

    fn failed(&self) -> Option<UpdateProgress> {
        self.record.last_failure.as_ref().map(|failure| UpdateProgress::Failed {
            version: failure.version,
            reverted: failure.reverted,
            reason: failure.reason.clone(),
            at: failure.at,
        })
    }

    /// The parts of a report that the machine knows; what the sensor says and the host's own facts are the driver's.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            version: self.current.map(|release| release.version),
            service: self.sensor.service(),
            update: self.progress(),
            bad_versions: BTreeMap::keys(&self.record.bad_versions).copied().collect(),
            proof: self.proof.clone(),
            generation: self.record.generation,
            ..Report::default()
        }
    }
}
