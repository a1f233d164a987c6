//! The thread that watches: log to pipeline to sink, and the status that says so.
//!
//! It waits for commands or for the next look at the log, and never for anything without a bound.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::watch;
use watchpost_clock::Clock;
use watchpost_core::sync::DetectionProof;
use watchpost_core::time::Timestamp;

use super::alert::Raised;
use super::canary;
use super::pipeline::Pipeline;
use super::sink::Sink;
use super::tail::{Polled, Tail};
use crate::local::SensorStatus;

/// How often the log is looked at, in real time.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After how many looks a place without alerts is made durable; a death before costs reading those lines again.
const SETTLE_AFTER_LOOKS: u32 = 50;
/// How long a line that could not be analysed keeps the health condition up.
const CONDITION_LASTS: Duration = Duration::from_secs(3600);
/// The condition's word in the API.
const NOT_ANALYSED: &str = "someEventsNotAnalyzed";

/// What the worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run a canary with this mark.
    Prove(u64),
    /// Settle and end.
    Stop,
}

/// Alerts on their way to the disk.
struct Batch {
    raised: Vec<Raised>,
    had_lines: bool,
    is_caught_up: bool,
}

/// Everything between the log and the alerts.
pub struct Worker {
    tail: Tail,
    pipeline: Pipeline,
    sink: Sink,
    clock: Clock,
    status: watch::Sender<SensorStatus>,
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
        let (refused, not_analysed_at) = (None, None);
        Self {
            tail,
            pipeline,
            sink,
            clock,
            status,
            refused,
            not_analysed_at,
            looks_since_settled: 0,
            read_fails: false,
        }
    }

    /// Watches until told to stop, or until whoever tells has gone.
    pub fn run(mut self, commands: &Receiver<Command>) {
        self.status.send_modify(|status| status.ready = true);
        tracing::info!(log_is_there = self.tail.is_open(), "watching");
        loop {
            let has_more = self.look();
            let wait = if has_more { Duration::ZERO } else { LOOK_EVERY };
            match commands.recv_timeout(wait) {
                Ok(Command::Prove(generation)) => self.prove(generation),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    /// One look at the log; says whether another one may bring more at once.
    pub fn look(&mut self) -> bool {
        let batch = match self.refused.take() {
            Some(batch) => batch,
            None => self.read(),
        };
        let (had_lines, was_refused) = (batch.had_lines, !self.commit(batch));
        self.publish(was_refused);
        had_lines && !was_refused
    }

    /// Puts a canary in at the front and looks for it at the end. Whatever comes of it, the status is sent again.
    pub fn prove(&mut self, generation: u64) {
        self.pipeline.push(canary::line(generation, self.clock.now()));
        self.look();
        self.status.send_modify(|_| {});
    }

    fn finish(mut self) {
        self.looks_since_settled = SETTLE_AFTER_LOOKS;
        self.look();
        tracing::info!(alerts = self.sink.alert_count(), "stopped");
    }

    fn read(&mut self) -> Batch {
        let now = self.clock.now();
        let polled = self.poll();
        let had_lines = !polled.lines.is_empty();
        for line in polled.lines {
            self.pipeline.push(line);
        }
        let analysed = self.pipeline.drain(now);
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
        Batch { raised: analysed.raised, had_lines, is_caught_up: polled.caught_up }
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
        let is_due = !batch.raised.is_empty() || self.looks_since_settled >= SETTLE_AFTER_LOOKS;
        if !is_due {
            return true;
        }
        let place = self.tail.place();
        match self.sink.commit(&batch.raised, place.as_ref(), batch.is_caught_up) {
            Ok(committed) => {
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
                engines: std::collections::BTreeMap::new(),
            });
        });
    }

    fn publish(&mut self, was_refused: bool) {
        let now = self.clock.now();
        let is_recent = self.not_analysed_at.is_some_and(|at| now.since(at) < CONDITION_LASTS);
        let conditions = (is_recent || was_refused).then(|| NOT_ANALYSED.to_owned()).into_iter().collect();
        let alert_count = self.sink.alert_count();
        self.status.send_if_modified(|status| {
            let is_changed = status.alert_count != alert_count || status.conditions != conditions;
            status.alert_count = alert_count;
            status.conditions = conditions;
            is_changed
        });
    }
}

#[cfg(test)]
mod tests;
