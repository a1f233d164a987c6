//! What the system says of this process. What it does not say is left out.

use rustix::time::{ClockId, clock_gettime};

/// Figures of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Memory that is held, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Processor time used since it began, in seconds.
    pub(super) cpu_seconds: f64,
    /// Files that are open.
    pub(super) open_files: Option<u64>,
    /// Files that may be open.
    pub(super) most_files: Option<u64>,
    /// Threads.
    pub(super) threads: Option<u64>,
}

/// Asks the system.
#[expect(clippy::cast_precision_loss, reason = "a monitoring system computes in floating point")]
pub(super) fn read() -> Process {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let files = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    Process {
        resident_bytes: field("VmRSS:").map(|kib| kib * 1024),
        cpu_seconds: used.tv_sec as f64 + used.tv_nsec as f64 / 1e9,
        // The folder that is being read is open itself.
        open_files: files.map(|count| u64::try_from(count.saturating_sub(1)).unwrap_or(u64::MAX)),
        most_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        threads: field("Threads:"),
    }
}
