//! Where no group may be made: the sensor's family is measured, runs at the lowest priority, and is made to pause.
//!
//! Coarser than a group, and honest about it. A paused sensor is never left behind: letting go continues it, and so does
//! the next updater when it takes hold.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, setpriority_pgrp};
use tokio::time::Instant;
use watchpost_core::guard::{Limits, Used};

use super::kernel::{Kernel, fields};

/// The stretch of which the sensor pauses a part.
const PERIOD: Duration = Duration::from_millis(100);
/// All of it, in thousandths.
const WHOLE: u64 = 1_000;
/// What it runs of it at least, in thousandths: enough to answer its updater.
const LEAST_RUN: u64 = 50;
/// The lowest priority that there is.
const LOWEST: i32 = 19;
/// How long the kernel counts for one tick of `/proc/<pid>/stat`, in nanoseconds (USER_HZ is 100 everywhere).
const TICK_NANOS: u64 = 10_000_000;

/// The sensor and everything that descends from it.
#[derive(Debug)]
pub(super) struct Family {
    kernel: Kernel,
    pid: u32,
    /// What it runs of each stretch, in thousandths.
    runs: u64,
    /// When it is paused or continued next.
    turns_at: Option<Instant>,
    is_paused: bool,
}

impl Family {
    /// Takes hold of a process that leads its process group, as a sensor does.
    pub(super) fn take(kernel: &Kernel, pid: u32) -> Self {
        // One that may not be put last is paused all the same.
        let _ = setpriority_pgrp(pid_of(pid), LOWEST);
        let family = Self { kernel: kernel.clone(), pid, runs: WHOLE, turns_at: None, is_paused: false };
        family.signal(Signal::CONT);
        family
    }

    /// Has it run no more of the time than keeps it within the limit.
    pub(super) fn set(&mut self, limits: Limits, used: Used) {
        let Some(limit) = limits.processor else { return };
        self.runs = next_share(self.runs, limit, used.processor);
        if self.runs < WHOLE && self.turns_at.is_none() {
            self.turns_at = Some(Instant::now());
        }
    }

    /// Waits until it is to be paused or continued, and does that. For ever if it runs all the time. Safe to cancel.
    pub(super) async fn turn(&mut self) {
        let Some(at) = self.turns_at else { return std::future::pending().await };
        tokio::time::sleep_until(at).await;
        let runs = PERIOD.saturating_mul(u32::try_from(self.runs).unwrap_or(u32::MAX)) / 1_000;
        if self.is_paused || self.runs >= WHOLE {
            self.signal(Signal::CONT);
            self.is_paused = false;
            self.turns_at = (self.runs < WHOLE).then(|| Instant::now() + runs);
        } else {
            self.signal(Signal::STOP);
            self.is_paused = true;
            self.turns_at = Some(Instant::now() + PERIOD.saturating_sub(runs));
        }
    }

    fn signal(&self, signal: Signal) {
        for pid in self.kernel.family(self.pid).into_iter().filter_map(pid_of) {
            // It may have ended a moment ago.
            let _ = kill_process(pid, signal);
        }
    }

    /// Memory in use that cannot be had back, in bytes.
    pub(super) fn memory_used(&self) -> Option<u64> {
        let of = |pid: u32| {
            let status = self.kernel.of(pid, "status")?;
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(self.kernel.family(self.pid).into_iter().filter_map(of).fold(0, u64::saturating_add))
    }

    /// Processor time that was used in all, in nanoseconds, by those that live and the children that they waited for.
    pub(super) fn processor_nanos(&self) -> Option<u64> {
        let of = |pid: u32| {
            let stat = self.kernel.of(pid, "stat")?;
            // utime, stime, cutime, cstime are fields 14 to 17; the first two fields are the number and the name.
            let fields = fields(&stat)?;
            let ticks = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok());
            Some(ticks.fold(0, u64::saturating_add).saturating_mul(TICK_NANOS))
        };
        Some(self.kernel.family(self.pid).into_iter().filter_map(of).fold(0, u64::saturating_add))
    }

    /// Continues it for good.
    pub(super) fn let_go(self) {
        self.signal(Signal::CONT);
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

/// Less in proportion when it used too much; a quarter more when it did not.
fn next_share(now: u64, limit: u64, used: u64) -> u64 {
    let next = if used > limit { now.saturating_mul(limit) / used.max(1) } else { now + now / 4 };
    next.clamp(LEAST_RUN, WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_falls_with_the_excess_and_comes_back_in_steps() {
        assert_eq!(next_share(1_000, 250, 1_000), 250);
        assert_eq!(next_share(250, 250, 250), 312);
        assert_eq!(next_share(900, 250, 0), 1_000);
        assert_eq!(next_share(60, 1, 1_000), LEAST_RUN, "it always answers");
    }
}
