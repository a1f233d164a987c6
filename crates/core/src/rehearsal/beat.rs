//! When a host checks in: the n-th time is a pure function of the seed, so that quiet hosts can be skipped.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use crate::policy::ContactPolicy;
use crate::time::Timestamp;

/// Words of randomness that one check-in may use.
const WORDS_PER_BEAT: u128 = 2;

/// The check-in times of one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    start: Timestamp,
    every: Duration,
    /// The seed and the host's number; `None`: to the second.
    chance: Option<(u64, u64)>,
    /// By how much a check-in may come earlier or later, so that two are never further apart than policy says.
    play: Duration,
}

impl Beat {
    pub(super) fn new(start: Timestamp, contact: &ContactPolicy, chance: Option<(u64, u64)>) -> Self {
        // Half of the jitter to either side: the distance of two neighbours moves by the whole of it at most.
        let play = contact.check_in.saturating_mul(contact.check_in_jitter_percent) / 200;
        let play = Duration::from_secs(play.as_secs());
        Self { start, every: contact.check_in, chance, play }
    }

    /// The longest time between two check-ins.
    pub(super) fn longest_gap(&self) -> Duration {
        self.every + self.play * 2
    }

    /// The n-th check-in. The first one is at the start.
    fn nth(&self, n: u64) -> Timestamp {
        let even = self.start + multiplied(self.every, n);
        match self.chance {
            Some((seed, host)) if n > 0 => even - self.play + self.shift(seed, host, n),
            Some(_) | None => even,
        }
    }

    /// Between nothing and twice the play, in whole seconds.
    fn shift(&self, seed: u64, host: u64, n: u64) -> Duration {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(host);
        chance.set_word_pos(u128::from(n) * WORDS_PER_BEAT);
        let choices = self.play.as_secs() * 2 + 1;
        Duration::from_secs(chance.next_u64() % choices)
    }

    /// The number of a check-in that is surely not later than `at`.
    fn around(&self, at: Timestamp) -> u64 {
        let passed = at.since(self.start).as_millis() / self.every.as_millis().max(1);
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_sub(1)
    }

    /// The first check-in at `at` or later.
    pub(super) fn next(&self, at: Timestamp) -> Timestamp {
        let mut n = self.around(at);
        while self.nth(n) < at {
            n += 1;
        }
        self.nth(n)
    }

    /// The last check-in at `at` or earlier; the start if there is none.
    pub(super) fn last(&self, at: Timestamp) -> Timestamp {
        let mut n = self.around(at);
        while self.nth(n + 1) <= at {
            n += 1;
        }
        self.nth(n)
    }
}

fn multiplied(span: Duration, by: u64) -> Duration {
    let millis = span.as_millis().saturating_mul(u128::from(by));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
