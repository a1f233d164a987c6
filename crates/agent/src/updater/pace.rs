//! When the next check-in is due: the server's interval, a prompt one after a change, full jitter after a failure.

use std::time::Duration;

use watchpost_core::time::Timestamp;

/// The interval until a server has named one.
const FIRST_INTERVAL: Duration = Duration::from_secs(60);
/// The shortest time between two check-ins.
const SHORTEST_GAP: Duration = Duration::from_secs(1);
/// Prompt check-ins that may follow each other; a flood of alerts must not become a flood of check-ins.
const PROMPT_BURST: u32 = 20;
/// After this long one more prompt check-in may follow.
const PROMPT_EVERY: Duration = Duration::from_secs(5);
/// The longest pause of a host that the server refuses (decision 28).
const REFUSED_CAP: Duration = Duration::from_secs(15 * 60);

/// Why a check-in was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// The server could not be reached, or answered nonsense; it may have said when to come back.
    Unanswered {
        /// What the server asked for.
        retry_after: Option<Duration>,
    },
    /// The server does not know this host (any more).
    Refused,
}

/// Plans check-ins. Draws nothing itself: chance is a parameter.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Timestamp,
    last_began: Option<Timestamp>,
    failures: u32,
    prompts: u32,
    refilled: Timestamp,
}

impl Pace {
    /// A pace whose first check-in is due at once.
    #[must_use]
    pub(super) fn new(now: Timestamp) -> Self {
        let (interval, prompts) = (FIRST_INTERVAL, PROMPT_BURST);
        Self { interval, next: now, last_began: None, failures: 0, prompts, refilled: now }
    }

    /// When the next check-in is due.
    #[must_use]
    pub(super) fn next(&self) -> Timestamp {
        self.next
    }

    /// A check-in begins.
    pub(super) fn began(&mut self, now: Timestamp) {
        self.last_began = Some(now);
    }

    /// It was answered; the server says when to come back, jitter included.
    pub(super) fn answered(&mut self, now: Timestamp, come_back_after: Duration) {
        self.failures = 0;
        self.interval = come_back_after.max(SHORTEST_GAP);
        self.next = now + self.interval;
    }

    /// It was not answered. The pause is drawn from the whole of `0..cap` (full jitter), so that hosts that lost their
    /// server together do not come back together; the cap grows to two intervals (decision 28).
    pub(super) fn failed(&mut self, now: Timestamp, setback: Setback, random: u64) {
        let cap = match setback {
            Setback::Unanswered { retry_after } => (self.interval * 2).max(retry_after.unwrap_or_default()),
            Setback::Refused => REFUSED_CAP,
        };
        let growing = (self.interval / 6).max(SHORTEST_GAP).saturating_mul(1 << self.failures.min(10));
        let cap = match setback {
            Setback::Unanswered { retry_after: Some(_) } | Setback::Refused => cap,
            Setback::Unanswered { retry_after: None } => cap.min(growing),
        };
        self.failures = self.failures.saturating_add(1);
        let millis = u64::try_from(cap.as_millis()).unwrap_or(u64::MAX).max(1);
        self.next = now + Duration::from_millis(random % millis).max(SHORTEST_GAP);
    }

    /// What kept the server from answering is gone: the next check-in is due at once.
    pub(super) fn mended(&mut self, now: Timestamp) {
        self.failures = 0;
        self.next = self.last_began.map_or(now, |last| last + SHORTEST_GAP).max(now).min(self.next);
    }

