//! A host of a size that a test chooses: a control group of version 1 with its own processors and memory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::Signal;

use crate::tools;

/// What is missing where such a host cannot be made.
const NEEDED: &str = "this needs root and cgroup v1 with `cpu`, `cpuacct` and `memory` below /sys/fs/cgroup \
                      (mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory, likewise the others; kernel parameter \
                      systemd.unified_cgroup_hierarchy=0)";
/// The hierarchies that it needs.
const CONTROLLERS: [&str; 3] = ["cpu", "cpuacct", "memory"];

/// The group.
pub struct HostGroup {
    cpu: PathBuf,
    account: PathBuf,
    memory: PathBuf,
    bytes: u64,
}

/// What of a host is used, as the kernel counts it.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time in all, in nanoseconds.
    pub processor_nanos: u64,
    /// Memory that cannot be had back, in bytes.
    pub memory: u64,
}

/// The folder of the group that this process is in, in one hierarchy.
fn own(controller: &str) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup")?;
    let group = text.lines().find_map(|line| {
        let (words, group) = line.split_once(':')?.1.split_once(':')?;
        words.split(',').any(|word| word == controller).then(|| group.trim_start_matches('/'))
    });
    let folder = Path::new("/sys/fs/cgroup").join(controller).join(group.context(NEEDED)?);
    anyhow::ensure!(folder.is_dir(), "{} is not there; {NEEDED}", folder.display());
    Ok(folder)
}

fn number(path: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?.trim().parse()?)
}

impl HostGroup {
    /// A host with one processor and so much memory.
    ///
    /// # Errors
    /// When there are no such groups here, or they may not be made.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let make = |controller: &str| -> anyhow::Result<PathBuf> {
            let folder = own(controller)?.join(format!("watchpost-guarded-{}", std::process::id()));
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("{} cannot be made; {NEEDED}", folder.display()))?;
            Ok(folder)
        };
        let [cpu, account, memory] = CONTROLLERS.map(make);
        let host = Self { cpu: cpu?, account: account?, memory: memory?, bytes };
        std::fs::write(host.cpu.join("cpu.cfs_period_us"), "100000")?;
        std::fs::write(host.cpu.join("cpu.cfs_quota_us"), "100000")?;
        std::fs::write(host.memory.join("memory.limit_in_bytes"), bytes.to_string())?;
        Ok(host)
    }

    /// All of its memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts a process on this host.
    ///
    /// # Errors
    /// When it has ended.
    pub fn takes(&self, pid: u32) -> anyhow::Result<()> {
        for folder in [&self.cpu, &self.account, &self.memory] {
            std::fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// What of it is used now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let stat = std::fs::read_to_string(self.memory.join("memory.stat"))?;
        let files = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            ["total_inactive_file", "total_active_file"].contains(&name).then(|| bytes.parse::<u64>().ok())?
        });
        let all = number(&self.memory.join("memory.usage_in_bytes"))?;
        let memory = all.saturating_sub(files.sum());
        Ok(Usage { processor_nanos: number(&self.account.join("cpuacct.usage"))?, memory })
    }

    /// Memory that can be had now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn available(&self) -> anyhow::Result<u64> {
        Ok(self.bytes.saturating_sub(self.usage()?.memory))
    }
}

impl Drop for HostGroup {
    fn drop(&mut self) {
        // Whatever still runs there ends, and every group below goes before the one around it.
        for top in [&self.memory, &self.account, &self.cpu] {
            let inner = std::fs::read_dir(top).into_iter().flatten().flatten();
            let groups = inner.map(|entry| entry.path()).filter(|path| path.is_dir()).chain([top.clone()]);
            for group in groups {
                for pid in std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
                    pid.parse().into_iter().for_each(|pid| tools::signal(pid, Signal::KILL));
                }
                while std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty()) {
                    std::thread::yield_now();
                }
                let _ = std::fs::remove_dir(&group);
            }
        }
    }
}
