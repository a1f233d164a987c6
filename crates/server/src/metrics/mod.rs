//! What a monitoring system reads: counters that cost next to nothing, and figures that are worked out when it asks.
//!
//! Nothing here runs SQL or names a secret; labels are words of a closed list, so their number is bounded.

mod latency;
mod process;
mod scrape;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

pub(crate) use self::latency::Latency;
pub use self::scrape::CONTENT_TYPE;
pub(crate) use self::scrape::show;

/// The counters of a server. Cheap to clone; counting is one relaxed addition.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    check_ins: Counter,
    check_ins_changed: Counter,
    check_ins_refused: Counter,
    check_in_latency: Arc<Latency>,
    evidence_batches: Counter,
    alerts_taken: Counter,
}

/// How a check-in went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckInOutcome {
    /// Nothing had changed.
    Same,
    /// Something had, and was saved.
    Changed,
    /// It was not taken.
    Refused,
}

impl Metrics {
    /// Counts a check-in and how long its answer took.
    pub fn count_check_in(&self, outcome: CheckInOutcome, took: Duration) {
        let counter = match outcome {
            CheckInOutcome::Same => &self.check_ins,
            CheckInOutcome::Changed => &self.check_ins_changed,
            CheckInOutcome::Refused => &self.check_ins_refused,
        };
        counter.inc();
        self.check_in_latency.observe(took);
    }

    /// Counts a batch of evidence that was taken, with so many alerts that were not there before.
    pub fn count_evidence(&self, alerts: u64) {
        self.evidence_batches.inc();
        self.alerts_taken.inc_by(alerts);
    }
}
