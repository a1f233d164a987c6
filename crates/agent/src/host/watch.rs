//! What the updater observes of its host: memory, processors, disk, operating system, clock.
//!
//! Only reads, and only states come out: since when a resource is short, never how much of it there is.

use std::path::{Path, PathBuf};
use std::time::Instant;

use watchpost_core::facts::door_file::{DOOR_FOLDER, DoorFile, MAX_DOOR_FILE_BYTES, MAX_DOOR_FILES, read_door};
use watchpost_core::facts::{DoorFacts, HostFacts, OperatingSystem};
use watchpost_core::policy::ResourcePolicy;
use watchpost_core::time::Timestamp;

use super::disk::read_limited;
use super::facts;

/// The largest file of `/proc` that is read.
const PROC_BYTES: u64 = 256 * 1024;
/// To how many seconds the difference of the clocks is rounded, and by more than how many it has to differ from what was
/// told before it is told anew: a clock that trembles, at whatever edge, is no news.
const CLOCK_STEP_SECONDS: i64 = 30;

/// Observes one host.
#[derive(Debug)]
pub struct HostWatch {
    root: PathBuf,
    policy: ResourcePolicy,
    system: Option<OperatingSystem>,
    processors: Option<Processors>,
    /// Since when the processors are too busy.
    busy_since: Option<Instant>,
    found: HostFacts,
    door: DoorFacts,
    /// What was complained of last, so that it is said once.
    complaints: Vec<String>,
}

/// Ticks of all processors since the host was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processors {
    /// Of these, idle ones.
    pub(crate) idle: u64,
    /// All of them.
    pub(crate) all: u64,
}

impl HostWatch {
    /// A watch over the host whose sensor lives in `root`.
    #[must_use]
    pub fn new(root: &Path, policy: ResourcePolicy) -> Self {
        let system = facts::system();
        Self {
            root: root.to_owned(),
            policy,
            system,
            processors: None,
            busy_since: None,
            found: HostFacts::default(),
            door: DoorFacts::default(),
            complaints: Vec::new(),
        }
    }

    /// The control plane said what time it is.
    pub fn hears_time(&mut self, server: Timestamp, now: Timestamp) {
        let ahead = now.millis().saturating_sub(server.millis()).saturating_div(1000);
        if ahead.abs_diff(self.found.clock_ahead_seconds) <= CLOCK_STEP_SECONDS.unsigned_abs() {
            return;
        }
        self.found.clock_ahead_seconds = ahead.saturating_div(CLOCK_STEP_SECONDS).saturating_mul(CLOCK_STEP_SECONDS);
    }

    /// Looks once more.
    pub fn look(&mut self, now: Timestamp, instant: Instant) {
        let memory = read("/proc/meminfo").and_then(|text| available_memory_percent(&text));
        let kept_free = u64::from(self.policy.kept_free_percent);
        note(&mut self.found.memory_short_since, memory.map(|percent| percent < kept_free), now);
        let processors = read("/proc/stat").and_then(|text| processors(&text));
        let idle = self.processors.zip(processors).and_then(|(before, after)| idle_percent(before, after));
        self.processors = processors.or(self.processors);
        self.note_processors(idle.map(|percent| percent < kept_free), now, instant);
        let free = free_disk_percent(&self.root);
        let low = u64::from(self.policy.disk_low_percent);
        note(&mut self.found.disk_low_since, free.map(|percent| percent < low), now);
        self.found.system.clone_from(&self.system);
        self.look_through_door(now);
    }

    /// Processors are too busy, or not, or nobody knows.
    fn note_processors(&mut self, are_busy: Option<bool>, now: Timestamp, instant: Instant) {
        match are_busy {
            Some(true) => {
                // By the steady clock: a busy minute is nothing, however far a stepped clock goes meanwhile.
                let since = *self.busy_since.get_or_insert(instant);
                let is_long = instant.saturating_duration_since(since) >= self.policy.processor_short_after;
                note(&mut self.found.processor_short_since, is_long.then_some(true), now);
            }
            Some(false) => (self.busy_since, self.found.processor_short_since) = (None, None),
            None => {}
        }
    }

