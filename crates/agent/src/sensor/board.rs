//! What the sensor says of itself, put together from what its parts say.
//!
//! Decides nothing: each part speaks for itself, and a proof is one of the whole sensor only when every engine that
//! should run has given its own for the same generation.

use std::collections::BTreeMap;

use tokio::sync::watch;
use watchpost_clock::Clock;
use watchpost_core::content::RulesReport;
use watchpost_core::facts::{EngineKind, NameResolution};
use watchpost_core::sync::{DetectionProof, EngineProof};
use watchpost_core::time::Timestamp;

use crate::engine::suricata::SuricataStatus;
use crate::host::process::memory_bytes;
use crate::local::SensorStatus;

/// What the desk has noted beside the engines.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Generation of the settings in effect.
    pub(super) settings_generation: u64,
    /// Why the last settings are not in effect.
    pub(super) settings_refused: Option<String>,
    /// Whether the settings name capture interfaces, so that packets have to be proven too.
    pub(super) captures: bool,
    /// The newest proof of the packet engine, and its generation.
    pub(super) packets: Option<(u64, EngineProof)>,
    /// How the sensor stands with rule packages.
    pub(super) rules: RulesReport,
    /// Evidence cannot be written since.
    pub(super) evidence_fails_since: Option<Timestamp>,
    /// The log folder that was asked for cannot be written since.
    pub(super) log_path_fails_since: Option<Timestamp>,
    /// How name resolution went over the last full window.
    pub(super) name_resolution: Option<NameResolution>,
    /// What waits to be sent.
    pub(super) evidence_waiting: u64,
    /// What evidence takes of the disk.
    pub(super) evidence_bytes: u64,
    /// Pieces of work under way that a stepped clock must not pass.
    pub(super) in_hand: u32,
}

/// Puts the status together whenever a part changes, until the parts are gone.
pub(super) async fn keep(
    mut worker: watch::Receiver<SensorStatus>,
    mut suricata: watch::Receiver<SuricataStatus>,
    mut desk: watch::Receiver<Notes>,
    to: watch::Sender<SensorStatus>,
    clock: Clock,
) {
    loop {
        let (own, packets) = (desk.borrow_and_update().clone(), suricata.borrow_and_update().clone());
        let status = whole(worker.borrow_and_update().clone(), &packets, &own);
        if own.in_hand > 0 || packets.is_starting {
            clock.busy();
        } else {
            // The sensor has no timer of the clock's: it wakes by the log, by its engines and by its socket.
            clock.idle_until(None);
        }
        to.send_replace(status);
        let changed = tokio::select! {
            changed = worker.changed() => changed,
            changed = suricata.changed() => changed,
            changed = desk.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// The status of the whole sensor.
fn whole(mut status: SensorStatus, packets: &SuricataStatus, desk: &Notes) -> SensorStatus {
    if let Some(engine) = &packets.engine {
        status.rules_loaded = status.rules_loaded.saturating_add(engine.rules_loaded);
        status.rules_failed = status.rules_failed.saturating_add(engine.rules_failed);
        status.facts.engines.insert(EngineKind::Suricata, engine.clone());
    }
    status.proof = if desk.captures { of_both(status.proof.take(), desk.packets) } else { status.proof };
    status.facts.interfaces.clone_from(&packets.interfaces);
    status.facts.host.settings_refused.clone_from(&desk.settings_refused);
    status.facts.host.evidence_fails_since = desk.evidence_fails_since;
    status.facts.host.log_path_fails_since = desk.log_path_fails_since;
    status.facts.name_resolution = desk.name_resolution;
    status.settings_generation = desk.settings_generation;
    status.rules = desk.rules.clone();
    let measured = &mut status.measurements;
    measured.interfaces.clone_from(&packets.counters);
    measured.evidence_waiting = desk.evidence_waiting;
    measured.evidence_bytes = desk.evidence_bytes;
    measured.memory_bytes = memory_bytes(std::process::id()).saturating_add(packets.memory_bytes);
    status
}

/// The proof of both engines, if both are of the same generation.
fn of_both(events: Option<DetectionProof>, packets: Option<(u64, EngineProof)>) -> Option<DetectionProof> {
    let (events, (generation, packets)) = events.zip(packets)?;
    if events.generation != generation {
        return None;
    }
    let mut engines: BTreeMap<EngineKind, EngineProof> = events.engines.clone();
    engines.insert(EngineKind::Suricata, packets);
    Some(DetectionProof {
        detected_at: events.detected_at.max(packets.detected_at),
        rules_loaded: events.rules_loaded.saturating_add(packets.rules_loaded),
        rules_failed: events.rules_failed.saturating_add(packets.rules_failed),
        engines,
        ..events
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_core::version::Version;

    const AT: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn engine(seconds: u64, rules_loaded: u32) -> EngineProof {
        EngineProof { detected_at: AT + std::time::Duration::from_secs(seconds), rules_loaded, rules_failed: 0 }
    }

    fn events(generation: u64) -> DetectionProof {
        let proof = engine(1, 6);
        DetectionProof {
            generation,
            version: Version::new(2, 255, 1, 0),
            detected_at: proof.detected_at,
            rules_loaded: proof.rules_loaded,
            rules_failed: 0,
            engines: BTreeMap::from([(EngineKind::Sigma, proof)]),
        }
    }

    fn status(proof: Option<DetectionProof>, desk: &Notes) -> SensorStatus {
        let start = SensorStatus::starting(Version::new(2, 255, 1, 0), 1);
        whole(SensorStatus { proof, ..start }, &SuricataStatus::default(), desk)
    }

    #[test]
    fn a_sensor_that_captures_is_proven_by_both_engines_for_one_generation() {
        let mut desk = Notes { captures: true, ..Notes::default() };
        assert_eq!(status(Some(events(7)), &desk).proof, None, "packets were not proven");
        desk.packets = Some((6, engine(2, 3)));
        assert_eq!(status(Some(events(7)), &desk).proof, None, "packets were proven for an earlier generation");
        desk.packets = Some((7, engine(2, 3)));
        let proof = status(Some(events(7)), &desk).proof.unwrap();
        assert_eq!((proof.generation, proof.rules_loaded, proof.engines.len()), (7, 9, 2));
        assert_eq!(proof.detected_at, engine(2, 3).detected_at, "the later of the two");
        assert_eq!(status(None, &desk).proof, None, "events were not proven");
    }

    #[test]
    fn a_sensor_that_captures_nothing_is_proven_by_its_events_alone() {
        let desk = Notes { packets: Some((3, engine(2, 3))), ..Notes::default() };
        assert_eq!(status(Some(events(7)), &desk).proof, Some(events(7)));
    }
}
