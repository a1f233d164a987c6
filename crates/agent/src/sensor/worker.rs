//! The thread that watches: log to pipeline to sink, and the status that says so.
//!
//! It waits for commands or for the next look at the log, and never for anything without a bound.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::watch;
use watchpost_clock::Clock;
use watchpost_core::evidence::{Alert, Sighting};
use watchpost_core::facts::{EngineFacts, EngineKind, EngineState};
use watchpost_core::sync::{DetectionProof, EngineProof};
use watchpost_core::time::Timestamp;

use super::alert::Raised;
use super::canary;
use super::pipeline::Pipeline;
use super::reload::{Building, Reload};
use super::sink::{Committed, Sink};
use super::stream::Stream;
use super::tail::{Polled, Tail};
use super::trace::Trace;
use crate::engine::RuleSet;
use crate::local::SensorStatus;

/// How often the log is looked at, in real time.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After how many looks a place without alerts is made durable; a death before costs reading those lines again.
const SETTLE_AFTER_LOOKS: u32 = 50;
/// How long a line that could not be analysed keeps the health condition up.
const CONDITION_LASTS: Duration = Duration::from_secs(3600);
/// The condition's word in the API.
const NOT_ANALYSED: &str = "someEventsNotAnalyzed";
/// The most alerts of another engine that wait for the disk.
const UNFED_LIMIT: usize = 10_000;
/// How often counters are sent that nothing else is sent with.
const COUNTERS_EVERY: Duration = Duration::from_secs(10);
/// The most glimpses of devices that wait for the next commit; beyond it, one comes early.
const SIGHTINGS_WAITING: usize = 1_000;

/// What the worker is told.
#[derive(Debug)]
pub enum Command {
    /// Run a canary with this mark.
    Prove(u64),
    /// Load these rules beside those in force and swap them in.
    Reload(Reload),
    /// Pass alerts of another engine on to local tools, and count them.
    Feed(Vec<Alert>),
    /// Settle and end.
    Stop,
}

/// Where what events leave is kept before their place is settled: the evidence store.
pub trait Keep: Send {
    /// Makes it durable. The same alert may come again, with the same id; a sighting may come again, too.
    ///
    /// # Errors
    /// When the disk refuses; it comes again, and nothing more is read until then.
    fn keep(&mut self, trace: &Trace) -> io::Result<()>;
}

/// Alerts on their way to the disk.
struct Batch {
    raised: Vec<Raised>,
    has_more: bool,
    is_caught_up: bool,
}

/// Everything between the log and the alerts.
pub struct Worker {
    tail: Tail,
    pipeline: Pipeline,
    sink: Sink,
    clock: Clock,
    status: watch::Sender<SensorStatus>,
    keep: Option<Box<dyn Keep>>,
    /// Alerts of another engine that the disk has not taken yet.
    unfed: Vec<Alert>,
    /// Whether there is a log to watch: a network sensor has none.
    has_log: bool,
    stream: Stream,
    sightings: Vec<Sighting>,
    building: Option<Building>,
    started: Timestamp,
    counters_sent_at: Timestamp,
    /// A batch that the disk refused; it is tried again before anything else is read.
    refused: Option<Batch>,
    not_analysed_at: Option<Timestamp>,
    looks_since_settled: u32,
    read_fails: bool,
}

impl Worker {
    /// A worker that has not looked at the log yet.
    #[must_use]
    pub fn new(tail: Tail, pipeline: Pipeline, sink: Sink, clock: Clock, status: watch::Sender<SensorStatus>) -> Self {
        let started = clock.now();
        Self {
            tail,
            pipeline,
            sink,
            clock,
            status,
            keep: None,
            unfed: Vec::new(),
            has_log: true,
            stream: Stream::new(started),
            sightings: Vec::new(),
            building: None,
            started,
            counters_sent_at: started,
            refused: None,
            not_analysed_at: None,
            looks_since_settled: 0,
            read_fails: false,
        }
    }

    /// Keeps what events leave there, too.
    #[must_use]
    pub fn keeping(mut self, keep: Box<dyn Keep>) -> Self {
        self.keep = Some(keep);
        self
    }

    /// Whether there is a log to watch; without one canaries and rules are as ever.
    #[must_use]
    pub fn watching_log(mut self, has_log: bool) -> Self {
        self.has_log = has_log;
        self
    }

