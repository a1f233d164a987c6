//! From the packet engine into the evidence store, and out of it again when its time is up.
//!
//! What the disk refuses is tried again; meanwhile the engine's queue fills, and what finds no room there is counted.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::mpsc;
use watchpost_clock::Clock;

use super::vault::{Vault, sorted};
use super::worker::Command;
use crate::engine::suricata::Evidence;

/// The most pieces that are made durable together.
const AT_ONCE: usize = 2_000;
/// How long pieces are gathered, in real time: one write to the disk serves all of them.
const GATHERED_FOR: Duration = Duration::from_millis(100);
/// The pause after the disk refused.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked for what has been kept long enough.
const RETAIN_EVERY: Duration = Duration::from_secs(60);

/// Carries what was seen until the engine is gone.
pub(super) async fn carry(mut from: mpsc::Receiver<Evidence>, vault: Vault, worker: SyncSender<Command>) {
    let mut seen = Vec::new();
    while from.recv_many(&mut seen, AT_ONCE).await > 0 {
        tokio::time::sleep(GATHERED_FOR).await;
        while seen.len() < AT_ONCE
            && let Ok(one) = from.try_recv()
        {
            seen.push(one);
        }
        let recorded = Arc::new(sorted(seen.drain(..)));
        loop {
            let (vault, recorded, worker) = (vault.clone(), Arc::clone(&recorded), worker.clone());
            let done = tokio::task::spawn_blocking(move || {
                let fresh = vault.record(&recorded)?;
                if !fresh.is_empty() {
                    // The worker is gone only when the sensor is ending.
                    let _ = worker.send(Command::Feed(fresh));
                }
                Ok::<_, crate::evidence::EvidenceError>(())
            });
            match done.await {
                Ok(Err(error)) if error.is_passing() => tokio::time::sleep(PAUSE).await,
                Ok(Ok(()) | Err(_)) | Err(_) => break,
            }
        }
    }
}

/// Drops what has been kept for long enough, for ever.
pub(super) async fn retain(vault: Vault, clock: Clock) {
    loop {
        let now = clock.now();
        let vault = vault.clone();
        let done = tokio::task::spawn_blocking(move || vault.with(|evidence| evidence.retain(now)));
        if let Ok(Ok(dropped)) = done.await
            && dropped != crate::evidence::Retained::default()
        {
            tracing::info!(?dropped, "evidence whose time is up was dropped");
        }
        clock.sleep_until(now + RETAIN_EVERY).await;
    }
}
