//! Rule packages on a host: carries out what `core`'s machine says, in its order, and tells it what came of it.
//!
//! Runs inside the updater. Never hands a package to the sensor before both repositories have vouched for it, and never
//! does anything about a decision that is not durable.

mod fetch;
mod pointer;
mod shelf;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use watchpost_core::content::{
    Baseline, DesiredRules, EngineReading, RulesCommand, RulesEvent, RulesMachine, RulesRecord, RulesReport, RulesView,
    recover_rules,
};
use watchpost_core::policy::RulesPolicy;
use watchpost_core::time::Timestamp;

use self::shelf::Shelf;
use crate::host::disk::Disk;
use crate::local::{Ask, SensorStatus};
use crate::sensor::needs;
use crate::updater::{Layout, Preparer, RecordError, RecordStore};

pub use fetch::{Fetch, Fetcher};
pub use pointer::{CommittedRules, committed_rules};

/// Why rule packages cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum RulesHostError {
    /// Their folders cannot be used.
    #[error("the folders of rule packages cannot be used; check that the disk is sound")]
    Folders(#[from] io::Error),
    /// A decision could not be made durable, so it was not carried out.
    #[error("a decision about rule packages could not be made durable and was not carried out")]
    Record(#[from] RecordError),
}

/// How many rules the release in this folder brings by itself; none if it cannot be read, which the sensor tells anyway.
#[must_use]
pub fn baseline(release: &Path) -> Baseline {
    needs::read_release(release).map(|release| Baseline::from(&release)).unwrap_or_default()
}

/// Rule packages of one host.
pub struct Rules<F = Fetcher> {
    machine: RulesMachine,
    store: RecordStore<RulesRecord>,
    layout: Layout,
    disk: Disk,
    shelf: Shelf,
    fetch: F,
    fetching: Option<AbortHandle>,
    done: mpsc::Sender<RulesEvent>,
    server_time: Option<Timestamp>,
}

impl Rules {
    /// Recovers from the disk. What fetching comes to arrives at the other end of `done`; pass it to [`Self::fetched`].
    ///
    /// # Errors
    /// When the folders cannot be used or the record cannot be made durable.
    pub fn open(
        layout: &Layout,
        disk: Disk,
        preparer: &Preparer,
        done: mpsc::Sender<RulesEvent>,
        now: Timestamp,
    ) -> Result<Self, RulesHostError> {
        let shelf = Shelf::new(layout.clone(), disk.clone());
        let fetch = Fetcher::new(preparer, layout.clone(), shelf);
        Self::over(layout, disk, fetch, done, now)
    }
}

impl<F: Fetch> Rules<F> {
    fn over(
        layout: &Layout,
        disk: Disk,
        fetch: F,
        done: mpsc::Sender<RulesEvent>,
        now: Timestamp,
    ) -> Result<Self, RulesHostError> {
        let shelf = Shelf::new(layout.clone(), disk.clone());
        let store = RecordStore::at(layout.rules_record_slots(), disk.clone());
        pointer::sweep(layout, &disk);
        let (machine, commands) = recover_rules(store.read(), &shelf.whole()?, RulesPolicy::default(), now);
        let (layout, fetching, server_time) = (layout.clone(), None, None);
        let mut rules = Self { machine, store, layout, disk, shelf, fetch, fetching, done, server_time };
        rules.carry_out(commands)?;
        Ok(rules)
    }

    /// A check-in was answered: what this host should have, by the server's time. Gives what to ask the sensor.
    ///
    /// # Errors
    /// When a decision could not be made durable: open anew, from the disk.
    pub fn desired(
        &mut self,
        desired: Option<DesiredRules>,
        server_time: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Ask>, RulesHostError> {
        self.server_time = self.server_time.max(Some(server_time));
        self.take(RulesEvent::Desired(desired), now)
    }

    /// The sensor said how it is; `baseline` is what its release brings. A sensor that names no engine knows nothing of
    /// packages, and is asked nothing.
    ///
    /// # Errors
    /// As [`Self::desired`].
    pub fn heard(
        &mut self,
        status: &SensorStatus,
        baseline: Baseline,
        now: Timestamp,
    ) -> Result<Vec<Ask>, RulesHostError> {
        if status.facts.engines.is_empty() {
            return Ok(Vec::new());
        }
        let engines = status.facts.engines.iter().map(|(kind, facts)| (*kind, EngineReading::from(facts))).collect();
        let RulesReport { build, loading, failed: refused, .. } = status.rules.clone();
        let view = RulesView { run: status.run, build, loading, refused, engines, baseline };
        self.take(RulesEvent::Heard(view), now)
    }

    /// The sensor process is gone.
    ///
    /// # Errors
    /// As [`Self::desired`].
    pub fn sensor_gone(&mut self, now: Timestamp) -> Result<Vec<Ask>, RulesHostError> {
        self.take(RulesEvent::SensorGone, now)
    }

    /// What fetching came to.
    ///
    /// # Errors
    /// As [`Self::desired`].
    pub fn fetched(&mut self, event: RulesEvent, now: Timestamp) -> Result<Vec<Ask>, RulesHostError> {
        self.fetching = None;
        self.take(event, now)
    }

    /// Time has passed.
    ///
    /// # Errors
    /// As [`Self::desired`].
    pub fn tick(&mut self, now: Timestamp) -> Result<Vec<Ask>, RulesHostError> {
        self.take(RulesEvent::Tick, now)
    }

    /// When [`Self::tick`] is due although nothing is heard.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.machine.wakes_at()
    }

    /// What this host reports.
    #[must_use]
    pub fn report(&self) -> RulesReport {
        self.machine.report()
    }

    /// Whether a package is being fetched at this moment.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        self.fetching.is_some()
    }

    /// Whether one is handed to the engines and not yet judged.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.report().loading.is_some()
    }

    fn take(&mut self, event: RulesEvent, now: Timestamp) -> Result<Vec<Ask>, RulesHostError> {
        let commands = self.machine.handle(event, now);
        self.carry_out(commands)
    }

    fn carry_out(&mut self, commands: Vec<RulesCommand>) -> Result<Vec<Ask>, RulesHostError> {
        let mut asks = Vec::new();
        for command in commands {
            match command {
                RulesCommand::Persist(record) => {
                    if let Some(failure) = &record.failed {
                        tracing::warn!(build = %failure.build, "a rule package failed: {}", failure.reason);
                    }
                    self.store.write(&record)?;
                }
                RulesCommand::Fetch(order) => self.send_for(order),
                RulesCommand::AbandonFetch => {
                    if let Some(task) = self.fetching.take() {
                        task.abort();
                    }
                }
                RulesCommand::Point(set) => pointer::point(&self.layout, &self.disk, set.as_ref())?,
                RulesCommand::Load(Some(set)) => {
                    tracing::info!(build = %set.build, "a rule package is handed to the sensor");
                    asks.push(Ask::LoadRules { build: set.build, folder: self.shelf.path(&set) });
                }
                RulesCommand::Load(None) => asks.push(Ask::DropRules),
                RulesCommand::RaiseFloor(set) => {
                    let fetch = self.fetch.clone();
                    tokio::task::spawn_blocking(move || fetch.raise_floor(&set));
                }
                RulesCommand::CollectGarbage { keep } => {
                    // It is tried again after the next package; nothing depends on it.
                    if let Err(error) = self.shelf.collect(&keep) {
                        tracing::warn!("old rule packages are left: {error}");
                    }
                }
            }
        }
        Ok(asks)
    }

    fn send_for(&mut self, order: DesiredRules) {
        let (fetch, done) = (self.fetch.clone(), self.done.clone());
        // Without a check-in there is no order, and with one there is the server's time.
        let server_time = self.server_time.unwrap_or_default();
        tracing::info!(build = %order.build, "a rule package is fetched");
        let task = tokio::spawn(async move {
            let event = fetch.fetch(order, server_time).await;
            // Nobody waits any more: the session has ended.
            let _ = done.send(event).await;
        });
        self.fetching = Some(task.abort_handle());
    }
}
