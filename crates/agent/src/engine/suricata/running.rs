//! One engine that runs: its process, what it listens on, and the canaries that were sent past it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use watchpost_core::facts::InterfaceCounters;
use watchpost_core::time::Timestamp;

use super::control::{Control, ControlError};
use super::place::Place;
use super::process::Process;

/// An engine that was started.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) interfaces: BTreeSet<String>,
    pub(super) started: Instant,
    pub(super) since: Timestamp,
    /// It has answered.
    pub(super) answers: bool,
}

impl Running {
    /// A connection to its control socket.
    pub(super) async fn control(&self, place: &Place, patience: Duration) -> Result<Control, ControlError> {
        Control::connect(&place.control(), Some(self.process.pid()), patience).await
    }

    /// What it counted on each of its interfaces; one that it does not tell of is left out.
    pub(super) async fn count(
        &self,
        place: &Place,
        patience: Duration,
    ) -> Result<BTreeMap<String, InterfaceCounters>, ControlError> {
        let mut control = self.control(place, patience).await?;
        let mut counters = BTreeMap::new();
        for name in &self.interfaces {
            match control.interface(name).await {
                Ok(counted) => {
                    counters.insert(name.clone(), counted);
                }
                Err(ControlError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(counters)
    }
}

/// Canaries sent on each interface since the last look: they are no traffic.
#[derive(Debug, Default)]
pub(super) struct Sent(Mutex<BTreeMap<String, u64>>);

impl Sent {
    pub(super) fn count(&self, interface: &str) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sent.entry(interface.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
