//! What a directory answered about a domain controller, and what follows for the sensor on it (A9).
//!
//! It goes by the object's id once that is known, never by the name alone; and silence of the directory, or a refused
//! account, never says that a domain controller is gone.

#[cfg(test)]
mod tests;

use crate::policy::HealthPolicy;
use crate::sensor::{Sensor, SensorKind};
use crate::time::Timestamp;

/// Milliseconds from 1601-01-01, where a directory counts from, to 1970-01-01.
const EPOCH_DIFFERENCE_MILLIS: i64 = 11_644_473_600_000;
/// Units of 100 ns in a millisecond: what a directory counts in.
const UNITS_PER_MILLISECOND: i64 = 10_000;
/// Most characters of a NetBIOS name.
const NETBIOS_NAME: usize = 15;

/// What a directory said about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is there.
    Present {
        /// Its id, lower-case hex.
        object: String,
        /// Its account name at this time, without the `$`.
        name: String,
    },
    /// Its tombstone is there.
    Deleted {
        /// Its id, lower-case hex.
        object: String,
    },
    /// The directory answered for its domain, and nothing of it is there.
    Absent,
    /// Nothing was learnt.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// The account that asks was not let in, so nothing was learnt.
    CredentialsRefused {
        /// Why.
        reason: String,
    },
}

/// Everything that one look brought about one sensor's domain controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// About the object with the known id; about the one with the sensor's name while no id is known.
    pub about: Lookup,
    /// Another domain controller's object that bears the sensor's name; looked for only when the known one is gone.
    pub namesake: Option<String>,
}

/// What follows for a sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether its domain controller is gone.
    pub removed: bool,
    /// Its object's id, if known.
    pub object: Option<String>,
    /// Why, for the audit log; `None`: nothing changed.
    pub reason: Option<String>,
}

/// Whether a directory is asked about this sensor: it stands on a domain controller of that domain.
#[must_use]
pub fn concerns(sensor: &Sensor, domain: &str) -> bool {
    sensor.kind == SensorKind::DomainControllerIntegrated && sensor.domain.eq_ignore_ascii_case(domain)
}

/// The account name of a machine with this name: the first label in capitals, as long as NetBIOS allows, and a `$`.
#[must_use]
pub fn account_name(name: &str) -> String {
    let label = name.split('.').next().unwrap_or_default();
    let mut account: String = label.chars().take(NETBIOS_NAME).collect::<String>().to_ascii_uppercase();
    account.push('$');
    account
}

/// What an answer means for a sensor that is heard of at present, or not.
///
/// A domain controller set up anew under the old name has another object. It does not bring a silent sensor back: that
/// host is gone, and the machine that took its name enrols for itself. It does bring back a sensor that is heard of: the
/// same host, with the same key, was made a domain controller once more, and it would be wrong to call it gone for ever.
#[must_use]
pub fn decide(sensor: &Sensor, answer: &Answer, is_heard: bool) -> Decision {
    let known = sensor.directory_object.as_deref();
    let unchanged =
        || Decision { removed: sensor.removed_from_directory, object: sensor.directory_object.clone(), reason: None };
    let changed = |removed, object: &str, reason: String| Decision {
        removed,
        object: Some(object.to_owned()),
        reason: Some(reason),
    };
    match (&answer.about, known) {
        (Lookup::Present { object, name }, None) => {
            changed(false, object, format!("the directory knows it as {name}, object {object}"))
        }
        (Lookup::Present { object, name }, Some(known)) if object == known && sensor.removed_from_directory => {
            changed(false, known, format!("object {known} is in the directory again, as {name}"))
        }
        (Lookup::Deleted { .. } | Lookup::Absent, Some(known)) => match &answer.namesake {
            Some(other) if is_heard && other != known => {
                let reason =
                    format!("object {known} is gone, but the sensor is heard of and object {other} has its name");
                changed(false, other, reason)
            }
            Some(_) | None if sensor.removed_from_directory => unchanged(),
            Some(_) | None => changed(true, known, format!("object {known} was deleted from the directory")),
        },
        // What was never found in a directory cannot be gone from it. An object that was not asked for says nothing.
        (Lookup::Deleted { .. } | Lookup::Absent, None)
        | (Lookup::Present { .. }, Some(_))
        | (Lookup::Unreachable { .. } | Lookup::CredentialsRefused { .. }, _) => unchanged(),
    }
}

/// How the account that asks was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It was let in.
    Granted {
        /// When its password expires, if ever.
        password_expires_at: Option<Timestamp>,
    },
    /// It was not let in.
    Refused {
        /// What the directory says.
        reason: String,
        /// It was because the password has expired.
        is_expired: bool,
    },
    /// No server of the domain could be asked.
    Unreachable {
        /// Why, server by server.
        reason: String,
    },
}

/// What is wrong with a directory as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No server of the domain can be asked.
    Unreachable,
    /// User name or password are wrong.
    CredentialsIncorrect,
    /// The password expires soon.
    PasswordToExpire,
    /// The password has expired.
    PasswordExpired,
}

/// What is wrong with a directory at `now`, and why.
#[must_use]
pub fn trouble(access: &Access, policy: &HealthPolicy, now: Timestamp) -> Option<(Trouble, String)> {
    match access {
        Access::Unreachable { reason } => Some((Trouble::Unreachable, reason.clone())),
        Access::Refused { reason, is_expired: true } => Some((Trouble::PasswordExpired, reason.clone())),
        Access::Refused { reason, is_expired: false } => Some((Trouble::CredentialsIncorrect, reason.clone())),
        Access::Granted { password_expires_at: None } => None,
        Access::Granted { password_expires_at: Some(at) } if *at <= now => {
            Some((Trouble::PasswordExpired, format!("the password has expired at {at}")))
        }
        Access::Granted { password_expires_at: Some(at) } => {
            let is_soon = at.since(now) < policy.password_expiry_within;
            is_soon.then(|| (Trouble::PasswordToExpire, format!("the password expires at {at}")))
        }
    }
}

/// The instant of a directory's large integer (100 ns since 1601); `None`: never.
#[must_use]
pub fn instant(units: i64) -> Option<Timestamp> {
    let is_ever = units > 0 && units < i64::MAX;
    is_ever.then(|| Timestamp::from_millis(units / UNITS_PER_MILLISECOND - EPOCH_DIFFERENCE_MILLIS))
}
