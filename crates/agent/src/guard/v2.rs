//! A group of version 2: one folder with everything.
//!
//! Controllers are handed down only by groups that have no process of their own, so whoever is in the group around the
//! sensor's moves into a group beside it first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kernel::{Kernel, move_family, named, number, put, text};
use super::levels::{MemoryLevel, ProcessorLevel};
use super::mounts::{Mounts, Place};

/// The stretch over which processor time is counted out, in microseconds: the kernel's default.
const PERIOD_MICROS: u64 = 100_000;
/// The least that the kernel takes for that stretch, in microseconds.
const LEAST_MICROS: u64 = 1_000;
/// What the guard needs of the group around the sensor's.
const CONTROLLERS: [&str; 2] = ["cpu", "memory"];
/// Where the updater goes, so that the group around both is free to hand controllers down.
const BESIDE: &str = "watchpost-updater";

/// The sensor's group.
#[derive(Debug)]
pub(super) struct Group {
    place: Place,
}

impl Group {
    /// Makes a group of this name below the one that the process is in, and moves the process there with all that
    /// descends from it. One that is there already is used again.
    ///
    /// # Errors
    /// When version 2 is not mounted, lacks a controller, or may not be written.
    pub(super) fn take(kernel: &Kernel, mounts: &Mounts, pid: u32, name: &str) -> io::Result<Self> {
        let found = mounts.v2(kernel, pid).ok_or_else(|| io::Error::other("cgroup v2 is not mounted"))?;
        let last = found.folder.file_name().unwrap_or_default();
        let is_moved = last == name || last == BESIDE;
        let around = if is_moved { found.folder.parent().unwrap_or(&found.folder) } else { &found.folder };
        let there = text(&around.join("cgroup.controllers")).unwrap_or_default();
        if let Some(absent) = CONTROLLERS.iter().find(|one| !there.split_whitespace().any(|word| word == **one)) {
            return Err(io::Error::other(format!("cgroup v2 has no controller “{absent}” in {}", around.display())));
        }
        let folder = around.join(name);
        make(&folder)?;
        move_family(kernel, pid, &[&folder])?;
        hand_down(around)?;
        Ok(Self { place: Place { folder, top: found.top } })
    }

    /// Limits processor time, in thousandths of one processor.
    pub(super) fn limit_processor(&self, thousandths: u64) -> io::Result<()> {
        let quota = (thousandths.saturating_mul(PERIOD_MICROS) / 1_000).max(LEAST_MICROS);
        put(&self.place.folder.join("cpu.max"), &format!("{quota} {PERIOD_MICROS}"))
    }

    /// Limits memory.
    pub(super) fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        put(&self.place.folder.join("memory.max"), &bytes.to_string())
    }

    /// Memory in use that cannot be had back, in bytes.
    pub(super) fn memory_used(&self) -> Option<u64> {
        used(&self.place.folder)
    }

    /// Processor time that was used in all, in nanoseconds.
    pub(super) fn processor_nanos(&self) -> Option<u64> {
        processor_nanos(&self.place.folder)
    }

    /// Groups around this one with a memory limit.
    pub(super) fn memory_levels(&self) -> Vec<MemoryLevel> {
        let level =
            |folder: &Path| Some(MemoryLevel { total: number(&folder.join("memory.max"))?, used: used(folder)? });
        self.place.groups().skip(1).filter_map(level).collect()
    }

    /// Groups around this one with a limit of processor time.
    pub(super) fn processor_levels(&self) -> Vec<ProcessorLevel> {
        let level = |folder: &Path| {
            let limit = text(&folder.join("cpu.max"))?;
            let mut words = limit.split_whitespace();
            let quota: u64 = words.next()?.parse().ok()?;
            let period: u64 = words.next()?.parse().ok().filter(|period| *period > 0)?;
            let total = quota.saturating_mul(1_000) / period;
            Some(ProcessorLevel { folder: folder.to_owned(), total, nanos: processor_nanos(folder)? })
        };
        self.place.groups().skip(1).filter_map(level).collect()
    }

    /// Takes the group away, once nothing is in it any more.
    pub(super) fn remove(&self) {
        // It stays while a process is in it, and is used again for the next.
        let _ = fs::remove_dir(&self.place.folder);
    }

    /// Where it is, for the log.
    pub(super) fn folder(&self) -> PathBuf {
        self.place.folder.clone()
    }
}

fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() { Ok(()) } else { fs::create_dir(folder) }
}

/// Has a group hand its controllers down; whoever is left in it goes beside.
fn hand_down(around: &Path) -> io::Result<()> {
    let wanted = CONTROLLERS.map(|one| format!("+{one}")).join(" ");
    let is_done = || {
        let now = text(&around.join("cgroup.subtree_control")).unwrap_or_default();
        CONTROLLERS.iter().all(|one| now.split_whitespace().any(|word| word == *one))
    };
    if is_done() {
        return Ok(());
    }
    let beside = around.join(BESIDE);
    make(&beside)?;
    for pid in text(&around.join("cgroup.procs")).unwrap_or_default().lines() {
        put(&beside.join("cgroup.procs"), pid)?;
    }
    put(&around.join("cgroup.subtree_control"), &wanted)
}

fn processor_nanos(folder: &Path) -> Option<u64> {
    named(&text(&folder.join("cpu.stat"))?, "usage_usec").map(|micros| micros.saturating_mul(1_000))
}

/// In use, without what the kernel keeps of files and can drop, as `MemAvailable` counts.
fn used(folder: &Path) -> Option<u64> {
    let all = number(&folder.join("memory.current"))?;
    let stat = text(&folder.join("memory.stat"))?;
    let files = ["inactive_file", "active_file"].iter().filter_map(|name| named(&stat, name));
    Some(all.saturating_sub(files.fold(0, u64::saturating_add)))
}
