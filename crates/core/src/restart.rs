//! Restarts that a major package needs (E4): which one it declares, and the switch that allows them, off by default.
//!
//! What is needed comes from the signed package alone; whether it may be done now is the control plane's decision.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::time::Timestamp;

const MINUTE: i64 = 60_000;
const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// The restart that a release needs before it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum RestartNeed {
    /// Of the sensor alone, which every update restarts.
    #[default]
    None,
    /// Of the service that the sensor watches, such as a domain controller's.
    WatchedService,
    /// Of the whole host.
    Host,
}

impl RestartNeed {
    /// Whether anything but the sensor is restarted.
    #[must_use]
    pub fn is_needed(self) -> bool {
        self != Self::None
    }

    /// The word in manifests and the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::WatchedService => "watchedService",
            Self::Host => "host",
        }
    }

    /// What it is, for a sentence.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::None => "the sensor",
            Self::WatchedService => "the watched service",
            Self::Host => "the host",
        }
    }
}

/// Whether such restarts may be done. Text form: `off`, `on`, or a time of day as `22:00-04:00`, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RestartSwitch {
    /// Never by themselves: the release is staged, and waits for somebody.
    #[default]
    Off,
    /// When it is the sensor's turn.
    On,
    /// When it is the sensor's turn, and the restart can begin within these hours.
    Window {
        /// Its first minute of the day.
        from: u16,
        /// The minute of the day that is not in it any more; it may lie on the next day.
        until: u16,
    },
}

/// A text that is no switch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no restart switch: write off, on, or hours in UTC such as 22:00-04:00")]
pub struct RestartSwitchError(String);

impl RestartSwitch {
    /// Whether a restart may begin at `now`.
    #[must_use]
    pub fn allows(self, now: Timestamp) -> bool {
        match self {
            Self::Off => false,
            Self::On => true,
            Self::Window { from, until } => {
                let at = minute_of_day(now);
                if from < until { (from..until).contains(&at) } else { at >= from || at < until }
            }
        }
    }

    /// When its hours begin next; `None` where there are none to wait for, or they have begun.
    #[must_use]
    pub fn opens_at(self, now: Timestamp) -> Option<Timestamp> {
        let Self::Window { from, .. } = self else { return None };
        if self.allows(now) {
            return None;
        }
        let minute = now.millis() - now.millis().rem_euclid(MINUTE);
        let ahead = (i64::from(from) - i64::from(minute_of_day(now))).rem_euclid(i64::from(MINUTES_OF_A_DAY));
        Some(Timestamp::from_millis(minute.saturating_add(ahead * MINUTE)))
    }
}

fn minute_of_day(at: Timestamp) -> u16 {
    let minute = at.millis().div_euclid(MINUTE).rem_euclid(i64::from(MINUTES_OF_A_DAY));
    u16::try_from(minute).unwrap_or_default()
}

impl fmt::Display for RestartSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On => f.write_str("on"),
            Self::Window { from, until } => {
                write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
            }
        }
    }
}

impl FromStr for RestartSwitch {
    type Err = RestartSwitchError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || RestartSwitchError(text.chars().take(40).collect());
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            hours => {
                let (from, until) = hours.split_once('-').ok_or_else(refuse)?;
                let (from, until) = (minute(from).ok_or_else(refuse)?, minute(until).ok_or_else(refuse)?);
                // Hours without an end would mean “on”, or nothing: whoever wants one of these can say so.
                (from != until).then_some(Self::Window { from, until }).ok_or_else(refuse)
            }
        }
    }
}

/// `HH:MM` as a minute of the day.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |text: &str, most: u16| -> Option<u16> {
        let is_plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| is_plain && *n < most)
    };
    Some(two_digits(hours, 24)? * 60 + two_digits(minutes, 60)?)
}

impl Serialize for RestartSwitch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RestartSwitch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_window_over_midnight_begins_to_the_minute_and_ends_to_the_minute() {
        let night: RestartSwitch = "22:00-04:30".parse().unwrap();
        assert_eq!(night.to_string(), "22:00-04:30");
        for (time, is_open) in [
            ("21:59:59.999", false),
            ("22:00:00", true),
            ("23:59:59", true),
            ("00:00:00", true),
            ("04:29:59.999", true),
            ("04:30:00", false),
            ("12:00:00", false),
        ] {
            assert_eq!(night.allows(at(time)), is_open, "{time}");
        }
        assert_eq!(night.opens_at(at("12:00:30")), Some(at("22:00:00")));
        assert_eq!(night.opens_at(at("23:00:00")), None, "it is open");
        let noon: RestartSwitch = "12:00-13:00".parse().unwrap();
        assert_eq!(noon.opens_at(at("13:00:00")), Some("2026-03-02T12:00:00Z".parse().unwrap()));
        assert!(noon.allows(at("12:59:59")) && !noon.allows(at("13:00:00")));
    }

    #[test]
    fn hours_before_1970_are_hours_too() {
        let night: RestartSwitch = "22:00-04:00".parse().unwrap();
        let before: Timestamp = "1969-12-31T23:00:00Z".parse().unwrap();
        assert!(night.allows(before));
        assert_eq!(
            night.opens_at("1969-12-31T05:00:00Z".parse().unwrap()),
            Some("1969-12-31T22:00:00Z".parse().unwrap())
        );
    }

    #[test]
    fn off_is_what_nobody_has_set_and_nonsense_is_refused() {
        assert_eq!(RestartSwitch::default(), RestartSwitch::Off);
        assert!(RestartSwitch::On.allows(at("00:00:00")) && !RestartSwitch::Off.allows(at("00:00:00")));
        for text in
            ["", "yes", "On", "22:00", "22-04", "24:00-04:00", "22:60-04:00", "22:00-22:00", "2:00-4:00", "+1:00-04:00"]
        {
            assert!(text.parse::<RestartSwitch>().is_err(), "{text} was taken");
        }
        assert_eq!(serde_json::from_str::<RestartSwitch>(r#""02:00-04:00""#).unwrap().to_string(), "02:00-04:00");
    }
}
