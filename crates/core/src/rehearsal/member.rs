//! One simulated host and its check-ins. A host that has nothing to say and is told nothing is left alone.

use std::time::Duration;

use super::beat::Beat;
use super::host::Host;
use crate::id::SensorId;
use crate::rollout::Fleet;
use crate::sensor::{Sensor, SensorStatus};
use crate::time::Timestamp;

/// The smallest step of time.
const TICK: Duration = Duration::from_millis(1);
/// Things that may follow from one another on a host at one instant; a bound against a loop, far above any real chain.
const MOST_WAKES_AT_ONCE: u32 = 64;

/// A host, its sensor's place, and when either is to be looked at.
#[derive(Debug)]
pub(super) struct Member<'s> {
    pub(super) id: SensorId,
    pub(super) host: Host<'s>,
    pub(super) beat: Beat,
    pub(super) is_deleted: bool,
    /// It checks in without anything coming of it: its contact times stand in the far future until that ends.
    pub(super) is_quiet: bool,
    pub(super) checks_in_at: Option<Timestamp>,
    /// When to wake the host or let it check in.
    pub(super) acts_at: Option<Timestamp>,
    pub(super) status: SensorStatus,
    /// When the clock alone may change the status or an issue.
    pub(super) judged_again_at: Option<Timestamp>,
}

impl Member<'_> {
    /// Whether it talks to the control plane at exactly this instant.
    pub(super) fn talks_at(&self, now: Timestamp) -> bool {
        !self.is_deleted && self.host.can_talk() && self.checks_in_at == Some(now)
    }

    /// Ends the quiet: contact times become what they were, and the next check-in is real.
    pub(super) fn rouse(&mut self, sensor: &mut Sensor, now: Timestamp, far: Timestamp) {
        if !self.is_quiet {
            return;
        }
        self.is_quiet = false;
        let last = self.beat.last(now - TICK);
        sensor.last_contact = Some(last);
        if sensor.last_config_pull == Some(far) {
            sensor.last_config_pull = Some(last);
        }
        self.checks_in_at = Some(self.beat.next(now));
    }

    /// Finds the next instant at which something happens here, or begins the quiet.
    pub(super) fn plan_ahead(&mut self, fleet: &mut Fleet, now: Timestamp, far: Timestamp, may_be_quiet: bool) {
        let Some(sensor) = fleet.get_mut(&self.id).filter(|_| self.host.can_talk()) else {
            (self.checks_in_at, self.acts_at) = (None, None);
            return;
        };
        if self.is_quiet {
            self.acts_at = None;
            return;
        }
        let report = self.host.report(now);
        let is_settled = may_be_quiet
            && self.host.is_settled_on(sensor.update.desired.generation)
            && sensor.last_contact.is_some_and(|at| now.since(at) <= self.beat.longest_gap())
            && sensor.report == report;
        if is_settled {
            self.is_quiet = true;
            sensor.last_contact = Some(far);
            if report.pulled_configuration {
                sensor.last_config_pull = Some(far);
            }
            (self.checks_in_at, self.acts_at) = (None, None);
            return;
        }
        let check_in = self.beat.next(now + TICK);
        self.checks_in_at = Some(check_in);
        self.acts_at = self.host.wakes_at().map_or(Some(check_in), |wake| Some(wake.max(now + TICK).min(check_in)));
    }

    /// Lets everything happen on the host that is due; returns what it has switched to.
    pub(super) fn wake(&mut self, now: Timestamp) -> Vec<crate::version::Version> {
        let mut switched = self.host.wake(now);
        for _ in 0..MOST_WAKES_AT_ONCE {
            if self.host.wakes_at().is_none_or(|at| at > now) {
                break;
            }
            switched.extend(self.host.wake(now));
        }
        switched
    }
}