    /// Reads what collectors have written down. What has gone stale by the next look is left out then.
    fn look_through_door(&mut self, now: Timestamp) {
        let reading = read_door(door_files(&self.root.join(DOOR_FOLDER)), now);
        if reading.complaints != self.complaints {
            for complaint in &reading.complaints {
                tracing::warn!("a collector's facts are not taken: {complaint}");
            }
        }
        self.complaints = reading.complaints;
        self.door = reading.facts;
    }

    /// What collectors observed.
    #[must_use]
    pub fn door(&self) -> &DoorFacts {
        &self.door
    }

    /// What was found last.
    #[must_use]
    pub fn found(&self) -> &HostFacts {
        &self.found
    }
}

/// The files of collectors, plain ones alone: what is no file, is too large or cannot be read is none.
fn door_files(folder: &Path) -> Vec<DoorFile> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_door_file(path)).collect();
    names.sort();
    let read = |path: &PathBuf| {
        let bytes = read_limited(path, MAX_DOOR_FILE_BYTES as u64).ok().flatten()?;
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(DoorFile { name, text: String::from_utf8_lossy(&bytes).into_owned() })
    };
    names.iter().take(MAX_DOOR_FILES).filter_map(read).collect()
}

fn is_door_file(path: &Path) -> bool {
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    is_json && std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Since when a condition holds; what could not be looked at stays as it was.
fn note(since: &mut Option<Timestamp>, holds: Option<bool>, now: Timestamp) {
    match holds {
        Some(true) => {
            since.get_or_insert(now);
        }
        Some(false) => *since = None,
        None => {}
    }
}

fn read(path: &str) -> Option<String> {
    let bytes = read_limited(Path::new(path), PROC_BYTES).ok().flatten()?;
    String::from_utf8(bytes).ok()
}

/// Share of the memory that can be had without swapping, of `/proc/meminfo`.
fn available_memory_percent(meminfo: &str) -> Option<u64> {
    let (available, total) = memory_bytes(meminfo)?;
    percent(available, total)
}

/// Memory that can be had without swapping, and all of it, in bytes, of `/proc/meminfo`.
pub(crate) fn memory_bytes(meminfo: &str) -> Option<(u64, u64)> {
    let bytes = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((bytes("MemAvailable")?, bytes("MemTotal")?))
}

/// The sum over all processors, of `/proc/stat`. Waiting for a disk is idle, too.
pub(crate) fn processors(stat: &str) -> Option<Processors> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // Guest time (fields 9 and 10) is counted within user time already.
    let all = ticks.iter().take(8).copied().fold(0, u64::saturating_add);
    Some(Processors { idle: ticks.get(3)?.saturating_add(*ticks.get(4)?), all })
}

fn idle_percent(before: Processors, after: Processors) -> Option<u64> {
    let (idle, all) = passed(before, after)?;
    percent(idle, all)
}

/// The idle ticks and all of them between two looks; counters that went back say nothing.
pub(crate) fn passed(before: Processors, after: Processors) -> Option<(u64, u64)> {
    Some((after.idle.checked_sub(before.idle)?, after.all.checked_sub(before.all)?))
}

