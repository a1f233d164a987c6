//! The evidence store as the sensor's parts share it: one at a time, and a disk that refuses is told, not survived silently.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use watchpost_clock::Clock;
use watchpost_core::evidence::{Alert, Sighting};
use watchpost_core::policy::RetentionPolicy;

use super::board::Desk;
use super::trace::Trace;
use super::worker::Keep;
use crate::engine::suricata;
use crate::evidence::{Evidence, EvidenceError, Folders, Recorded};
use crate::updater::in_one_line;

/// The store, and the desk that hears how it goes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Vault {
    folders: Folders,
    policy: RetentionPolicy,
    /// None until the disk lets it be opened.
    evidence: Arc<Mutex<Option<Evidence>>>,
    desk: watch::Sender<Desk>,
    /// Where addresses go whose names are wanted.
    names: mpsc::Sender<IpAddr>,
    clock: Clock,
}

impl Vault {
    /// The store in these folders. One that cannot be opened is tried again whenever it is needed.
    pub(super) fn new(
        folders: Folders,
        policy: RetentionPolicy,
        desk: watch::Sender<Desk>,
        names: mpsc::Sender<IpAddr>,
        clock: Clock,
    ) -> Self {
        let vault = Self { folders, policy, evidence: Arc::default(), desk, names, clock };
        // What an earlier run left waits to be sent.
        let _ = vault.with(|_| Ok(()));
        vault
    }

    /// Works on the store, and tells the desk how it is afterwards.
    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&mut Evidence) -> Result<T, EvidenceError>,
    ) -> Result<T, EvidenceError> {
        let mut held = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.opened(&mut held).and_then(act);
        let after = held.as_mut().map(|evidence| (evidence.waiting().ok(), evidence.bytes()));
        drop(held);
        let now = self.clock.now();
        if let Err(error) = &done {
            tracing::error!("evidence could not be kept: {}", in_one_line(error));
        }
        self.desk.send_if_modified(|desk| {
            let fails_since = done.is_err().then(|| desk.evidence_fails_since.unwrap_or(now));
            let (waiting, bytes) = after.unwrap_or((None, desk.evidence_bytes));
            let waiting = waiting.unwrap_or(desk.evidence_waiting);
            let is_news = fails_since != desk.evidence_fails_since || waiting != desk.evidence_waiting;
            (desk.evidence_fails_since, desk.evidence_waiting, desk.evidence_bytes) = (fails_since, waiting, bytes);
            is_news
        });
        done
    }

    fn opened<'a>(&self, held: &'a mut Option<Evidence>) -> Result<&'a mut Evidence, EvidenceError> {
        if let Some(evidence) = held {
            return Ok(evidence);
        }
        let evidence = Evidence::open(self.folders.clone(), self.policy.clone())?;
        if let Some(why) = evidence.set_aside() {
            tracing::error!(why, "the evidence store was damaged, was set aside and is begun anew");
        }
        Ok(held.insert(evidence))
    }

    /// Asks for the names of devices that gave none. One too many is asked for with its next sighting.
    fn ask_names(&self, seen: &[Sighting]) {
        let nameless = seen.iter().filter(|sighting| sighting.name.is_none());
        for address in nameless.filter_map(|sighting| sighting.address.as_ref()?.parse().ok()) {
            if self.names.try_send(address).is_err() {
                return;
            }
        }
    }

    /// Keeps what the packet engine saw; the alerts that were not there before.
    pub(super) fn record(&self, seen: &Recorded) -> Result<Vec<Alert>, EvidenceError> {
        let fresh = self.with(|evidence| evidence.record(seen))?;
        self.ask_names(&seen.sightings);
        Ok(seen.alerts.iter().filter(|alert| fresh.contains(&alert.id)).cloned().collect())
    }
}

impl Keep for Vault {
    fn keep(&mut self, trace: &Trace) -> io::Result<()> {
        let alerts = trace.alerts.iter().map(|traced| traced.alert.clone()).collect();
        let seen = Recorded { alerts, sightings: trace.sightings.clone(), timeline: Vec::new() };
        let fresh = self.with(|evidence| evidence.record(&seen)).map_err(io::Error::other)?;
        self.ask_names(&seen.sightings);
        // Of a replay only what is new has a line of its own.
        let lines = trace.alerts.iter().filter(|traced| fresh.contains(&traced.alert.id));
        let timeline: Vec<_> = lines.map(|traced| traced.entry.clone()).collect();
        if timeline.is_empty() {
            return Ok(());
        }
        self.with(|evidence| evidence.record(&Recorded { timeline, ..Recorded::default() }))
            .map_err(io::Error::other)?;
        Ok(())
    }
}

/// Sorts what came out of the packet engine.
pub(super) fn sorted(seen: impl IntoIterator<Item = suricata::Evidence>) -> Recorded {
    let mut recorded = Recorded::default();
    for one in seen {
        match one {
            suricata::Evidence::Alert(alert) => recorded.alerts.push(*alert),
            suricata::Evidence::Sighting(sighting) => recorded.sightings.push(sighting),
            suricata::Evidence::Timeline(entry) => recorded.timeline.push(entry),
        }
    }
    recorded
}
