//! Processes: who they are by the kernel's word, and how they are ended.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a process runs: the path of its executable, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Where the executable lies, or lay when it was started.
    pub executable: PathBuf,
    /// Its arguments, the program's own name first.
    pub arguments: Vec<PathBuf>,
}

/// The memory that the process has in use, in bytes; 0 if there is no such process.
#[must_use]
pub fn memory_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

/// What the process runs; `None` if there is none, or it belongs to somebody else.
#[must_use]
pub fn runs(pid: u32) -> Option<Runs> {
    let process = Path::new("/proc").join(pid.to_string());
    let executable = fs::read_link(process.join("exe")).ok()?;
    let line = fs::read(process.join("cmdline")).ok()?;
    let arguments = line
        .split(|byte| *byte == 0)
        .filter(|argument| !argument.is_empty())
        .map(|argument| PathBuf::from(std::ffi::OsStr::from_bytes(argument)))
        .collect();
    Some(Runs { executable, arguments })
}

/// Asks a process to end. It may be gone already; that is what was wanted.
pub fn ask_to_end(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Ends a process.
pub fn end(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw) {
        // It may have ended a moment ago.
        let _ = kill_process(pid, signal);
    }
}

/// The end of a process that is not a child of this one. Holds on to that very process: its number may be given to
/// another one, this handle may not.
pub struct Handle(AsyncFd<OwnedFd>);

impl Handle {
    /// A handle on the process, if it lives and the system has such handles.
    #[must_use]
    #[expect(
        deprecated,
        reason = "an OwnedFd cannot change under tokio; the other constructor is unsafe, which we forbid"
    )]
    pub fn open(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let handle = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        AsyncFd::with_interest(handle, Interest::READABLE).ok().map(Self)
    }

    /// Waits until it has ended. Safe to cancel.
    pub async fn ended(&self) {
        // An error means that the handle can tell nothing any more; the caller looks again.
        let _ = self.0.readable().await;
    }
}

/// How a process ended, in words.
#[must_use]
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_what_it_runs() {
        let own = runs(std::process::id()).unwrap();
        assert_eq!(own.executable, std::env::current_exe().unwrap().canonicalize().unwrap());
        assert!(!own.arguments.is_empty());
        assert_eq!(runs(u32::MAX), None);
    }

    #[tokio::test]
    async fn the_end_of_a_stranger_is_noticed() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let handle = Handle::open(child.id()).unwrap();
        end(child.id());
        handle.ended().await;
        child.wait().unwrap();
        assert!(Handle::open(child.id()).is_none());
    }

    #[test]
    fn endings_are_told_in_words() {
        assert_eq!(ending(ExitStatus::from_raw(78 << 8)), "it ended with code 78");
        assert_eq!(ending(ExitStatus::from_raw(9)), "it was ended by signal 9");
    }
}
