//! The machine's hands on the disk: the record, the version folders and the link. No process, no network.

use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Command, Event, Machine, Policy, Record, Running, recover};

use super::error::in_one_line;
use super::layout::Layout;
use super::record_store::{RecordError, RecordStore};
use super::versions::{VersionError, Versions};
use crate::host::disk::Disk;

/// What of a host lies on the disk and is the updater's to change.
#[derive(Clone)]
pub struct Installation {
    store: RecordStore,
    /// The version folders.
    pub versions: Versions,
}

impl Installation {
    /// The installation with this layout.
    #[must_use]
    pub fn new(layout: &Layout, disk: Disk) -> Self {
        Self { store: RecordStore::new(layout, disk.clone()), versions: Versions::new(layout.clone(), disk) }
    }

    /// The record, if one can be read.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        self.store.read()
    }

    /// The machine for what lies on the disk, and what it wants done first.
    ///
    /// # Errors
    /// When the host's folders cannot be made or listed.
    pub fn recover(&self, running: Running, now: Timestamp) -> Result<(Machine, Vec<Command>), VersionError> {
        self.versions.tidy()?;
        let record = self.store.read();
        let disk = self.versions.view(running)?;
        let was_lost = record.is_none();
        let (machine, commands) = recover(record, &disk, Policy::default(), now);
        if was_lost && machine.record().derived_from_disk {
            tracing::error!("no record could be read; what lies on the disk is taken for what is committed");
        }
        Ok((machine, commands))
    }

    /// Carries out a command that concerns the disk; `None`: it concerns somebody else. What follows from it is told.
    ///
    /// # Errors
    /// When the record cannot be made durable: then nothing after it may be done.
    pub fn carry_out(&self, command: &Command, running: Running) -> Result<Option<Vec<Event>>, RecordError> {
        match command {
            Command::Persist(record) => self.store.write(record).map(|()| Some(Vec::new())),
            Command::SwitchTo(release) => {
                let release = *release;
                Ok(Some(vec![match self.versions.switch_to(release) {
                    Ok(()) => Event::Switched(release),
                    Err(error) => {
                        let retryable = matches!(error, VersionError::Io { .. });
                        Event::SwitchFailed { release, reason: in_one_line(&error), retryable }
                    }
                }]))
            }
            Command::CollectGarbage { keep } => {
                match self.versions.collect(keep, running) {
                    Ok(removed) => {
                        removed.iter().for_each(|release| tracing::info!(%release, "an old version is removed"))
                    }
                    // It is tried again after the next update; nothing depends on it.
                    Err(error) => tracing::warn!("old versions are left: {}", in_one_line(&error)),
                }
                Ok(Some(Vec::new()))
            }
            Command::Prepare { .. }
            | Command::AbandonPrepare
            | Command::Restart(_)
            | Command::StartSensor(_)
            | Command::StopSensor
            | Command::Prove { .. } => Ok(None),
        }
    }
}
