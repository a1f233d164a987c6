//! Reads of the kernel's small files; a test has them elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::host::disk::read_limited;

/// The largest of the kernel's files that is read.
const FILE_BYTES: u64 = 1024 * 1024;

/// How often a family is looked through for newcomers while it is moved.
const MOST_LOOKS: usize = 5;

/// Where the kernel tells what it knows.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    proc: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc") }
    }
}

impl Kernel {
    /// A kernel whose `/proc` is this folder.
    #[cfg(test)]
    pub(super) fn at(proc: &Path) -> Self {
        Self { proc: proc.to_owned() }
    }

    /// A file of `/proc`.
    pub(super) fn proc(&self, name: &str) -> Option<String> {
        text(&self.proc.join(name))
    }

    /// A file about a process.
    pub(super) fn of(&self, pid: u32, name: &str) -> Option<String> {
        text(&self.proc.join(pid.to_string()).join(name))
    }

    /// A process and everything that descends from it, as far as it is seen now.
    pub(super) fn family(&self, pid: u32) -> Vec<u32> {
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let all: Vec<(u32, u32)> = entries
            .filter_map(|entry| {
                let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
                Some((pid, parent(&self.of(pid, "stat")?)?))
            })
            .collect();
        let mut found = vec![pid];
        let mut at = 0;
        while let Some(one) = found.get(at).copied() {
            at += 1;
            let children = all.iter().filter(|(child, of)| *of == one && *child != one).map(|(child, _)| *child);
            let fresh: Vec<u32> = children.filter(|child| !found.contains(child)).collect();
            found.extend(fresh);
        }
        found
    }
}

/// Moves a process and everything that descends from it into these groups. Children come and go meanwhile: one that has
/// ended is not missed, and one that a process got before it was moved is found at the next look.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn move_family(kernel: &Kernel, pid: u32, groups: &[&Path]) -> io::Result<()> {
    let mut moved: Vec<u32> = Vec::new();
    for _ in 0..MOST_LOOKS {
        let found = kernel.family(pid);
        let fresh: Vec<u32> = found.into_iter().filter(|one| !moved.contains(one)).collect();
        if fresh.is_empty() {
            break;
        }
        for one in fresh {
            for group in groups {
                match put(&group.join("cgroup.procs"), &one.to_string()) {
                    Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                    done => done?,
                }
            }
            moved.push(one);
        }
    }
    Ok(())
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold anything.
pub(super) fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect())
}

fn parent(stat: &str) -> Option<u32> {
    fields(stat)?.get(1)?.parse().ok()
}

pub(super) fn text(path: &Path) -> Option<String> {
    String::from_utf8(read_limited(path, FILE_BYTES).ok().flatten()?).ok()
}

/// A file that holds one number.
pub(super) fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// The number behind a name, in a file of `name number` lines.
pub(super) fn named(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

/// Writes into a file of the kernel's.
pub(super) fn put(path: &Path, value: &str) -> io::Result<()> {
    fs::write(path, value)
}
