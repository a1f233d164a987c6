//! Instants as people read them: relative in the text, absolute with its zone on hover, exact for machines.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use watchpost_core::time::Timestamp;

/// Below this an instant counts as this very moment.
const JUST_NOW: Duration = Duration::from_secs(5);

/// An instant seen from `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// The instant.
    pub at: Timestamp,
    /// From when it is looked at.
    pub now: Timestamp,
}

impl When {
    /// `at`, seen from `now`.
    #[must_use]
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// In words: `just now`, `42 s ago`, `in 3 h`.
    #[must_use]
    pub fn relative(&self) -> String {
        let (past, ahead) = (self.now.since(self.at), self.at.since(self.now));
        if past.max(ahead) < JUST_NOW {
            "just now".to_owned()
        } else if ahead.is_zero() {
            format!("{} ago", short_span(past))
        } else {
            format!("in {}", short_span(ahead))
        }
    }

    /// To the second, with its zone: `2026-01-05 00:00:12 UTC`.
    #[must_use]
    pub fn absolute(&self) -> String {
        let whole_second = Timestamp::from_millis(self.at.millis().div_euclid(1000) * 1000);
        whole_second.to_string().replace('T', " ").replace('Z', " UTC")
    }

    /// The clock time alone: `00:00:12 UTC`.
    #[must_use]
    pub fn clock_time(&self) -> String {
        let text = self.absolute();
        text.split_once(' ').map_or(text.clone(), |(_, time)| time.to_owned())
    }
}

/// A `<time>` element. Nothing in it comes from outside.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<time datetime="{}" title="{}">{}</time>"#, self.at, self.absolute(), self.relative())
    }
}

impl HtmlSafe for When {}

/// A span in its largest unit: `42 s`, `12 min`, `71 h`, `12 d`.
#[must_use]
pub fn short_span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..259_200 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A span in its two largest units: `2 d 23 h`, `1 h 5 min`, `40 s`.
#[must_use]
pub fn long_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_instant_reads_relative_and_hovers_absolute_with_its_zone() {
        let when = When::new(at("2026-01-05T00:00:12.345Z"), at("2026-01-05T00:12:40Z"));
        assert_eq!(
            when.to_string(),
            r#"<time datetime="2026-01-05T00:00:12.345Z" title="2026-01-05 00:00:12 UTC">12 min ago</time>"#
        );
        assert_eq!(when.clock_time(), "00:00:12 UTC");
    }

    #[test]
    fn words_for_past_present_and_future() {
        let now = at("2026-01-05T00:00:00Z");
        let words = |seconds: i64| When::new(Timestamp::from_millis(now.millis() + seconds * 1000), now).relative();
        assert_eq!(words(-4), "just now");
        assert_eq!(words(-42), "42 s ago");
        assert_eq!(words(-3 * 3600), "3 h ago");
        assert_eq!(words(72 * 3600), "in 3 d");
        assert_eq!(words(71 * 3600), "in 71 h");
    }

    #[test]
    fn long_spans_have_two_units() {
        assert_eq!(long_span(Duration::from_secs(71 * 3600 + 58 * 60)), "2 d 23 h");
        assert_eq!(long_span(Duration::from_secs(3900)), "1 h 5 min");
        assert_eq!(long_span(Duration::from_secs(59)), "59 s");
    }
}
