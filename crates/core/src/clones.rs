//! Possible clones: a host that is enrolled, and a newcomer that says it is the same host and holds another key.
//!
//! Nobody but a person can know which of both is the host, so the newcomer waits in quarantine. Everything that waits is
//! bounded: whoever has the access key could otherwise fill the table.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::SensorId;
use crate::identity::Pin;
use crate::time::Timestamp;

/// Most newcomers that are kept, waiting or blocked.
pub const MAX_NEWCOMERS: usize = 500;
/// Most newcomers that are kept of one host.
pub const MAX_NEWCOMERS_OF_HOST: usize = 8;
/// How often an attempt of a newcomer that waits is noted.
pub const NOTED_EVERY: Duration = Duration::from_secs(60);
/// When a newcomer asks again.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A newcomer that waits and has not asked for so long is forgotten; it is noted again if it comes back.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What an administrator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// It is the same host, installed anew: the newcomer takes its place, and the key before is revoked at once.
    Replace,
    /// They are two hosts: the newcomer becomes a sensor of its own.
    Separate,
    /// The newcomer's key is never let in.
    Refuse,
}

/// A word that is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no decision; use one of replace, separate, refuse")]
pub struct UnknownDecision(String);

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 3] = [Self::Replace, Self::Separate, Self::Refuse];

    /// The word of API and command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Separate => "separate",
            Self::Refuse => "refuse",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Decision {
    type Err = UnknownDecision;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|decision| decision.word() == text);
        known.ok_or_else(|| UnknownDecision(text.chars().take(40).collect()))
    }
}

/// What a newcomer said of itself, as it was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// NetBIOS name.
    pub name: String,
    /// Sensor type word.
    pub sensor_type: String,
    /// Domain, as FQDN.
    pub domain: String,
    /// Name of its site; empty: the default.
    pub site: String,
    /// Name of its zone; empty: the default.
    pub zone: String,
    /// Whether it asks for the delayed ring.
    pub delayed: bool,
    /// Domain controllers it watches.
    pub domain_controllers: Vec<String>,
    /// Operating system in words.
    pub operating_system: String,
}

/// A host with the identity of an enrolled one and another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its certificate: the fingerprint it is known by.
    pub pin: Pin,
    /// The enrolled sensor that it says to be.
    pub sensor: SensorId,
    /// What both call themselves (machine id).
    pub host_id: String,
    /// The enrolment that it tries.
    pub enrolment_id: String,
    /// Where it asked from last.
    pub from: String,
    /// What it says of itself.
    pub facts: HostFacts,
    /// When it asked first.
    pub first_at: Timestamp,
    /// When it asked last, give or take [`NOTED_EVERY`].
    pub last_at: Timestamp,
    /// How many attempts were noted.
    pub attempts: u32,
    /// When it was blocked; `None`: it waits.
    pub refused_at: Option<Timestamp>,
}

/// What becomes of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits, and what is known of it changed: this is to be saved, after these were forgotten.
    Note(Box<Newcomer>, Vec<Pin>),
    /// It waits, as before.
    Hold,
    /// Its key is blocked.
    Blocked,
    /// It is not even noted: too many are.
    Full,
}

/// The newcomers that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine(BTreeMap<Pin, Newcomer>);

impl Quarantine {
    /// With these in it.
    #[must_use]
    pub fn of(newcomers: impl IntoIterator<Item = Newcomer>) -> Self {
        Self(newcomers.into_iter().map(|newcomer| (newcomer.pin, newcomer)).collect())
    }

    /// All of them, in the order of their fingerprints.
    pub fn all(&self) -> impl Iterator<Item = &Newcomer> {
        self.0.values()
    }

    /// The one with this fingerprint.
    #[must_use]
    pub fn get(&self, pin: &Pin) -> Option<&Newcomer> {
        self.0.get(pin)
    }

    /// What becomes of an attempt, in which `attempt` is as a first one would be.
    #[must_use]
    pub fn judge(&self, attempt: Newcomer, now: Timestamp) -> Verdict {
        if let Some(known) = self.0.get(&attempt.pin) {
            return match known.refused_at {
                Some(_) => Verdict::Blocked,
                None if now.since(known.last_at) < NOTED_EVERY => Verdict::Hold,
                None => {
                    let attempts = known.attempts.saturating_add(1);
                    Verdict::Note(Box::new(Newcomer { first_at: known.first_at, attempts, ..attempt }), Vec::new())
                }
            };
        }
        let is_forgotten =
            |newcomer: &&Newcomer| newcomer.refused_at.is_none() && now.since(newcomer.last_at) >= FORGOTTEN_AFTER;
        let forgotten: Vec<Pin> = self.0.values().filter(is_forgotten).map(|newcomer| newcomer.pin).collect();
        let of_host = |newcomer: &&Newcomer| newcomer.host_id == attempt.host_id && !forgotten.contains(&newcomer.pin);
        let is_full = self.0.len() - forgotten.len() >= MAX_NEWCOMERS
            || self.0.values().filter(of_host).count() >= MAX_NEWCOMERS_OF_HOST;
        if is_full { Verdict::Full } else { Verdict::Note(Box::new(attempt), forgotten) }
    }

