//! Service status and sensor status, derived from facts and the clock (A7, A8, A12).
//!
//! Each answer carries its reason and the instant at which it changes by itself if nothing else happens.

use serde::{Deserialize, Serialize};

use super::Sensor;
use super::engines::all_detect;
use crate::catalogue::Catalogue;
use crate::policy::Policy;
use crate::sync::ServiceState;
use crate::time::Timestamp;

/// What a status is judged against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The numbers.
    pub policy: &'a Policy,
    /// The releases.
    pub catalogue: &'a Catalogue,
    /// When the control plane was ready again; silence before that is nobody's fault but its own.
    pub ready_at: Option<Timestamp>,
    /// The instant to judge.
    pub now: Timestamp,
}

impl Context<'_> {
    /// From when the silence of a sensor counts: the later of its last contact and one interval after the control
    /// plane was ready again.
    #[must_use]
    pub fn silent_since(&self, sensor: &Sensor) -> Timestamp {
        let contact = sensor.last_contact.unwrap_or(sensor.created_at);
        self.ready_at.map_or(contact, |at| contact.max(at + self.policy.contact.check_in))
    }

    /// From when a sensor that does not pull its configuration counts as not pulling it.
    #[must_use]
    pub fn unpulled_since(&self, sensor: &Sensor) -> Timestamp {
        let pull = sensor.last_config_pull.unwrap_or(sensor.created_at);
        self.ready_at.map_or(pull, |at| pull.max(at + self.policy.contact.check_in))
    }

    /// Whether the sensor has been silent for long enough to be disconnected.
    #[must_use]
    pub fn is_disconnected(&self, sensor: &Sensor) -> bool {
        self.now >= self.silent_since(sensor) + self.policy.contact.disconnected_after
    }

    /// Whether it communicates but has not pulled its configuration for more than the limit.
    #[must_use]
    pub fn has_not_started(&self, sensor: &Sensor) -> bool {
        sensor.last_contact.is_some()
            && !self.is_disconnected(sensor)
            && self.now > self.unpulled_since(sensor) + self.policy.contact.start_failed_after
    }
}

/// An answer with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived<T> {
    /// The answer.
    pub value: T,
    /// Why, in a sentence for people.
    pub reason: String,
    /// When it changes by itself if nothing is heard.
    pub changes_at: Option<Timestamp>,
}

/// The state of the sensor's process (A7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceStatus {
    /// It runs.
    Running,
    /// It was started and is not ready yet.
    Starting,
    /// Somebody switched it off.
    Disabled,
    /// It does not run.
    Stopped,
    /// Nobody has heard from it for too long.
    Unknown,
}

impl ServiceStatus {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// The one status of a sensor (A8). The order of the variants is the precedence: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SensorStatus {
    /// Its domain controller is gone from the directory.
    Unreachable,
    /// Silent for 10 minutes.
    Disconnected,
    /// An update is in flight.
    Updating,
    /// The last update failed.
    UpdateFailed,
    /// Communicates, and has not pulled its configuration for more than 30 minutes.
    StartFailure,
    /// Needs settings before it can work.
    NotConfigured,
    /// Three or more releases behind.
    Outdated,
    /// A settings change has not arrived yet.
    Syncing,
    /// None of the above.
    UpToDate,
}

impl SensorStatus {
    /// Every status, in order of precedence.
    pub const PRECEDENCE: [Self; 9] = [
        Self::Unreachable,
        Self::Disconnected,
        Self::Updating,
        Self::UpdateFailed,
        Self::StartFailure,
        Self::NotConfigured,
        Self::Outdated,
        Self::Syncing,
        Self::UpToDate,
    ];

    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Disconnected => "disconnected",
            Self::Updating => "updating",
            Self::UpdateFailed => "updateFailed",
            Self::StartFailure => "startFailure",
            Self::NotConfigured => "notConfigured",
            Self::Outdated => "outdated",
            Self::Syncing => "syncing",
            Self::UpToDate => "upToDate",
        }
    }
}

/// Whether the sensor watches: its service and every engine run, packets can be seen where they should be, it was heard
/// of lately, and no update is in flight but one that is only staged. A host that observes nothing of its engines is believed by its service.
#[must_use]
pub fn is_watching(sensor: &Sensor, context: &Context<'_>) -> bool {
    sensor.last_contact.is_some()
        && !sensor.removed_from_directory
        && sensor.report.service == ServiceState::Running
        && all_detect(sensor)
        && sensor.update.flight.as_ref().is_none_or(|flight| flight.only_stages)
        && !context.is_disconnected(sensor)
}