fn free_disk_percent(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    percent(disk.f_bavail, disk.f_blocks)
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    part.saturating_mul(100).checked_div(whole)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn later(seconds: u64) -> Timestamp {
        NOW + std::time::Duration::from_secs(seconds)
    }

    #[test]
    fn memory_and_processors_are_read_as_the_kernel_writes_them() {
        let meminfo = "MemTotal:        1000 kB\nMemFree:           10 kB\nMemAvailable:     140 kB\n";
        assert_eq!(available_memory_percent(meminfo), Some(14));
        assert_eq!(available_memory_percent("MemTotal: 1 kB\n"), None);
        // user nice system idle iowait irq softirq steal guest guest_nice
        let before = processors("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!(before, Processors { idle: 800, all: 1000 });
        let after = processors("cpu  180 0 110 705 105 0 0 0 90 0\n").unwrap();
        assert_eq!(idle_percent(before, after), Some(10));
        assert_eq!(idle_percent(after, before), None, "counters that went back say nothing");
        assert_eq!(idle_percent(after, after), None);
    }

    #[test]
    fn a_condition_keeps_its_first_instant_until_it_goes_and_the_unknown_changes_nothing() {
        let mut since = None;
        note(&mut since, Some(true), NOW);
        note(&mut since, Some(true), later(60));
        note(&mut since, None, later(70));
        assert_eq!(since, Some(NOW));
        note(&mut since, Some(false), later(80));
        assert_eq!(since, None);
    }

    #[test]
    fn a_clock_is_told_to_the_half_minute_and_a_trembling_one_is_no_news() {
        let told = |watch: &mut HostWatch, seconds_ahead: i64| {
            watch.hears_time(NOW, Timestamp::from_millis(NOW.millis() + seconds_ahead * 1000));
            watch.found().clock_ahead_seconds
        };
        for (seconds_ahead, expected) in [(0, 0), (30, 0), (31, 30), (359, 330), (-30, 0), (-31, -30), (-301, -300)] {
            let mut watch = HostWatch::new(Path::new("/"), ResourcePolicy::default());
            assert_eq!(told(&mut watch, seconds_ahead), expected, "{seconds_ahead} s ahead");
        }
        let mut watch = HostWatch::new(Path::new("/"), ResourcePolicy::default());
        for edge in [30, 60, -30, 300] {
            let first = told(&mut watch, edge);
            for trembles in [-1, 1, 0, 2, -2] {
                let before = watch.found().clock_ahead_seconds;
                let now = told(&mut watch, edge + trembles);
                // Over the edge once, at most, and never back.
                assert!(now == before || before == first, "{edge}: {first}, {before}, {now}");
            }
        }
        // What goes away is told, too.
        assert_eq!((told(&mut watch, 0), told(&mut watch, 29)), (0, 0));
    }

    #[test]
    fn busy_processors_are_told_after_five_minutes_of_the_steady_clock() {
        let start = watchpost_clock::Clock::system().instant();
        let mut watch = HostWatch::new(Path::new("/"), ResourcePolicy::default());
        let mut told = |seconds: u64, are_busy: Option<bool>| {
            watch.note_processors(are_busy, later(seconds), start + Duration::from_secs(seconds));
            watch.found().processor_short_since
        };
        assert_eq!(told(0, Some(true)), None);
        assert_eq!(told(299, Some(true)), None);
        assert_eq!(told(300, None), None, "what could not be read changes nothing");
        assert_eq!(told(301, Some(true)), Some(later(301)));
        assert_eq!(told(400, Some(true)), Some(later(301)));
        assert_eq!(told(410, Some(false)), None);
        assert_eq!(told(420, Some(true)), None, "counted anew");
        // A wall clock that leaps adds no busy minutes.
        watch.note_processors(Some(true), later(1_000_000), start + Duration::from_secs(500));
        assert_eq!(watch.found().processor_short_since, None);
    }

    /// The fault itself: more programs that never rest than the host has processors.
    #[test]
    fn programs_that_never_rest_make_the_processors_short() {
        let start = watchpost_clock::Clock::system().instant();
        let five_minutes = start + ResourcePolicy::default().processor_short_after;
        let mut watch = HostWatch::new(Path::new("/"), ResourcePolicy::default());
        let many = read("/proc/stat").unwrap().lines().filter(|line| line.starts_with("cpu")).count() * 2;
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..many {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            // The first looks may still see the time before.
            for at in [start, start, five_minutes] {
                let ticks = |watch: &HostWatch| watch.processors.map_or(0, |seen| seen.all);
                let (before, wanted) = (ticks(&watch), 50);
                while read("/proc/stat").and_then(|text| processors(&text)).unwrap().all < before + wanted {
                    std::thread::yield_now();
                }
                watch.look(NOW, at);
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(watch.found().processor_short_since, Some(NOW));
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let mut watch = HostWatch::new(Path::new("/"), ResourcePolicy::default());
        let instant = watchpost_clock::Clock::system().instant();
        watch.look(NOW, instant);
        watch.look(later(10), instant);
        assert!(watch.found().system.is_some() && free_disk_percent(Path::new("/")).is_some());
        assert!(watch.processors.is_some());
    }
}
