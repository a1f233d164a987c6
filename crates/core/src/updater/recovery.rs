//! After any crash: what to do follows from the record and the disk, and from nothing else.

use std::collections::BTreeSet;

use super::machine::Machine;
use super::record::{Phase, Purpose, Record, Release};
use super::sensor::State;
use super::{Command, Policy};
use crate::time::Timestamp;

/// What lies on the disk and runs when the updater starts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DiskView {
    /// Where `current` points, if it names a version folder, there or not.
    pub link: Option<Release>,
    /// The version folders that are complete.
    pub versions: BTreeSet<Release>,
    /// What the kernel calls this boot of the host; empty where it is not known.
    pub boot: String,
    /// The sensor that outlived the last updater.
    pub running: Running,
}

/// The sensor process found at start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Running {
    /// None.
    #[default]
    Nothing,
    /// One that runs from this release's folder; it is adopted if it is the right one.
    Release(Release),
    /// One whose folder is unknown; it is stopped.
    Unknown,
}

impl DiskView {
    /// The disk of a host that runs `release` and nothing else.
    #[must_use]
    pub fn of(release: Release) -> Self {
        let versions = BTreeSet::from([release]);
        Self { link: Some(release), versions, boot: String::new(), running: Running::Release(release) }
    }
}

/// The machine for what lies on the disk, and what it wants done first. `None`: no readable record.
///
/// An unreadable record is made up from the disk, so that a host keeps running what it ran (elastic-agent #9099).
#[must_use]
pub fn recover(record: Option<Record>, disk: &DiskView, policy: Policy, now: Timestamp) -> (Machine, Vec<Command>) {
    let sensor = match disk.running {
        Running::Nothing => State::Down { until: now },
        Running::Release(release) => State::Starting { release, since: now },
        Running::Unknown => State::Unknown,
    };
    let (found, durable) = match record {
        Some(record) => (record.clone(), record),
        None => (derive(disk), Record::default()),
    };
    let mut machine = Machine::over(found, durable, disk.link, sensor, policy);
    machine.boot.clone_from(&disk.boot);
    machine.mend(disk, now);
    let commands = machine.decide(now);
    (machine, commands)
}

/// A record for a disk that has none: what `current` points at, else what runs, else the newest that is there.
fn derive(disk: &DiskView) -> Record {
    let committed = runnable(disk);
    let derived_from_disk = committed.is_some();
    Record { committed, derived_from_disk, ..Record::default() }
}

fn runnable(disk: &DiskView) -> Option<Release> {
    let running = match disk.running {
        Running::Nothing | Running::Unknown => None,
        Running::Release(release) => Some(release),
    };
    let is_there = |release: &Release| disk.versions.contains(release);
    disk.link.filter(is_there).or(running.filter(is_there)).or_else(|| disk.versions.last().copied())
}

impl Machine {
    /// Brings record and link together again.
    fn mend(&mut self, disk: &DiskView, now: Timestamp) {
        let is_there = |release: Release| disk.versions.contains(&release);
        match self.record.phase.clone() {
            Phase::Committed | Phase::Preparing { .. } => {}
            Phase::Staged { to, .. } if is_there(to) => {}
            // It is prepared again when it is wanted again.
            Phase::Staged { .. } => self.record.phase = Phase::Committed,
            Phase::Restarting { to, boot, .. } if is_there(to) => {
                if boot != disk.boot {
                    self.restarted(now);
                }
                self.relink(Some(to), disk);
                return;
            }
            Phase::Switching { to, .. } if is_there(to) => {
                self.emit(Command::SwitchTo(to));
                return;
            }
            Phase::Switching { to, purpose: Purpose::Update { .. } | Purpose::GoBack { .. }, .. } => {
                self.switch_failed(to, "its folder is gone", false, now);
            }
            Phase::Trial { to, .. } | Phase::AwaitingClearance { to, .. } if is_there(to) => {
                self.relink(Some(to), disk);
                return;
            }
            Phase::Restarting { from: Some(base), to, .. }
            | Phase::Trial { from: Some(base), to, .. }
            | Phase::AwaitingClearance { from: Some(base), to, .. }
                if is_there(base) =>
            {
                self.go_back(base, to, "its folder is gone".to_owned(), false, now);
                return;
            }
            Phase::Restarting { .. } | Phase::Trial { .. } | Phase::AwaitingClearance { .. } => {
                self.record.phase = Phase::Committed;
            }
        }
        if !self.record.committed.is_some_and(is_there) {
            let previous = self.record.previous.filter(|release| is_there(*release));
            self.record.committed =
                disk.link.filter(|release| is_there(*release)).or(previous).or_else(|| runnable(disk));
        }
        self.relink(self.record.committed, disk);
    }

    /// The link is a consequence of the record.
    fn relink(&mut self, to: Option<Release>, disk: &DiskView) {
        if let Some(release) = to
            && disk.link != to
        {
            self.emit(Command::SwitchTo(release));
        }
    }
}
