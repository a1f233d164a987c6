//! The evidence store as the sensor's parts share it: one at a time, and a disk that refuses is told, not survived silently.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use watchpost_clock::Clock;
use watchpost_core::evidence::{Alert, Sighting, TimelineEntry};
use watchpost_core::policy::RetentionPolicy;

use super::board::Notes;
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
    desk: watch::Sender<Notes>,
    /// Where addresses go whose names are wanted.
    names: mpsc::Sender<IpAddr>,
    clock: Clock,
}

impl Vault {
    /// The store in these folders. One that cannot be opened is tried again whenever it is needed.
    pub(super) fn new(
        folders: Folders,
        policy: RetentionPolicy,
        desk: watch::Sender<Notes>,
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

    /// Keeps what was seen, in pieces if it is too much at once; gives the alerts that were not there before.
    pub(super) fn record(&self, seen: &Recorded) -> Result<Vec<Alert>, EvidenceError> {
        let fresh = match self.with(|evidence| evidence.record(seen)) {
            Ok(fresh) => fresh,
            Err(EvidenceError::TooMuch { .. }) if seen.alerts.len().max(seen.timeline.len()) > 1 => {
                let (first, second) = halves(seen);
                let mut fresh = self.record(&first)?;
                fresh.extend(self.record(&second)?);
                return Ok(fresh);
            }
            Err(error) => return Err(error),
        };
        self.ask_names(&seen.sightings);
        Ok(seen.alerts.iter().filter(|alert| fresh.contains(&alert.id)).cloned().collect())
    }
}

/// The older and the newer half; glimpses are small and stay together.
fn halves(seen: &Recorded) -> (Recorded, Recorded) {
    fn half<T: Clone>(all: &[T]) -> (Vec<T>, Vec<T>) {
        let (first, second) = all.split_at(all.len() / 2);
        (first.to_vec(), second.to_vec())
    }
    let (alerts, timeline, lines) = (half(&seen.alerts), half(&seen.timeline), half(&seen.alert_lines));
    let first =
        Recorded { alerts: alerts.0, timeline: timeline.0, alert_lines: lines.0, sightings: seen.sightings.clone() };
    let second = Recorded { alerts: alerts.1, timeline: timeline.1, alert_lines: lines.1, sightings: Vec::new() };
    (first, second)
}

impl Keep for Vault {
    fn keep(&mut self, trace: &Trace) -> io::Result<()> {
        let (alerts, alert_lines) =
            trace.alerts.iter().map(|traced| (traced.alert.clone(), traced.entry.clone())).unzip();
        let seen = Recorded { alerts, alert_lines, sightings: trace.sightings.clone(), timeline: Vec::new() };
        match self.record(&seen) {
            Ok(_) => Ok(()),
            // What can never be kept must not hold up what can.
            Err(error) if !error.is_passing() => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// An alert of the packet engine in one sentence.
fn line_of(alert: &Alert) -> TimelineEntry {
    let devices = alert.devices.clone();
    TimelineEntry { at: alert.at, kind: "alert".to_owned(), text: alert.rule_title.clone(), devices }
}

/// Sorts what came out of the packet engine.
pub(super) fn sorted(seen: impl IntoIterator<Item = suricata::Evidence>) -> Recorded {
    let mut recorded = Recorded::default();
    for one in seen {
        match one {
            suricata::Evidence::Alert(alert) => {
                recorded.alert_lines.push(line_of(&alert));
                recorded.alerts.push(*alert);
            }
            suricata::Evidence::Sighting(sighting) => recorded.sightings.push(sighting),
            suricata::Evidence::Timeline(entry) => recorded.timeline.push(entry),
        }
    }
    recorded
}
