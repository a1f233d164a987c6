//! What a sensor is held by: a group of version 1 or 2, or else its measured family.

use std::io;

use watchpost_core::guard::{Limits, Used};

use super::kernel::{Kernel, put};
use super::levels::{MemoryLevel, ProcessorLevel};
use super::measured::Family;
use super::mounts::Mounts;
use super::status::Means;
use super::{v1, v2};

/// How much sooner than others the kernel is to end the sensor when the host's memory is used up (−1000 to 1000).
const ENDED_FIRST: &str = "500";

/// The hold on one sensor process and what it started.
#[derive(Debug)]
pub(super) struct Hold {
    by: By,
    why: Option<String>,
    set: Option<Limits>,
}

#[derive(Debug)]
enum By {
    V1(v1::Group),
    V2(v2::Group),
    Measured(Family),
}

impl Hold {
    /// Takes the best hold that this host gives.
    pub(super) fn take(kernel: &Kernel, pid: u32, group: &str) -> Self {
        // The sensor before the updater, which starts it again. Whatever it starts from here on has the same.
        let _ = put(&std::path::PathBuf::from(format!("/proc/{pid}/oom_score_adj")), ENDED_FIRST);
        let mounts = Mounts::find(kernel);
        let first = match v2::Group::take(kernel, &mounts, pid, group) {
            Ok(group) => return Self::by(By::V2(group), None),
            Err(error) => error,
        };
        match v1::Group::take(kernel, &mounts, pid, group) {
            Ok(group) => Self::by(By::V1(group), None),
            Err(error) => {
                let why = format!("{first}; {error}");
                Self::by(By::Measured(Family::take(kernel, pid)), Some(why))
            }
        }
    }

    fn by(by: By, why: Option<String>) -> Self {
        match &by {
            By::V1(group) => tracing::debug!(folder = %group.folder().display(), "the sensor has a group"),
            By::V2(group) => tracing::debug!(folder = %group.folder().display(), "the sensor has a group"),
            By::Measured(_) => {}
        }
        Self { by, why, set: None }
    }

    /// What holds.
    pub(super) fn means(&self) -> Means {
        match self.by {
            By::V1(_) => Means::CgroupV1,
            By::V2(_) => Means::CgroupV2,
            By::Measured(_) => Means::Measured,
        }
    }

    /// Why it is nothing better.
    pub(super) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Sets the limits, if they are others than before.
    pub(super) fn set(&mut self, limits: Limits, used: Used) {
        let before = self.set.unwrap_or(Limits { processor: None, memory: None });
        let processor = limits.processor.filter(|limit| before.processor != Some(*limit));
        let memory = limits.memory.filter(|limit| before.memory != Some(*limit));
        let done = match &mut self.by {
            By::V1(group) => {
                let done = processor.map_or(Ok(()), |limit| group.limit_processor(limit));
                done.and(memory.map_or(Ok(()), |limit| group.limit_memory(limit)))
            }
            By::V2(group) => {
                let done = processor.map_or(Ok(()), |limit| group.limit_processor(limit));
                done.and(memory.map_or(Ok(()), |limit| group.limit_memory(limit)))
            }
            By::Measured(family) => {
                family.set(limits, used);
                Ok(())
            }
        };
        self.remember(limits, done);
    }

    /// What could not be set is set at the next look.
    fn remember(&mut self, limits: Limits, done: io::Result<()>) {
        match done {
            Ok(()) => self.set = Some(limits),
            Err(error) => {
                self.set = None;
                tracing::debug!(?limits, "a limit of the sensor cannot be set just now: {error}");
            }
        }
    }

    pub(super) fn memory_used(&self) -> Option<u64> {
        match &self.by {
            By::V1(group) => group.memory_used(),
            By::V2(group) => group.memory_used(),
            By::Measured(family) => family.memory_used(),
        }
    }

    pub(super) fn processor_nanos(&self) -> Option<u64> {
        match &self.by {
            By::V1(group) => group.processor_nanos(),
            By::V2(group) => group.processor_nanos(),
            By::Measured(family) => family.processor_nanos(),
        }
    }

    pub(super) fn memory_levels(&self) -> Vec<MemoryLevel> {
        match &self.by {
            By::V1(group) => group.memory_levels(),
            By::V2(group) => group.memory_levels(),
            By::Measured(_) => Vec::new(),
        }
    }

    pub(super) fn processor_levels(&self) -> Vec<ProcessorLevel> {
        match &self.by {
            By::V1(group) => group.processor_levels(),
            By::V2(group) => group.processor_levels(),
            By::Measured(_) => Vec::new(),
        }
    }

    /// Waits for what a hold has to do by itself; for ever if that is nothing. Safe to cancel.
    pub(super) async fn turn(hold: &mut Option<Self>) {
        match hold {
            Some(Self { by: By::Measured(family), .. }) => family.turn().await,
            Some(Self { by: By::V1(_) | By::V2(_), .. }) | None => std::future::pending().await,
        }
    }

    /// Lets go: nothing of it is left, unless processes still run there.
    pub(super) fn let_go(self) {
        match self.by {
            By::V1(group) => group.remove(),
            By::V2(group) => group.remove(),
            By::Measured(family) => family.let_go(),
        }
    }
}
