//! What the updater knows of the sensor process, and when it may be started again.

use std::time::Duration;

use super::record::Release;
use crate::sync::ServiceState;
use crate::time::Timestamp;

/// The pause before a sensor that died is started again; doubled with every death in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A sensor that was ready for so long has left its earlier deaths behind.
const STABLE_AFTER: Duration = Duration::from_secs(10 * 60);

/// The one sensor process of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// None runs; one may be started from this instant on.
    Down { until: Timestamp },
    /// One runs, of a release that nobody knows.
    Unknown,
    /// Started, or adopted, and not ready.
    Starting { release: Release, since: Timestamp },
    /// Ready.
    Ready { release: Release, since: Timestamp },
}

/// The sensor process and how often it died in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sensor {
    pub(super) state: State,
    deaths: u32,
}

impl Sensor {
    pub(super) fn new(state: State) -> Self {
        Self { state, deaths: 0 }
    }

    /// It is gone, and a pause begins.
    pub(super) fn died(&mut self, now: Timestamp) {
        if let State::Ready { since, .. } = self.state
            && now.since(since) >= STABLE_AFTER
        {
            self.deaths = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.deaths.min(6)).min(LONGEST_PAUSE);
        self.deaths = self.deaths.saturating_add(1);
        self.state = State::Down { until: now + pause };
    }

    /// It was stopped on purpose: another one may start at once, with a clean slate.
    pub(super) fn stopped(&mut self, now: Timestamp) {
        *self = Self::new(State::Down { until: now });
    }

    /// It was stopped for its host's sake: it comes back after a pause, and is not to blame.
    pub(super) fn rests(&mut self, until: Timestamp) {
        self.state = State::Down { until };
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// The release it runs from, as far as known.
    pub(super) fn release(&self) -> Option<Release> {
        match self.state {
            State::Down { .. } | State::Unknown => None,
            State::Starting { release, .. } | State::Ready { release, .. } => Some(release),
        }
    }

    pub(super) fn service(&self) -> ServiceState {
        match self.state {
            State::Down { .. } => ServiceState::Stopped,
            State::Unknown | State::Starting { .. } => ServiceState::Starting,
            State::Ready { .. } => ServiceState::Running,
        }
    }
}
