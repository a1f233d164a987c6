//! Time as a value: milliseconds since the Unix epoch, and the two text forms people write.
//!
//! Nothing here reads a clock. `now` is always a parameter (decision 1).

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant, in milliseconds since 1970-01-01T00:00:00Z. Text form: RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is neither an RFC 3339 instant nor an ISO 8601 duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{text}” is not {wanted}")]
pub struct TimeParseError {
    text: String,
    wanted: &'static str,
}

impl Timestamp {
    /// The instant `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was, or zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A duration in whole milliseconds, saturating at the largest instant.
fn millis_of(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(span)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(span)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "@{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimeParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(|t| Self(t.as_millisecond())).map_err(|_| TimeParseError {
            text: text.to_owned(),
            wanted: "an RFC 3339 instant such as 2026-01-05T00:00:00Z",
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Reads an ISO 8601 duration (`PT10M`, `P3D`); a day is 24 hours, a week 7 days.
///
/// # Errors
/// When the text is no such duration, is negative, or counts in months or years.
pub fn parse_duration(text: &str) -> Result<Duration, TimeParseError> {
    let refuse = || TimeParseError { text: text.to_owned(), wanted: "an ISO 8601 duration such as PT10M or P3D" };
    let is_iso = text.starts_with('P') && text.len() > 1;
    let span: jiff::Span = if is_iso { text.parse().map_err(|_| refuse())? } else { return Err(refuse()) };
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| refuse())?;
    Duration::try_from(signed).map_err(|_| refuse())
}

/// Writes a duration as ISO 8601 in the spelling of the rehearsal documents: `PT0S`, `PT1M`, `PT72H`, `PT9M59S`.
#[must_use]
pub fn format_duration(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::from("PT");
    if h > 0 {
        text.push_str(&format!("{h}H"));
    }
    if m > 0 {
        text.push_str(&format!("{m}M"));
    }
    if millis > 0 {
        text.push_str(&format!("{s}.{millis:03}S"));
    } else if s > 0 || text.len() == 2 {
        text.push_str(&format!("{s}S"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_and_print_as_rfc_3339() {
        let t: Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
        assert_eq!(t.millis(), 1_767_571_200_000);
        assert_eq!(t.to_string(), "2026-01-05T00:00:00Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn durations_are_iso_8601() {
        assert_eq!(parse_duration("PT9M59S").unwrap(), Duration::from_secs(599));
        assert_eq!(parse_duration("P3D").unwrap(), Duration::from_secs(259_200));
        for bad in ["10m", "P", "", "-PT1S", "P1M", "PT"] {
            assert!(parse_duration(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn durations_print_in_hours_minutes_seconds() {
        for (seconds, text) in [(0, "PT0S"), (30, "PT30S"), (60, "PT1M"), (601, "PT10M1S"), (259_200, "PT72H")] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
    }
}
