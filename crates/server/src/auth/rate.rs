//! A limit on attempts per peer, kept in memory, before any work is done for them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use watchpost_core::time::Timestamp;

/// Most peers that are remembered; beyond it the ones with an expired window are dropped, then attempts are refused.
const MAX_PEERS: usize = 10_000;

/// So many attempts in a window, per peer.
pub struct RateLimit {
    attempts: u32,
    window: Duration,
    peers: Mutex<BTreeMap<IpAddr, (Timestamp, u32)>>,
}

impl RateLimit {
    /// `attempts` in each `window`.
    #[must_use]
    pub fn new(attempts: u32, window: Duration) -> Self {
        Self { attempts, window, peers: Mutex::default() }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// When it is one too many: how long to wait.
    pub fn attempt(&self, peer: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            peers.retain(|_, (since, _)| now.since(*since) < self.window);
            if peers.len() >= MAX_PEERS {
                return Err(self.window);
            }
        }
        let (since, made) = peers.entry(peer).or_insert((now, 0));
        if now.since(*since) >= self.window || now < *since {
            (*since, *made) = (now, 0);
        }
        *made = made.saturating_add(1);
        if *made > self.attempts { Err(self.window.saturating_sub(now.since(*since))) } else { Ok(()) }
    }

    /// Forgets a peer that has shown who it is.
    pub fn forgive(&self, peer: IpAddr) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_attempt_of_a_minute_waits_for_the_rest_of_it() {
        let limit = RateLimit::new(5, Duration::from_secs(60));
        let (peer, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        for second in 0..5 {
            assert_eq!(limit.attempt(peer, at(second)), Ok(()));
        }
        assert_eq!(limit.attempt(peer, at(20)), Err(Duration::from_secs(40)));
        assert_eq!(limit.attempt(other, at(20)), Ok(()));
        assert_eq!(limit.attempt(peer, at(60)), Ok(()));
    }
}