    /// The report differs from the one that was acknowledged: tell soon, but neither too often nor into an outage.
    pub(super) fn changed(&mut self, now: Timestamp) {
        let refills =
            u32::try_from(now.since(self.refilled).as_millis() / PROMPT_EVERY.as_millis()).unwrap_or(u32::MAX);
        if refills > 0 {
            self.prompts = self.prompts.saturating_add(refills).min(PROMPT_BURST);
            self.refilled = now;
        }
        let soonest = self.last_began.map_or(now, |last| last + SHORTEST_GAP).max(now);
        if self.failures == 0 && soonest < self.next && self.prompts > 0 {
            self.prompts -= 1;
            self.next = soonest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
    const SECOND: Duration = Duration::from_secs(1);
    const UNANSWERED: Setback = Setback::Unanswered { retry_after: None };

    #[test]
    fn the_server_says_when_to_come_back_and_a_change_is_told_within_a_second() {
        let mut pace = Pace::new(NOW);
        assert_eq!(pace.next(), NOW);
        pace.began(NOW);
        pace.answered(NOW, 61 * SECOND);
        assert_eq!(pace.next(), NOW + 61 * SECOND);
        pace.changed(NOW + Duration::from_millis(10));
        assert_eq!(pace.next(), NOW + SECOND);
        pace.began(NOW + SECOND);
        pace.answered(NOW + SECOND, 60 * SECOND);
        pace.changed(NOW + 30 * SECOND);
        assert_eq!(pace.next(), NOW + 30 * SECOND);
    }

    #[test]
    fn a_flood_of_changes_is_not_a_flood_of_check_ins() {
        let mut pace = Pace::new(NOW);
        let mut check_ins = 0;
        for tenth in 0..6000 {
            let now = NOW + Duration::from_millis(100 * tenth);
            if pace.next() <= now {
                check_ins += 1;
                pace.began(now);
                pace.answered(now, 60 * SECOND);
            }
            pace.changed(now);
        }
        // Ten minutes: the burst, one every five seconds, one every minute.
        assert!((100..=160).contains(&check_ins), "{check_ins}");
    }

    #[test]
    fn pauses_after_failures_are_drawn_from_a_cap_that_grows_to_two_intervals() {
        let mut pace = Pace::new(NOW);
        let mut longest = Vec::new();
        for _ in 0..6 {
            let mut copy = pace.clone();
            // 9,999 ms, 19,999 ms, …: one less than the cap leaves the largest remainder.
            let largest = (0..200_000).step_by(500).map(|random| {
                copy = pace.clone();
                copy.failed(NOW, UNANSWERED, random + 499);
                copy.next().since(NOW)
            });
            longest.push(largest.max().unwrap().as_millis().div_ceil(1000));
            pace.failed(NOW, UNANSWERED, 7);
        }
        assert_eq!(longest, [10, 20, 40, 80, 120, 120]);
        pace.changed(NOW + SECOND);
        assert!(pace.next() <= NOW + 2 * SECOND, "7 ms were drawn, a second is the least");
    }

    #[test]
    fn a_refused_host_stays_away_for_up_to_a_quarter_of_an_hour_and_retry_after_is_heeded() {
        let mut pace = Pace::new(NOW);
        pace.failed(NOW, Setback::Refused, 899_999);
        assert_eq!(pace.next(), NOW + Duration::from_millis(899_999));
        pace.failed(NOW, Setback::Unanswered { retry_after: Some(600 * SECOND) }, 599_000);
        assert_eq!(pace.next(), NOW + 599 * SECOND);
    }

    /// Chance that is the same in every run (SplitMix64).
    fn drawn(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// How many check-ins reach the server in each second after an outage, of so many hosts; and when the last host was
    /// heard of for the first time.
    fn after_outage(hosts: u32, outage: Duration, seed: u64) -> (Vec<u32>, Duration) {
        const SETTLED: Duration = Duration::from_secs(600);
        const WATCHED: Duration = Duration::from_secs(1200);
        let (down, up) = (NOW + SETTLED, NOW + SETTLED + outage);
        let mut state = seed;
        let mut last = Duration::ZERO;
        let mut seconds = vec![0; usize::try_from(WATCHED.as_secs()).unwrap()];
        for _ in 0..hosts {
            let mut pace = Pace::new(NOW + Duration::from_millis(drawn(&mut state) % 60_000));
            let mut first = None;
            while pace.next() < up + WATCHED {
                let at = pace.next();
                pace.began(at);
                if at >= down && at < up {
                    pace.failed(at, UNANSWERED, drawn(&mut state));
                    continue;
                }
                if at >= up {
                    first.get_or_insert(at.since(up));
                    seconds[usize::try_from(at.since(up).as_secs()).unwrap()] += 1;
                }
                // What the server says: a minute, jittered by a tenth (spec: check-in interval).
                pace.answered(at, Duration::from_millis(54_000 + drawn(&mut state) % 12_001));
            }
            last = last.max(first.expect("it comes back"));
        }
        (seconds, last)
    }

    #[test]
    fn twenty_thousand_hosts_come_back_from_an_outage_at_no_more_than_twice_the_steady_rate() {
        let hosts = 20_000;
        let steady = hosts / 60;
        for seed in 1..=5 {
            let (seconds, last) = after_outage(hosts, 600 * SECOND, seed);
            let peak = seconds.iter().copied().max().unwrap();
            assert!(peak <= 2 * steady, "seed {seed}: {peak} in a second, steady are {steady}");
            // And every one of them is back within two of its intervals.
            assert!(last <= 132 * SECOND, "seed {seed}: {last:?}");
        }
    }
}