    /// Watches until told to stop, or until whoever tells has gone.
    pub fn run(mut self, commands: &Receiver<Command>) {
        let engine = self.engine_facts();
        self.status.send_modify(|status| {
            status.ready = true;
            status.facts.engines.insert(EngineKind::Sigma, engine);
        });
        tracing::info!(log_is_there = self.tail.is_open(), "watching");
        loop {
            let has_more = self.look();
            let wait = if has_more { Duration::ZERO } else { LOOK_EVERY };
            match commands.recv_timeout(wait) {
                Ok(Command::Prove(generation)) => self.prove(generation),
                Ok(Command::Reload(reload)) => self.reload(reload),
                Ok(Command::Feed(alerts)) => self.unfed.extend(alerts),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    /// One look at the log; says whether another one may bring more at once.
    pub fn look(&mut self) -> bool {
        self.swap_in();
        self.feed();
        let batch = match self.refused.take() {
            Some(batch) => batch,
            None => self.read(),
        };
        let (has_more, was_refused) = (batch.has_more, !self.commit(batch));
        self.publish(was_refused);
        has_more && !was_refused
    }

    /// Puts a canary in at the front and looks for it at the end. Whatever comes of it, the status is sent again.
    pub fn prove(&mut self, generation: u64) {
        self.pipeline.push(canary::line(generation, self.clock.now()));
        self.look();
        self.status.send_modify(|_| {});
    }

    /// Begins to load other rules beside those in force.
    pub fn reload(&mut self, reload: Reload) {
        match &self.building {
            Some(_) => reload.refuse(RuleSet::default(), "rules are being loaded already; ask again when they are in"),
            None => self.building = Building::begin(reload),
        }
    }

    /// Swaps the rules in once they are loaded: between two events, so that each is judged by the one set or the other.
    fn swap_in(&mut self) {
        let Some(building) = self.building.take() else { return };
        let loaded = match building.poll() {
            Ok(loaded) => loaded,
            Err(building) => {
                self.building = Some(building);
                return;
            }
        };
        let Some((sigma, reload)) = loaded else { return };
        self.pipeline.replace(Box::new(sigma));
        let (rules, engine) = (self.pipeline.engine().rules().clone(), self.engine_facts());
        tracing::info!(loaded = rules.loaded, failed = rules.failed, sha256 = %rules.sha256, "rules swapped in");
        self.status.send_modify(|status| {
            status.rules_loaded = rules.loaded;
            status.rules_failed = rules.failed;
            status.rules_sha256.clone_from(&rules.sha256);
            status.facts.engines.insert(EngineKind::Sigma, engine);
        });
        reload.swapped(rules);
    }

    /// Passes on alerts that are in the evidence store already. What the disk refuses comes again with the next look;
    /// beyond a limit the oldest are in the evidence store alone.
    fn feed(&mut self) {
        if self.unfed.is_empty() {
            return;
        }
        let surplus = self.unfed.len().saturating_sub(UNFED_LIMIT);
        self.unfed.drain(..surplus);
        match self.sink.feed(&self.unfed) {
            Ok(()) => self.unfed.clear(),
            Err(error) => self.complain(&error),
        }
    }

    fn engine_facts(&self) -> EngineFacts {
        let rules = self.pipeline.engine().rules();
        EngineFacts {
            state: EngineState::Running,
            since: self.started,
            reason: String::new(),
            rules_loaded: rules.loaded,
            rules_failed: rules.failed,
            rules_superseded: rules.superseded,
            complaints: rules.complaints.iter().take(EngineFacts::MAX_COMPLAINTS).cloned().collect(),
            events_lost_since: None,
        }
    }

    fn finish(mut self) {
        self.looks_since_settled = SETTLE_AFTER_LOOKS;
        self.look();
        tracing::info!(alerts = self.sink.alert_count(), "stopped");
    }

    fn read(&mut self) -> Batch {
        let now = self.clock.now();
        let polled = self.poll();
        for line in polled.lines {
            self.pipeline.push(line);
        }
        let mut analysed = self.pipeline.drain(now);
        self.sightings.append(&mut analysed.sightings);
        self.stream.saw(now, analysed.events, analysed.not_analysed, polled.gap);
        self.stream.is_readable(now, !self.read_fails && self.tail.is_open());
        if polled.gap {
            tracing::warn!("the audit log was rotated away before it was read to its end");
        }
        if analysed.not_analysed > 0 {
            tracing::warn!(lines = analysed.not_analysed, "lines of the audit log could not be analysed");
        }
        if polled.gap || analysed.not_analysed > 0 {
            self.not_analysed_at = Some(now);
        }
        self.looks_since_settled = self.looks_since_settled.saturating_add(1);
        Batch { raised: analysed.raised, has_more: polled.read_any, is_caught_up: polled.caught_up }
    }

    fn poll(&mut self) -> Polled {
        match self.tail.poll() {
            Ok(polled) => {
                if std::mem::take(&mut self.read_fails) {
                    tracing::info!("the audit log can be read again");
                }
                polled
            }
            Err(error) => {
                if !std::mem::replace(&mut self.read_fails, true) {
                    tracing::error!(%error, "the audit log cannot be read; trying again");
                }
                Polled::default()
            }
        }
    }

    /// Makes a batch durable; `false` if the disk refused and it has to be tried again.
    fn commit(&mut self, batch: Batch) -> bool {
        let is_due = !batch.raised.is_empty()
            || self.looks_since_settled >= SETTLE_AFTER_LOOKS
            || self.sightings.len() >= SIGHTINGS_WAITING;
        if !is_due {
            return true;
        }
        match self.write(&batch) {
            Ok(committed) => {
                self.sightings.clear();
                self.pipeline.settled();
                committed.proofs.into_iter().for_each(|generation| self.proven(generation));
                self.looks_since_settled = 0;
                true
            }
            Err(error) => {
                self.complain(&error);
                self.refused = Some(batch);
                false
            }
        }
    }

    /// Evidence first, because it takes an alert again without keeping it twice; then what settles the place.
    fn write(&mut self, batch: &Batch) -> io::Result<Committed> {
        if let Some(keep) = &mut self.keep {
            let trace = Trace::of(&batch.raised, &self.sightings);
            if !trace.is_empty() {
                keep.keep(&trace)?;
            }
        }
        let (place, engine) = (self.tail.place(), self.pipeline.engine());
        let counts = engine.is_changed().then(|| engine.state());
        self.sink.commit(&batch.raised, place.as_ref(), counts.as_deref(), batch.is_caught_up)
    }

    fn complain(&mut self, error: &io::Error) {
        let now = self.clock.now();
        let is_new = self.not_analysed_at.is_none_or(|at| now.since(at) > Duration::from_secs(60));
        if is_new {
            tracing::error!(%error, "alerts cannot be written; trying again, nothing more is read until then");
            self.not_analysed_at = Some(now);
        }
    }

    fn proven(&self, generation: u64) {
        let rules = self.pipeline.engine().rules();
        let (rules_loaded, rules_failed, detected_at) = (rules.loaded, rules.failed, self.clock.now());
        tracing::info!(generation, rules_loaded, rules_failed, "the canary was detected");
        self.status.send_modify(|status| {
            let version = status.version;
            status.proof = Some(DetectionProof {
                generation,
                version,
                detected_at,
                rules_loaded,
                rules_failed,
                engines: BTreeMap::from([(EngineKind::Sigma, EngineProof { detected_at, rules_loaded, rules_failed })]),
            });
        });
    }

    fn publish(&mut self, was_refused: bool) {
        let now = self.clock.now();
        let is_recent = self.not_analysed_at.is_some_and(|at| now.since(at) < CONDITION_LASTS);
        let conditions = (is_recent || was_refused).then(|| NOT_ANALYSED.to_owned()).into_iter().collect();
        let alert_count = self.sink.alert_count();
        let events = self.has_log.then(|| self.stream.facts(now));
        let (read, not_analysed) = (self.stream.events_read(), self.stream.not_analysed());
        let is_time_for_counters = now.since(self.counters_sent_at) >= COUNTERS_EVERY;
        let is_sent = self.status.send_if_modified(|status| {
            let counters = (status.measurements.events_read, status.measurements.events_not_analysed);
            let is_changed = status.alert_count != alert_count
                || status.conditions != conditions
                || status.facts.events != events
                || (is_time_for_counters && counters != (read, not_analysed));
            status.alert_count = alert_count;
            status.conditions = conditions;
            status.facts.events = events;
            status.measurements.events_read = read;
            status.measurements.events_not_analysed = not_analysed;
            is_changed
        });
        if is_sent {
            self.counters_sent_at = now;
        }
    }
}

#[cfg(test)]
mod tests;
