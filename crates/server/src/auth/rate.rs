//! A limit on attempts per peer, kept in memory, before any work is done for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
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
        let peer = network(peer);
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
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(&network(peer));
    }
}

/// Whom an address belongs to: everybody with IPv6 has 2^64 of them, and could otherwise try from each, or fill the
/// table until nobody is let in.
#[must_use]
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_peer_and_a_mapped_address_is_its_own() {
        let limit = RateLimit::new(1, Duration::from_secs(60));
        let now = Timestamp::from_millis(0);
        let ask = |text: &str| limit.attempt(text.parse().unwrap(), now).is_ok();
        assert!(ask("2001:db8::1") && !ask("2001:db8::ffff:2"), "another address of the same network got another try");
        assert!(ask("2001:db8:0:1::1"));
        assert!(ask("::ffff:10.0.0.1") && !ask("10.0.0.1") && ask("10.0.0.2"));
        limit.forgive("2001:db8::3".parse().unwrap());
        assert!(ask("2001:db8::1"));
    }

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