    /// Takes a saved newcomer over.
    pub fn put(&mut self, newcomer: Newcomer) {
        self.0.insert(newcomer.pin, newcomer);
    }

    /// Forgets one.
    pub fn remove(&mut self, pin: &Pin) {
        self.0.remove(pin);
    }

    /// What a sensor's row tells of the newcomers that wait in its name.
    #[must_use]
    pub fn waiting_for(&self, sensor: SensorId) -> Option<Waiting> {
        let waiting = self.0.values().filter(|newcomer| newcomer.sensor == sensor && newcomer.refused_at.is_none());
        let (count, since) = waiting.fold((0, None), |(count, since): (u32, Option<Timestamp>), newcomer| {
            (count + 1, Some(since.map_or(newcomer.first_at, |since| since.min(newcomer.first_at))))
        });
        since.map(|since| Waiting { count, since })
    }
}

/// Newcomers that wait in the name of one sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: u32,
    /// Since when the first one does.
    pub since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn pin(number: usize) -> Pin {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Pin::from(bytes)
    }

    fn newcomer(number: usize, host: &str, at: Timestamp) -> Newcomer {
        Newcomer {
            pin: pin(number),
            sensor: SensorId::from_parts(T0, 1),
            host_id: host.to_owned(),
            enrolment_id: format!("enrolment-{number}"),
            from: "10.0.0.7".to_owned(),
            facts: HostFacts {
                name: "DC01".to_owned(),
                sensor_type: "domainControllerIntegrated".to_owned(),
                domain: "corp.example".to_owned(),
                site: String::new(),
                zone: String::new(),
                delayed: false,
                domain_controllers: Vec::new(),
                operating_system: "Debian 12".to_owned(),
            },
            first_at: at,
            last_at: at,
            attempts: 1,
            refused_at: None,
        }
    }

    #[test]
    fn a_newcomer_is_noted_once_a_minute_and_a_blocked_one_no_more() {
        let mut quarantine = Quarantine::default();
        let first = newcomer(1, "host", T0);
        let Verdict::Note(noted, forgotten) = quarantine.judge(first.clone(), T0) else { panic!("not noted") };
        assert_eq!((*noted, forgotten), (first.clone(), Vec::new()));
        quarantine.put(first.clone());
        let again = |quarantine: &Quarantine, after| {
            let at = T0 + Duration::from_secs(after);
            quarantine.judge(newcomer(1, "host", at), at)
        };
        assert_eq!(again(&quarantine, 59), Verdict::Hold);
        let Verdict::Note(noted, _) = again(&quarantine, 60) else { panic!("not noted") };
        assert_eq!((noted.first_at, noted.last_at, noted.attempts), (T0, T0 + NOTED_EVERY, 2));
        quarantine.put(Newcomer { refused_at: Some(T0), ..first });
        assert_eq!(again(&quarantine, 3_600), Verdict::Blocked);
        assert_eq!(quarantine.waiting_for(SensorId::from_parts(T0, 1)), None);
    }

    #[test]
    fn a_flood_grows_no_table_and_who_gave_up_makes_room() {
        let mut quarantine = Quarantine::default();
        for number in 0..10_000 {
            // First one host with ever new keys, then ever new hosts.
            let host = if number < 100 { "host".to_owned() } else { format!("host-{number}") };
            if let Verdict::Note(noted, _) = quarantine.judge(newcomer(number, &host, T0), T0) {
                quarantine.put(*noted);
            }
            let of_host = quarantine.all().filter(|newcomer| newcomer.host_id == "host").count();
            assert!(quarantine.0.len() <= MAX_NEWCOMERS && of_host <= MAX_NEWCOMERS_OF_HOST);
        }
        assert_eq!(quarantine.0.len(), MAX_NEWCOMERS);
        let late = T0 + FORGOTTEN_AFTER;
        let Verdict::Note(_, forgotten) = quarantine.judge(newcomer(20_000, "late", late), late) else {
            panic!("no room was made")
        };
        assert_eq!(forgotten.len(), MAX_NEWCOMERS);
    }

    #[test]
    fn who_waits_in_the_name_of_a_sensor_is_counted_since_the_first() {
        let sensor = SensorId::from_parts(T0, 1);
        let later = T0 + Duration::from_secs(5);
        let quarantine = Quarantine::of([newcomer(1, "host", later), newcomer(2, "host", T0)]);
        assert_eq!(quarantine.waiting_for(sensor), Some(Waiting { count: 2, since: T0 }));
        assert_eq!(quarantine.waiting_for(SensorId::from_parts(T0, 2)), None);
    }

    #[test]
    fn decisions_read_back() {
        for decision in Decision::ALL {
            assert_eq!(decision.to_string().parse(), Ok(decision));
        }
        assert!("maybe".parse::<Decision>().is_err());
    }
}
