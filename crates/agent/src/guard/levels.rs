//! One look: the host, the groups around the sensor that have limits, and what the sensor uses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use watchpost_core::guard::{Memory, ONE_PROCESSOR, Processors, Reading, Used};

use super::hold::Hold;
use super::kernel::Kernel;
use crate::host::watch;

/// A group around the sensor that has a memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryLevel {
    /// The limit.
    pub(super) total: u64,
    /// In use that cannot be had back.
    pub(super) used: u64,
}

/// A group around the sensor that has a limit of processor time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessorLevel {
    /// Which.
    pub(super) folder: PathBuf,
    /// The limit, in thousandths of one processor.
    pub(super) total: u64,
    /// What was used in all, in nanoseconds.
    pub(super) nanos: u64,
}

/// What only counts up: a look needs the one before.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    at: Duration,
    host: Option<watch::Processors>,
    sensor: Option<u64>,
    groups: BTreeMap<PathBuf, u64>,
}

/// Looks at everything, and gives the counters for the next look.
pub(super) fn read(
    kernel: &Kernel,
    hold: Option<&Hold>,
    before: Option<&Counters>,
    at: Duration,
) -> (Reading, Counters) {
    let stat = kernel.proc("stat").unwrap_or_default();
    let levels = hold.map(Hold::processor_levels).unwrap_or_default();
    let now = Counters {
        at,
        host: watch::processors(&stat),
        sensor: hold.and_then(Hold::processor_nanos),
        groups: levels.iter().map(|level| (level.folder.clone(), level.nanos)).collect(),
    };
    let rate = |nanos: Option<u64>, earlier: Option<u64>| rate(nanos?, earlier?, at.checked_sub(before?.at)?);
    let used = hold.map(|hold| Used {
        memory: hold.memory_used().unwrap_or_default(),
        processor: rate(now.sensor, before.and_then(|before| before.sensor)).unwrap_or_default(),
    });
    let whole = host_processors(&stat, before.and_then(|before| before.host), now.host);
    let groups = levels.iter().filter_map(|level| {
        let earlier = before.and_then(|before| before.groups.get(&level.folder).copied());
        Some(Processors { total: level.total, busy: rate(Some(level.nanos), earlier)? })
    });
    let around = hold.map(Hold::memory_levels).unwrap_or_default();
    let memory =
        around.iter().map(|level| Memory { total: level.total, available: level.total.saturating_sub(level.used) });
    let reading = Reading {
        memory: host_memory(kernel).into_iter().chain(memory).collect(),
        processors: whole.into_iter().chain(groups).collect(),
        used,
    };
    (reading, now)
}

/// Thousandths of one processor that a count of nanoseconds makes over this time.
fn rate(nanos: u64, earlier: u64, over: Duration) -> Option<u64> {
    let over = u64::try_from(over.as_nanos()).ok().filter(|over| *over > 0)?;
    let thousandths = u128::from(nanos.checked_sub(earlier)?) * u128::from(ONE_PROCESSOR) / u128::from(over);
    u64::try_from(thousandths).ok()
}

fn host_memory(kernel: &Kernel) -> Option<Memory> {
    let (available, total) = watch::memory_bytes(&kernel.proc("meminfo")?)?;
    Some(Memory { total, available })
}

fn host_processors(
    stat: &str,
    before: Option<watch::Processors>,
    now: Option<watch::Processors>,
) -> Option<Processors> {
    let is_one =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let total = (stat.lines().filter(is_one).count() as u64).checked_mul(ONE_PROCESSOR)?;
    let (idle, all) = watch::passed(before?, now?)?;
    let free = total.checked_mul(idle)?.checked_div(all)?;
    Some(Processors { total, busy: total.saturating_sub(free) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_thousandths_of_one_processor() {
        let second = Duration::from_secs(1);
        assert_eq!(rate(2_000_000_000, 500_000_000, second), Some(1_500));
        assert_eq!(rate(250_000_000, 0, second * 2), Some(125));
        assert_eq!(rate(0, 1, second), None, "a counter that went back says nothing");
        assert_eq!(rate(1, 0, Duration::ZERO), None);
    }

    #[test]
    fn the_host_is_counted_by_its_processors_and_their_idle_share() {
        let stat = "cpu  0 0 0 0\ncpu0 1\ncpu1 2\nintr 5\n";
        let seen = |idle: u64, all: u64| watch::Processors { idle, all };
        let found = host_processors(stat, Some(seen(100, 200)), Some(seen(130, 300)));
        assert_eq!(found, Some(Processors { total: 2_000, busy: 1_400 }));
        assert_eq!(host_processors(stat, None, Some(seen(1, 1))), None);
    }
}