/// The service status (A7).
#[must_use]
pub fn service_status(sensor: &Sensor, context: &Context<'_>) -> Derived<ServiceStatus> {
    let silent_at = context.silent_since(sensor) + context.policy.contact.disconnected_after;
    if sensor.removed_from_directory {
        let reason = "The domain controller is gone from the directory".to_owned();
        return Derived { value: ServiceStatus::Unknown, reason, changes_at: None };
    }
    if context.is_disconnected(sensor) {
        let reason = silence(sensor);
        return Derived { value: ServiceStatus::Unknown, reason, changes_at: None };
    }
    let (value, reason) = match sensor.report.service {
        _ if sensor.last_contact.is_none() => (ServiceStatus::Unknown, "The host has not checked in yet"),
        ServiceState::Running => (ServiceStatus::Running, "The host reports the service as running"),
        ServiceState::Starting => (ServiceStatus::Starting, "The host has started the service; it is not ready yet"),
        ServiceState::Disabled => (ServiceStatus::Disabled, "The service was switched off on the host"),
        ServiceState::Stopped => (ServiceStatus::Stopped, "The host reports that the service does not run"),
    };
    Derived { value, reason: reason.to_owned(), changes_at: Some(silent_at) }
}

fn silence(sensor: &Sensor) -> String {
    match sensor.last_contact {
        Some(at) => format!("Nothing was heard since {at}"),
        None => "Nothing was ever heard from it".to_owned(),
    }
}

/// The sensor status (A8): the first of [`SensorStatus::PRECEDENCE`] that holds.
#[must_use]
pub fn sensor_status(sensor: &Sensor, context: &Context<'_>) -> Derived<SensorStatus> {
    let found = SensorStatus::PRECEDENCE.into_iter().find_map(|value| Some((value, holds(value, sensor, context)?)));
    let (value, reason) = found.unwrap_or((SensorStatus::UpToDate, String::new()));
    Derived { value, reason, changes_at: changes_at(sensor, context) }
}

/// Why a status holds, or `None` when it does not.
fn holds(status: SensorStatus, sensor: &Sensor, context: &Context<'_>) -> Option<String> {
    let update = &sensor.update;
    match status {
        SensorStatus::Unreachable => sensor.removed_from_directory.then(|| {
            "Its domain controller is gone from the directory; the sensor was never removed and can be deleted"
                .to_owned()
        }),
        SensorStatus::Disconnected => context.is_disconnected(sensor).then(|| silence(sensor)),
        SensorStatus::Updating => update.flight.as_ref().map(|flight| match flight.switched_at {
            None if flight.only_stages => {
                format!("{} is being staged since {}; it will wait for a restart", flight.version, flight.started_at)
            }
            None => format!("{} was handed out at {}", flight.version, flight.started_at),
            Some(at) => format!("It runs {} since {at} and waits for clearance", flight.version),
        }),
        SensorStatus::UpdateFailed => {
            update.standing_failure(context).map(|failed| format!("{} failed: {}", failed.version, failed.reason))
        }
        SensorStatus::StartFailure => context
            .has_not_started(sensor)
            .then(|| format!("No configuration was pulled since {}", context.unpulled_since(sensor))),
        SensorStatus::NotConfigured => missing_settings(sensor),
        SensorStatus::Outdated => {
            let behind = sensor.version().map_or(0, |version| context.catalogue.releases_behind(version, context.now));
            (behind >= context.policy.rollout.outdated_from).then(|| format!("It is {behind} releases behind"))
        }
        SensorStatus::Syncing => (sensor.report.settings_generation < sensor.settings_generation)
            .then(|| "A change of its settings has not arrived yet".to_owned()),
        SensorStatus::UpToDate => Some(up_to_date(sensor, context)),
    }
}

/// What somebody must set before the sensor can work. A sensor with events to follow may run `sigma` alone, without any
/// capture interface; one that lives on packets may not.
fn missing_settings(sensor: &Sensor) -> Option<String> {
    let no_controllers = sensor.kind.needs_domain_controllers() && sensor.domain_controllers.is_empty();
    let no_interface = sensor.kind.needs_capture_interface() && sensor.settings.capture_interfaces.is_empty();
    let what = match (no_controllers, no_interface) {
        (false, false) => return None,
        (true, false) => "Name the domain controllers it works with",
        (false, true) => "Name the capture interface it listens on",
        (true, true) => "Name the domain controllers it works with and the capture interface it listens on",
    };
    Some(what.to_owned())
}

fn up_to_date(sensor: &Sensor, context: &Context<'_>) -> String {
    let behind = sensor.version().map_or(0, |version| context.catalogue.releases_behind(version, context.now));
    match (sensor.version(), behind) {
        (None, _) => "It was just installed and has not reported a version yet".to_owned(),
        (Some(version), 0) => format!("It runs {version}, the newest release offered"),
        (Some(version), 1) => format!("It runs {version}, one release behind the newest"),
        (Some(version), behind) => format!("It runs {version}, {behind} releases behind the newest"),
    }
}

/// The next instant at which silence, a missing pull, or the age of its version changes the status.
fn changes_at(sensor: &Sensor, context: &Context<'_>) -> Option<Timestamp> {
    let limits = [
        context.silent_since(sensor) + context.policy.contact.stopped_communicating_after,
        context.silent_since(sensor) + context.policy.contact.disconnected_after,
        context.unpulled_since(sensor)
            + context.policy.contact.start_failed_after
            + std::time::Duration::from_millis(1),
    ];
    limits.into_iter().filter(|at| *at > context.now).chain(context.catalogue.changes_at(context.now)).min()
}
