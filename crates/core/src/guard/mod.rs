//! The resource guard: what a sensor may use of its host now, and when it is stopped and started again (F1).
//!
//! Readings in, limits and verdicts out. The host comes first: a share of it stays free whatever the sensor would like
//! to do, and the sensor keeps a little even on a host that has nothing left, because one that stands still sees nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::ResourcePolicy;

#[cfg(test)]
mod tests;

/// Thousandths of one processor: the unit of processor time here.
pub const ONE_PROCESSOR: u64 = 1_000;

/// Memory of the host, or of a group around the sensor that has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it, in bytes.
    pub total: u64,
    /// What can be had of it without swapping, in bytes.
    pub available: u64,
}

/// Processors of the host, or what a group around the sensor may use of them, since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// All of them, in thousandths of one.
    pub total: u64,
    /// What was used of them, the sensor's part included, in thousandths of one.
    pub busy: u64,
}

/// What the sensor and everything it started use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Used {
    /// Memory that cannot be had back without ending it, in bytes.
    pub memory: u64,
    /// Processor time since the last look, in thousandths of one processor.
    pub processor: u64,
}

/// One look at a host. What could not be read is left out, and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reading {
    /// The host, and each group around the sensor that has a memory limit.
    pub memory: Vec<Memory>,
    /// The host, and each group around the sensor that has a limit of processor time.
    pub processors: Vec<Processors>,
    /// What the sensor uses; `None`: none runs.
    pub used: Option<Used>,
}

/// What a sensor may use from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time, in thousandths of one processor; `None`: nobody knows what there is.
    pub processor: Option<u64>,
    /// Memory, in bytes; `None`: nobody knows what there is.
    pub memory: Option<u64>,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// To be in force until the next look.
    pub limits: Limits,
    /// Less memory than the reserve is free, or was within the last few checks.
    pub memory_is_short: bool,
    /// The sensor is to be stopped, and started again after a pause: its memory is needed.
    pub restart: bool,
}

/// Judges one sensor on one host.
#[derive(Clone, Debug)]
pub struct Guard {
    policy: ResourcePolicy,
    /// What the last looks left to the sensor; the least of them counts, so that a load that comes and goes is respected.
    rooms: VecDeque<u64>,
    memory_limit: Option<u64>,
    next_check: Duration,
    /// Checks in a row that found too little memory, and that found enough.
    breaches: u32,
    passes: u32,
    memory_is_short: bool,
    restarted_at: Option<Duration>,
}

impl Guard {
    /// A guard that has seen nothing yet.
    #[must_use]
    pub fn new(policy: ResourcePolicy) -> Self {
        Self {
            policy,
            rooms: VecDeque::new(),
            memory_limit: None,
            next_check: Duration::ZERO,
            breaches: 0,
            passes: 0,
            memory_is_short: false,
            restarted_at: None,
        }
    }

    /// Judges a look at this moment, counted by a steady clock from wherever.
    pub fn look(&mut self, reading: &Reading, at: Duration) -> Verdict {
        let limits = Limits { processor: self.processor_limit(reading), memory: self.memory_limit(reading) };
        let restart = at >= self.next_check && {
            self.next_check = at + self.policy.checked_every;
            self.check(reading, at)
        };
        Verdict { limits, memory_is_short: self.memory_is_short, restart }
    }

    /// What others leave, less the reserve and what it takes to keep it while they change their minds.
    fn processor_limit(&mut self, reading: &Reading) -> Option<u64> {
        let own = reading.used.unwrap_or_default().processor;
        let spoken_for = u64::from(self.policy.kept_free_percent.saturating_add(self.policy.processor_margin_percent));
        let room = |seen: &Processors| {
            let others = seen.busy.saturating_sub(own);
            share(seen.total, 100_u64.saturating_sub(spoken_for)).saturating_sub(others)
        };
        let least = reading.processors.iter().map(room).min()?;
        self.rooms.push_back(least);
        while self.rooms.len() > self.policy.processor_looks {
            self.rooms.pop_front();
        }
        let smallest = reading.processors.iter().map(|seen| seen.total).min()?;
        let floor = share(smallest, u64::from(self.policy.processor_floor_percent));
        self.rooms.iter().min().map(|room| (*room).max(floor))
    }

    /// What it has and what is left above the reserve. While nothing is left, the limit only falls: one that followed a
    /// sensor's growth would be none.
    fn memory_limit(&mut self, reading: &Reading) -> Option<u64> {
        let own = reading.used.unwrap_or_default().memory;
        let left = |seen: &Memory| seen.available.saturating_sub(share(seen.total, self.kept()));
        let least = reading.memory.iter().map(left).min()?;
        let limit = if least > 0 {
            own.saturating_add(least)
        } else {
            let with_a_little = own.saturating_add(own / self.policy.memory_headroom_share);
            self.memory_limit.map_or(with_a_little, |before| before.min(with_a_little))
        };
        self.memory_limit = Some(limit.max(self.policy.memory_floor));
        self.memory_limit
    }

    /// One check of the memory; whether the sensor has to give its own back.
    fn check(&mut self, reading: &Reading, at: Duration) -> bool {
        if reading.memory.is_empty() {
            return false;
        }
        let is_short = |seen: &Memory| seen.available < share(seen.total, self.kept());
        if !reading.memory.iter().any(is_short) {
            (self.breaches, self.passes) = (0, self.passes.saturating_add(1));
            self.memory_is_short &= self.passes < self.policy.breaches;
            return false;
        }
        (self.breaches, self.passes, self.memory_is_short) = (self.breaches.saturating_add(1), 0, true);
        // A host that others keep full is not helped by a sensor that is started all the time.
        let may = self.restarted_at.is_none_or(|before| at.saturating_sub(before) >= self.policy.restart_again_after);
        let is_due = self.breaches >= self.policy.breaches && may && reading.used.is_some();
        if is_due {
            (self.breaches, self.restarted_at) = (0, Some(at));
        }
        is_due
    }

    fn kept(&self) -> u64 {
        u64::from(self.policy.kept_free_percent)
    }
}

fn share(whole: u64, percent: u64) -> u64 {
    // Divided first where a product could be too large.
    whole.checked_mul(percent).map_or(whole / 100 * percent, |product| product / 100)
}
