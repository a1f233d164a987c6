//! How the stream of audit events is: flowing or silent, readable or not, whole or with losses.
//!
//! Each fact is a state with the instant since when it holds, so that a host where nothing changes reports the same.

use std::time::Duration;

use watchpost_core::facts::EventFacts;
use watchpost_core::time::Timestamp;

/// After how long without a line the stream counts as silent. Nobody is told before much longer; this only keeps the
/// fact from changing with every pause between two logons.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);
/// How long a loss stays a fact.
pub const LOSS_LASTS: Duration = Duration::from_secs(3600);

/// What is known of the stream.
#[derive(Debug)]
pub struct Stream {
    last_line_at: Timestamp,
    unreadable_since: Option<Timestamp>,
    /// Since when lines were lost, at least one in every [`LOSS_LASTS`], and when the last one was.
    losing: Option<(Timestamp, Timestamp)>,
    events_read: u64,
    not_analysed: u64,
}

impl Stream {
    /// A stream that nothing was read of, as of `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { last_line_at: now, unreadable_since: None, losing: None, events_read: 0, not_analysed: 0 }
    }

    /// So many lines came, so many of them could not be analysed, and there may have been others between two files.
    pub fn saw(&mut self, now: Timestamp, events: u64, not_analysed: u64, gap: bool) {
        self.events_read = self.events_read.saturating_add(events);
        self.not_analysed = self.not_analysed.saturating_add(not_analysed);
        if events > 0 {
            self.last_line_at = now;
        }
        self.losing = self.losing.filter(|(_, last)| now.since(*last) < LOSS_LASTS);
        if gap || not_analysed > 0 {
            self.losing = Some((self.losing.map_or(now, |(since, _)| since), now));
        }
    }

    /// Whether the log could be opened and read.
    pub fn is_readable(&mut self, now: Timestamp, is: bool) {
        self.unreadable_since = if is { None } else { self.unreadable_since.or(Some(now)) };
    }

    /// Lines of the log since the sensor started.
    #[must_use]
    pub fn events_read(&self) -> u64 {
        self.events_read
    }

    /// Of these, not analysed.
    #[must_use]
    pub fn not_analysed(&self) -> u64 {
        self.not_analysed
    }

    /// The facts as of `now`.
    #[must_use]
    pub fn facts(&self, now: Timestamp) -> EventFacts {
        EventFacts {
            silent_since: (now.since(self.last_line_at) >= SILENT_AFTER).then_some(self.last_line_at),
            unreadable_since: self.unreadable_since,
            dropping_since: self.losing.filter(|(_, last)| now.since(*last) < LOSS_LASTS).map(|(since, _)| since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn silence_counts_from_the_last_line_after_a_minute_and_ends_with_the_next() {
        let mut stream = Stream::new(START);
        stream.saw(after(10), 1, 0, false);
        assert_eq!(stream.facts(after(69)).silent_since, None);
        assert_eq!(stream.facts(after(70)).silent_since, Some(after(10)));
        assert_eq!(stream.facts(after(7_000)).silent_since, Some(after(10)), "the same fact, however long it holds");
        stream.saw(after(7_001), 1, 0, false);
        assert_eq!(stream.facts(after(7_001)), EventFacts::default());
    }

    #[test]
    fn a_log_is_unreadable_since_it_first_was() {
        let mut stream = Stream::new(START);
        stream.is_readable(after(1), false);
        stream.is_readable(after(2), false);
        assert_eq!(stream.facts(after(3)).unreadable_since, Some(after(1)));
        stream.is_readable(after(4), true);
        assert_eq!(stream.facts(after(4)).unreadable_since, None);
    }

    #[test]
    fn losses_are_a_fact_since_the_first_until_an_hour_after_the_last() {
        let mut stream = Stream::new(START);
        stream.saw(after(0), 5, 1, false);
        stream.saw(after(3_599), 0, 0, true);
        assert_eq!(stream.facts(after(7_198)).dropping_since, Some(START));
        assert_eq!(stream.facts(after(7_199)).dropping_since, None);
        stream.saw(after(8_000), 1, 1, false);
        assert_eq!(stream.facts(after(8_000)).dropping_since, Some(after(8_000)));
        assert_eq!((stream.events_read(), stream.not_analysed()), (6, 2));
    }
}
