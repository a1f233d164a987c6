//! A group of version 1: one folder in each of the hierarchies for processor time, its account, and memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kernel::{Kernel, move_family, named, number, put, text};
use super::levels::{MemoryLevel, ProcessorLevel};
use super::mounts::{Controller, Mounts, Place};

/// The stretch over which processor time is counted out, in microseconds: the kernel's default.
const PERIOD_MICROS: u64 = 100_000;
/// The least that the kernel takes for that stretch, in microseconds.
const LEAST_MICROS: u64 = 1_000;
/// A memory limit above this is none: the kernel says "unlimited" with the largest number of pages.
const UNLIMITED: u64 = 1 << 62;

/// The sensor's group.
#[derive(Debug)]
pub(super) struct Group {
    cpu: Place,
    account: Place,
    memory: Place,
}

impl Group {
    /// Makes a group of this name below the one that the process is in, and moves the process there with all that
    /// descends from it. One that is there already is used again.
    ///
    /// # Errors
    /// When a hierarchy is not mounted or may not be written.
    pub(super) fn take(kernel: &Kernel, mounts: &Mounts, pid: u32, name: &str) -> io::Result<Self> {
        let place = |controller: Controller| {
            let absent = || io::Error::other(format!("no cgroup v1 controller “{}” is mounted", controller.word()));
            let found = mounts.v1(kernel, pid, controller).ok_or_else(absent)?;
            // A sensor that is adopted is in its group already.
            let is_in = found.folder.file_name().is_some_and(|last| last == name);
            let folder = if is_in { found.folder } else { found.folder.join(name) };
            if !folder.is_dir() {
                fs::create_dir(&folder)?;
            }
            Ok::<_, io::Error>(Place { folder, top: found.top })
        };
        let group = Self {
            cpu: place(Controller::Cpu)?,
            account: place(Controller::CpuAccount)?,
            memory: place(Controller::Memory)?,
        };
        move_family(kernel, pid, &group.folders())?;
        put(&group.cpu.folder.join("cpu.cfs_period_us"), &PERIOD_MICROS.to_string())?;
        Ok(group)
    }

    fn folders(&self) -> [&Path; 3] {
        [&self.cpu.folder, &self.account.folder, &self.memory.folder]
    }

    /// Limits processor time, in thousandths of one processor.
    pub(super) fn limit_processor(&self, thousandths: u64) -> io::Result<()> {
        let quota = (thousandths.saturating_mul(PERIOD_MICROS) / 1_000).max(LEAST_MICROS);
        put(&self.cpu.folder.join("cpu.cfs_quota_us"), &quota.to_string())
    }

    /// Limits memory. What is in use and cannot be had back makes the kernel refuse; the next look tries again.
    pub(super) fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        put(&self.memory.folder.join("memory.limit_in_bytes"), &bytes.to_string())
    }

    /// Memory in use that cannot be had back, in bytes.
    pub(super) fn memory_used(&self) -> Option<u64> {
        used(&self.memory.folder)
    }

    /// Processor time that was used in all, in nanoseconds.
    pub(super) fn processor_nanos(&self) -> Option<u64> {
        number(&self.account.folder.join("cpuacct.usage"))
    }

    /// Groups around this one with a memory limit.
    pub(super) fn memory_levels(&self) -> Vec<MemoryLevel> {
        let level = |folder: &Path| {
            let total = number(&folder.join("memory.limit_in_bytes")).filter(|limit| *limit < UNLIMITED)?;
            Some(MemoryLevel { total, used: used(folder)? })
        };
        self.memory.groups().skip(1).filter_map(level).collect()
    }

    /// Groups around this one with a limit of processor time.
    pub(super) fn processor_levels(&self) -> Vec<ProcessorLevel> {
        let level = |folder: &Path| {
            let quota = number(&folder.join("cpu.cfs_quota_us"))?;
            let period = number(&folder.join("cpu.cfs_period_us")).filter(|period| *period > 0)?;
            let account = self.account.in_place_of(folder, &self.cpu)?;
            let nanos = number(&account.join("cpuacct.usage"))?;
            Some(ProcessorLevel { folder: folder.to_owned(), total: quota.saturating_mul(1_000) / period, nanos })
        };
        self.cpu.groups().skip(1).filter_map(level).collect()
    }

    /// Takes the group away, once nothing is in it any more.
    pub(super) fn remove(&self) {
        // It stays while a process is in it, and is used again for the next.
        self.folders().into_iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }

    /// Where it is, for the log.
    pub(super) fn folder(&self) -> PathBuf {
        self.memory.folder.clone()
    }
}

/// In use, without what the kernel keeps of files and can drop, as `MemAvailable` counts.
fn used(folder: &Path) -> Option<u64> {
    let all = number(&folder.join("memory.usage_in_bytes"))?;
    let stat = text(&folder.join("memory.stat"))?;
    let files = ["total_inactive_file", "total_active_file"].iter().filter_map(|name| named(&stat, name));
    Some(all.saturating_sub(files.fold(0, u64::saturating_add)))
}
