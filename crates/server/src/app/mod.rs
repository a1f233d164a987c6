//! The use cases: load, ask `core`, save, audit, announce — in one transaction, the store before the memory.
//!
//! Doors (API, portal, gateway, workers) call these and never write SQL or decide anything themselves.

pub mod access_key;
pub mod accounts;
pub(crate) mod activity;
pub mod alerts;
pub mod audit;
pub mod clones;
#[cfg(test)]
mod clones_tests;
pub mod devices;
pub mod directory;
pub mod endpoints;
pub mod enrollment;
mod error;
pub mod evidence;
pub(crate) mod fleet;
pub mod global;
pub mod health;
#[cfg(test)]
mod hung_up;
pub mod identity;
#[cfg(test)]
mod identity_tests;
pub mod own_health;
pub mod packages;
pub(crate) mod planning;
pub mod plans;
#[cfg(test)]
mod plans_tests;
pub mod releases;
pub mod rollout_settings;
pub mod rollouts;
pub mod rotations;
#[cfg(test)]
mod rotations_tests;
pub mod rules;
#[cfg(test)]
mod rules_tests;
pub mod sensors;
pub mod server_keys;
#[cfg(test)]
mod server_keys_tests;
pub mod settings;
pub(crate) mod shelves;
#[cfg(test)]
mod tests;
pub mod update_orders;
pub mod views;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, broadcast};
use watchpost_clock::Clock;
use watchpost_core::connection::Places;
use watchpost_core::id::WorkspaceId;
use watchpost_core::policy::Policy;
use watchpost_core::time::Timestamp;
use watchpost_package::{Director, Mirror};
use watchpost_store::{Store, Transaction};

pub use error::AppError;

use self::accounts::Accounts;
use self::activity::{Activity, Busy};
use self::directory::Directories;
use self::fleet::Fleet;
use self::own_health::OwnHealth;
use self::rotations::Rotations;
use self::server_keys::ServerKeyRoom;
use self::shelves::Shelves;
use crate::config::{DirectorySettings, TlsFiles};
use crate::events::{Bus, Event};
use crate::folder::Folder;
use crate::metrics::Metrics;

/// Everything a door needs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// Limits that the configuration sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Largest package that is taken.
    pub(crate) package_bytes: u64,
}

/// What an [`App`] is made of.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) workspace: WorkspaceId,
    pub(crate) clock: Clock,
    pub(crate) folder: Folder,
    pub(crate) limits: Limits,
    pub(crate) mirror: Option<Mirror>,
    pub(crate) director: Director,
    pub(crate) directories: Vec<DirectorySettings>,
    /// The portal's certificate, to be watched.
    pub(crate) portal: Option<TlsFiles>,
    /// What has to be reached.
    pub(crate) places: Places,
}

struct Inner {
    store: Store,
    workspace: WorkspaceId,
    clock: Clock,
    folder: Folder,
    limits: Limits,
    policy: Policy,
    /// When this server was ready (again): all silence counts from then at the earliest.
    ready_at: Timestamp,
    fleet: RwLock<Fleet>,
    accounts: RwLock<Accounts>,
    /// Held from before a change is computed until it is in memory, so that changes keep one order.
    gate: tokio::sync::Mutex<()>,
    places: Places,
    shelves: Shelves,
    server_keys: ServerKeyRoom,
    rotations: Rotations,
    directories: Directories,
    own_health: OwnHealth,
    metrics: Metrics,
    bus: Bus,
    activity: Arc<Activity>,
    view: Mutex<Option<views::Cached>>,
    intake: evidence::Intake,
    poke: Notify,
    /// Keeps the clock from stepping between a poke and the planner's run.
    poked: Mutex<Option<Busy>>,
}

/// Does `work` to its end, even when nobody waits for it any more: a door drops the request of a client that hangs up,
/// and what the store has taken must then still reach the memory, or the two differ until the server starts again.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::spawn(work).await
}

impl App {
    /// Loads everything a server remembers.
    pub(crate) async fn load(parts: Parts) -> Result<Self, AppError> {
        let Parts { store, workspace, clock, folder, limits, mirror, director, directories, portal, places } = parts;
        let mut tx = store.read(workspace).await?;
        let policy = Policy::default();
        let fleet = Fleet::load(&mut tx, &policy.certificate).await?;
        let accounts = Accounts::load(&mut tx).await?;
        let server_keys = ServerKeyRoom::load(&mut tx, &folder).await?;
        access_key::finish(&mut tx, &folder).await?;
        let rotations = Rotations::load(&mut tx).await?;
        drop(tx);
        let app = Self(Arc::new(Inner {
            store,
            workspace,
            ready_at: clock.now(),
            folder,
            limits,
            policy,
            fleet: RwLock::new(fleet),
            accounts: RwLock::new(accounts),
            gate: tokio::sync::Mutex::new(()),
            places,
            shelves: Shelves::new(mirror, director),
            server_keys,
            rotations,
            directories: Directories::new(directories),
            own_health: OwnHealth::new(portal),
            metrics: Metrics::default(),
            bus: Bus::new(),
            activity: Activity::new(clock.clone()),
            view: Mutex::new(None),
            intake: evidence::Intake::new(),
            poke: Notify::new(),
            poked: Mutex::new(None),
            clock,
        }));
        app.publish_server_keys().await?;
        app.poke();
        Ok(app)
    }

    /// The clock by which everything is judged.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// When this server was ready (again).
    #[must_use]
    pub fn ready_at(&self) -> Timestamp {
        self.0.ready_at
    }

    /// The counters of this server.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// How directories are asked.
    pub(crate) fn directory_policy(&self) -> &watchpost_core::policy::DirectoryPolicy {
        &self.0.policy.directory
    }

    /// Listens for what changes from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.bus.listen()
    }

    /// How many statements the store has run; for the proof that an unchanged check-in runs none.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.0.store.statements()
    }

    async fn begin(&self) -> Result<Transaction, AppError> {
        Ok(self.0.store.begin(self.0.workspace).await?)
    }

    fn fleet_ref<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.0.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn fleet_mut<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.0.fleet.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes the planner; the server counts as busy until it has run.
    pub(crate) fn poke(&self) {
        let busy = self.0.activity.begin();
        self.0.poked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(busy);
        self.0.poke.notify_one();
    }

    /// Waits for a poke. What it gives keeps the server busy until dropped.
    pub(crate) async fn poked(&self) -> Option<Busy> {
        self.0.poke.notified().await;
        self.0.poked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes a piece of work in hand.
    pub(crate) fn busy(&self) -> Busy {
        self.0.activity.begin()
    }

    /// What the planner waits for next.
    pub(crate) fn wake_at(&self, at: Option<Timestamp>) {
        self.0.activity.wake_at(at);
    }

    /// Signs the director's metadata anew if it is due; tells whether it was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn resign_director(&self) -> Result<bool, AppError> {
        self.publish_server_keys().await?;
        self.0.shelves.resign(self.0.clock.now()).await
    }

    /// When the first document of the director expires.
    pub async fn director_expires_at(&self) -> Timestamp {
        self.0.shelves.earliest_expiry().await
    }
}
