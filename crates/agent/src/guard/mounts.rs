//! Where the control groups of this host are mounted, and in which of them a process is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::kernel::Kernel;

/// A hierarchy of groups at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// What of the hierarchy is seen here.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

/// A controller that the guard needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    /// Processor time, limited.
    Cpu,
    /// Processor time, counted. In version 2 it is part of the other.
    CpuAccount,
    /// Memory.
    Memory,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Cpu, Self::CpuAccount, Self::Memory];

    /// The kernel's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuAccount => "cpuacct",
            Self::Memory => "memory",
        }
    }
}

/// Everything that `/proc/self/mountinfo` tells of control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    v1: BTreeMap<Controller, Mount>,
    v2: Option<Mount>,
}

/// A folder of a group and the mount point that it lies below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) top: PathBuf,
}

impl Mounts {
    /// What is mounted here.
    pub(super) fn find(kernel: &Kernel) -> Self {
        let mut found = Self::default();
        for line in kernel.proc("self/mountinfo").unwrap_or_default().lines() {
            // 36 35 98:0 /root /point options - type source super-options
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let (before, after): (Vec<&str>, Vec<&str>) = (before.split(' ').collect(), after.split(' ').collect());
            let (Some(root), Some(point), Some(kind)) = (before.get(3), before.get(4), after.first()) else { continue };
            let mount = Mount { root: PathBuf::from(root), point: PathBuf::from(point) };
            match *kind {
                "cgroup2" => found.v2 = Some(mount),
                "cgroup" => {
                    let options: Vec<&str> = after.get(2).map(|words| words.split(',').collect()).unwrap_or_default();
                    for controller in Controller::ALL.into_iter().filter(|one| options.contains(&one.word())) {
                        found.v1.insert(controller, mount.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The group of a process in a hierarchy of version 1.
    pub(super) fn v1(&self, kernel: &Kernel, pid: u32, controller: Controller) -> Option<Place> {
        let is_it = |words: &str| words.split(',').any(|word| word == controller.word());
        place(self.v1.get(&controller)?, &group_of(kernel, pid, is_it)?)
    }

    /// The group of a process in version 2.
    pub(super) fn v2(&self, kernel: &Kernel, pid: u32) -> Option<Place> {
        place(self.v2.as_ref()?, &group_of(kernel, pid, str::is_empty)?)
    }
}

/// The group that `/proc/<pid>/cgroup` names for the hierarchy with these controllers.
fn group_of(kernel: &Kernel, pid: u32, is_it: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let text = kernel.of(pid, "cgroup")?;
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let words = parts.next()?;
        is_it(words).then(|| parts.next().map(PathBuf::from))?
    })
}

/// Where a group lies below a mount; a group outside of what is mounted here has no place.
fn place(mount: &Mount, group: &Path) -> Option<Place> {
    let below = group.strip_prefix(&mount.root).ok()?;
    let is_plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    is_plain.then(|| Place { folder: mount.point.join(below), top: mount.point.clone() })
}

impl Place {
    /// The groups from this one up to the mount point, which is the host itself and no group.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Path> {
        self.folder.ancestors().take_while(|folder| *folder != self.top && folder.starts_with(&self.top))
    }

    /// The same place in another hierarchy, if there is such a group.
    pub(super) fn in_place_of(&self, folder: &Path, other: &Self) -> Option<PathBuf> {
        let below = folder.strip_prefix(&other.top).ok()?;
        Some(self.top.join(below)).filter(|found| found.is_dir())
    }
}
