//! Counting failures per address, so that nobody guesses access keys at leisure. Pure; time is a parameter.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Addresses that are remembered at once. When they are that many, the table is emptied: forgetting is safer than
/// growing, and a guess at 256 bits stays hopeless.
const ADDRESSES: usize = 10_000;

/// Failures of each address within a window.
pub(super) struct Attempts<A> {
    limit: u32,
    window: Duration,
    seen: HashMap<A, Failures>,
}

struct Failures {
    since: Instant,
    count: u32,
}

impl<A: Eq + Hash> Attempts<A> {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, seen: HashMap::new() }
    }

    /// How long this address has to wait before it may try again; `None` if it may at once.
    pub(super) fn must_wait(&self, address: &A, now: Instant) -> Option<Duration> {
        let failures = self.seen.get(address).filter(|failures| failures.count >= self.limit)?;
        self.window.checked_sub(now.saturating_duration_since(failures.since)).filter(|left| !left.is_zero())
    }

    /// Remembers a failure of this address.
    pub(super) fn failed(&mut self, address: A, now: Instant) {
        if self.seen.len() >= ADDRESSES && !self.seen.contains_key(&address) {
            self.seen.clear();
        }
        let failures = self.seen.entry(address).or_insert(Failures { since: now, count: 0 });
        if now.saturating_duration_since(failures.since) >= self.window {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_after_its_last_attempt_and_no_other_does() {
        let start = watchpost_clock::Clock::system().instant();
        let mut attempts = Attempts::new(2, Duration::from_secs(60));
        attempts.failed("a", start);
        assert_eq!(attempts.must_wait(&"a", start), None);
        attempts.failed("a", start + Duration::from_secs(10));
        assert_eq!(attempts.must_wait(&"a", start + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(attempts.must_wait(&"b", start + Duration::from_secs(20)), None);
        assert_eq!(attempts.must_wait(&"a", start + Duration::from_secs(60)), None);
        attempts.failed("a", start + Duration::from_secs(61));
        assert_eq!(attempts.must_wait(&"a", start + Duration::from_secs(61)), None, "an old failure counted");
    }

    #[test]
    fn the_table_does_not_grow_without_end() {
        let start = watchpost_clock::Clock::system().instant();
        let mut attempts = Attempts::new(1, Duration::from_secs(60));
        for address in 0..3 * ADDRESSES {
            attempts.failed(address, start);
            assert!(attempts.seen.len() <= ADDRESSES);
        }
    }
}
