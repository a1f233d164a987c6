//! The way out for evidence: one queue, in which alerts have room that nothing else may take.
//!
//! Nobody waits for it. What finds no room is lost and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::evidence::Evidence;

/// Where evidence is put.
#[derive(Clone, Debug)]
pub struct Room {
    to: mpsc::Sender<Evidence>,
    /// Places that are kept free for alerts.
    kept_free: usize,
    lost: Arc<AtomicU64>,
}

impl Room {
    /// A queue with `others` places for whatever comes, and `alerts` more that only alerts may take: a sighting or a line
    /// of the timeline comes again, an alert does not.
    #[must_use]
    pub fn new(others: usize, alerts: usize) -> (Self, mpsc::Receiver<Evidence>) {
        let (to, from) = mpsc::channel(others.max(1).saturating_add(alerts));
        (Self { to, kept_free: alerts, lost: Arc::default() }, from)
    }

    /// Puts one piece in, or counts it as lost.
    pub fn put(&self, piece: Evidence) {
        let has_room = match piece {
            Evidence::Alert(_) => true,
            Evidence::Sighting(_) | Evidence::Timeline(_) => self.to.capacity() > self.kept_free,
        };
        if !has_room || self.to.try_send(piece).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many pieces found no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
