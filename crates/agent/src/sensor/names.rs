//! Active name resolution: what the devices that were seen are called, asked of the host's own resolver.
//!
//! An address is asked for once an hour at most, a few at a time, and a resolver that does not answer holds nothing up.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use watchpost_clock::Clock;
use watchpost_core::evidence::Sighting;
use watchpost_core::facts::NameResolution;
use watchpost_core::policy::HealthPolicy;
use watchpost_core::time::Timestamp;

use super::board::Notes;
use super::vault::Vault;
use crate::evidence::Recorded;

/// Addresses that may wait to be asked for; the rest come again with the next sighting.
pub(super) const WAITING: usize = 256;
/// How many are asked for at a time.
const AT_ONCE: usize = 4;
/// How often the same address is asked for.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// The most addresses that are remembered as asked for; beyond it all are forgotten.
const REMEMBERED: usize = 20_000;
/// Over how long attempts and failures are counted before they are told.
const WINDOW: Duration = Duration::from_secs(600);
/// How many of those without an answer are asked for again when a window is over.
const ASKED_AGAIN: usize = 16;
/// A window with fewer attempts than this tells nothing.
const ENOUGH: u32 = 5;

/// What was counted in the window so far.
#[derive(Debug)]
struct Window {
    began: Timestamp,
    counted: NameResolution,
}

impl Window {
    fn new(now: Timestamp) -> Self {
        Self { began: now, counted: NameResolution { attempts: 0, failures: 0 } }
    }

    fn count(&mut self, is_answered: bool) {
        self.counted.attempts = self.counted.attempts.saturating_add(1);
        self.counted.failures = self.counted.failures.saturating_add(u32::from(!is_answered));
    }

    /// What the window came to, once it is over; nothing if too few were asked for to tell.
    fn over(&mut self, now: Timestamp) -> Option<NameResolution> {
        if now.since(self.began) < WINDOW {
            return None;
        }
        let counted = self.counted;
        *self = Self::new(now);
        (counted.attempts >= ENOUGH).then_some(counted)
    }
}

/// Whether resolution as good as fails, in words that change only when that does: a fact is a state.
fn is_bad(counted: NameResolution) -> bool {
    let limit = HealthPolicy::default().name_resolution_failures_percent;
    u64::from(counted.failures) * 100 > u64::from(counted.attempts) * u64::from(limit)
}

/// Asks for the names of addresses until nobody sends any.
pub(super) async fn resolve(
    (again, mut seen): (mpsc::Sender<IpAddr>, mpsc::Receiver<IpAddr>),
    vault: Vault,
    desk: watch::Sender<Notes>,
    clock: Clock,
    lookup: fn(IpAddr) -> Option<String>,
) {
    let (seats, mut asked) = (Arc::new(Semaphore::new(AT_ONCE)), HashMap::new());
    let (tell, mut told) = mpsc::channel::<(IpAddr, Option<String>)>(AT_ONCE);
    let mut window = Window::new(clock.now());
    let mut unanswered = BTreeSet::new();
    loop {
        tokio::select! {
            () = clock.sleep_until(window.began + WINDOW) => {
                let Some(counted) = window.over(clock.now()) else { continue };
                desk.send_if_modified(|desk| {
                    let is_news = desk.name_resolution.is_none_or(|told| is_bad(told) != is_bad(counted));
                    if is_news {
                        desk.name_resolution = Some(counted);
                    }
                    is_news
                });
                // Whether it is mended is found out, not waited for.
                for address in std::mem::take(&mut unanswered) {
                    asked.remove(&address);
                    let _ = again.try_send(address);
                }
            }
            address = seen.recv() => {
                let Some(address) = address else { return };
                let now = clock.now();
                if asked.get(&address).is_some_and(|at: &Timestamp| now.since(*at) < AGAIN_AFTER) {
                    continue;
                }
                let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else { continue };
                if asked.len() >= REMEMBERED {
                    asked.clear();
                }
                asked.insert(address, now);
                let tell = tell.clone();
                tokio::task::spawn_blocking(move || {
                    let name = lookup(address);
                    drop(seat);
                    // Nobody listens any more only when the sensor is ending.
                    let _ = tell.blocking_send((address, name));
                });
            }
            Some((address, name)) = told.recv() => {
                let now = clock.now();
                window.count(name.is_some());
                if name.is_none() && unanswered.len() < ASKED_AGAIN {
                    unanswered.insert(address);
                }
                if name.is_some() {
                    let sighting = Sighting { at: now, address: Some(address.to_string()), name, ..Sighting::default() };
                    let named = Recorded { sightings: vec![sighting], ..Recorded::default() };
                    let vault = vault.clone();
                    tokio::task::spawn_blocking(move || vault.record(&named));
                }
            }
        }
    }
}

/// The name of an address by the host's own resolver; what it gives back as it was asked is none.
pub(super) fn by_resolver(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    (name != address.to_string() && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    #[test]
    fn a_window_tells_what_it_came_to_when_it_is_over_and_had_enough() {
        let at = |seconds: u64| NOW + Duration::from_secs(seconds);
        let mut window = Window::new(NOW);
        (0..10).for_each(|number| window.count(number == 0));
        assert_eq!(window.over(at(599)), None);
        assert_eq!(window.over(at(600)), Some(NameResolution { attempts: 10, failures: 9 }));
        (0..4).for_each(|_| window.count(true));
        assert_eq!(window.over(at(1200)), None, "too few to tell");
        (0..5).for_each(|_| window.count(true));
        assert_eq!(window.over(at(1800)), Some(NameResolution { attempts: 5, failures: 0 }));
    }

    #[test]
    fn more_than_nine_of_ten_without_an_answer_is_bad() {
        for (attempts, failures, bad) in [(10, 9, false), (100, 91, true), (5, 5, true), (5, 0, false)] {
            assert_eq!(is_bad(NameResolution { attempts, failures }), bad, "{failures} of {attempts}");
        }
    }

    #[test]
    fn the_host_knows_its_own_name_and_no_other_of_an_address_that_nobody_has() {
        assert!(by_resolver("127.0.0.1".parse().unwrap()).is_some());
    }
}
