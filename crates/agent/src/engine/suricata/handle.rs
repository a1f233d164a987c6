//! What the rest of the sensor holds of the packet engine: orders in, states and evidence out.
//!
//! The engine has a thread of its own, because its process dies with the thread that started it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use watchpost_clock::Clock;
use watchpost_core::sync::EngineProof;

use super::evidence::Evidence;
use super::intake;
use super::loading::{Expectation, LoadError, RulesLoaded};
use super::place::PlaceError;
use super::process::ProcessError;
use super::proving::ProveError;
use super::room::Room;
use super::rules::{RuleSources, SourceError};
use super::supervisor::Supervisor;
use super::{SuricataOptions, SuricataStatus};

/// Orders that may wait.
const ORDERS: usize = 16;
/// How long a stop may take: asked, signalled, killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Why settings are not in effect; those before are.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The engine cannot work here.
    #[error("Suricata cannot be set up here")]
    Place(#[from] PlaceError),
    /// It is not installed, or cannot be run.
    #[error("Suricata cannot be run here")]
    Process(#[from] ProcessError),
    /// Its rules cannot be gathered.
    #[error("the rules for Suricata cannot be put together")]
    Source(#[from] SourceError),
    /// It does not take this configuration.
    #[error("Suricata does not take these settings: {0}")]
    Refused(String),
    /// The engine's thread is gone.
    #[error("the packet engine has been stopped")]
    Stopped,
}

/// What the engine's thread is told.
pub(super) enum Order {
    Configure {
        interfaces: BTreeSet<String>,
        home: BTreeSet<String>,
        done: oneshot::Sender<Result<(), ConfigureError>>,
    },
    Load {
        sources: RuleSources,
        expectation: Expectation,
        done: oneshot::Sender<Result<RulesLoaded, LoadError>>,
    },
    Prove {
        done: oneshot::Sender<Result<EngineProof, ProveError>>,
    },
}

/// The packet engine.
pub struct Suricata;

impl Suricata {
    /// Starts the engine's thread. It listens on nothing yet and needs no Suricata until it does.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(options: SuricataOptions, clock: Clock) -> std::io::Result<SuricataHandle> {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (publish, status) = watch::channel(SuricataStatus::default());
        let (stop, stopped) = watch::channel(false);
        let (room, evidence) = Room::new(options.evidence_waiting, options.alerts_waiting);
        let (ended, has_ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let events = intake::own_thread()?;
        std::thread::Builder::new().name("suricata".to_owned()).spawn(move || {
            let supervisor = Supervisor::new(options, clock, publish, room, events.handle().clone());
            runtime.block_on(supervisor.live(inbox, stopped));
            // Nothing comes any more: the engine is gone.
            events.shutdown_background();
            // Nobody waits when the handle was dropped.
            let _ = ended.send(());
        })?;
        Ok(SuricataHandle { orders, status, stop, has_ended, evidence: Some(evidence) })
    }
}

/// The engine's handle. The engine stops when it is dropped.
pub struct SuricataHandle {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<SuricataStatus>,
    stop: watch::Sender<bool>,
    has_ended: oneshot::Receiver<()>,
    evidence: Option<mpsc::Receiver<Evidence>>,
}

impl SuricataHandle {
    /// Has it listen on these interfaces, with this home. Returns once the engine has been started with them, or has
    /// failed to start, which its facts tell; without interfaces it is stopped.
    ///
    /// # Errors
    /// When they cannot be taken. Those before stay in effect.
    pub async fn configure(
        &self,
        interfaces: BTreeSet<String>,
        home_networks: BTreeSet<String>,
    ) -> Result<(), ConfigureError> {
        let (done, is_done) = oneshot::channel();
        let order = Order::Configure { interfaces, home: home_networks, done };
        self.orders.send(order).await.map_err(|_| ConfigureError::Stopped)?;
        is_done.await.map_err(|_| ConfigureError::Stopped)?
    }

    /// Puts these rules in force and says what the engine says of them; the rules before are put back if that is worse
    /// than expected.
    ///
    /// # Errors
    /// When they are not in force.
    pub async fn load_rules(&self, sources: RuleSources, expectation: Expectation) -> Result<RulesLoaded, LoadError> {
        let (done, is_done) = oneshot::channel();
        let order = Order::Load { sources, expectation, done };
        self.orders.send(order).await.map_err(|_| LoadError::NotRunning)?;
        is_done.await.map_err(|_| LoadError::NotRunning)?
    }

    /// Proves that packets on every capture interface become alerts.
    ///
    /// # Errors
    /// When one canary does not come back in time, or the engine does not run.
    pub async fn prove(&self) -> Result<EngineProof, ProveError> {
        let (done, is_done) = oneshot::channel();
        self.orders.send(Order::Prove { done }).await.map_err(|_| ProveError::NotRunning)?;
        is_done.await.map_err(|_| ProveError::NotRunning)?
    }

    /// How it is, now and at every change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<SuricataStatus> {
        self.status.clone()
    }

    /// The evidence; once. What is not taken in time is lost and counted, alerts last.
    pub fn take_evidence(&mut self) -> Option<mpsc::Receiver<Evidence>> {
        self.evidence.take()
    }

    /// Has the engine end. Its evidence ends with it.
    pub fn ask_to_stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Stops the engine and waits until it is gone.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        // A thread that hangs is left behind; the engine dies with it, at the latest with this process.
        let _ = tokio::time::timeout(STOP_PATIENCE, self.has_ended).await;
    }
}
