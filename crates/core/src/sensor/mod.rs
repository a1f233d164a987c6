//! What the control plane knows of one sensor. Status is derived from it and never stored as truth.

mod contacts;
mod engines;
mod kind;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clones::Waiting;
use crate::content::RulesOrder;
use crate::health::{Issue, IssueType};
use crate::id::{SensorId, WorkspaceId};
use crate::identity::Certificate;
use crate::rollout::UpdateRecord;
use crate::settings::SensorSettings;
use crate::sync::Report;
use crate::time::Timestamp;
use crate::version::Version;

pub use contacts::Contacts;
pub(crate) use engines::{all_are_proven, cannot_capture};
pub use kind::SensorKind;
pub use status::{Context, Derived, SensorStatus, ServiceStatus, is_watching, sensor_status, service_status};

/// One sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sensor {
    /// Its identity here.
    pub id: SensorId,
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// Its name (NetBIOS for identity sensors).
    pub name: String,
    /// What it stands on or watches.
    pub kind: SensorKind,
    /// The domain (FQDN) it belongs to.
    pub domain: String,
    /// Its zone as `site/zone`; coverage is declared per zone.
    pub zone: Option<String>,
    /// Domain controllers it is told to work with; needed by kinds that are none themselves.
    pub domain_controllers: Vec<String>,
    /// In the delayed ring.
    pub delayed: bool,
    /// When it was installed.
    pub created_at: Timestamp,
    /// Its domain controller is gone from the directory, the sensor was never removed (A9).
    pub removed_from_directory: bool,
    /// Generation of the settings it should have.
    pub settings_generation: u64,
    /// The settings it should have.
    pub settings: SensorSettings,
    /// What was set about rule packages.
    #[serde(default)]
    pub rules: RulesOrder,
    /// The directory object of its domain controller, in lower-case hex; `None` until it was looked up (A9).
    pub directory_object: Option<String>,
    /// The last check-in.
    pub last_contact: Option<Timestamp>,
    /// The last check-in that pulled configuration.
    pub last_config_pull: Option<Timestamp>,
    /// Which of its check-ins came late; forgotten when the control plane starts again.
    #[serde(skip)]
    pub contacts: Contacts,
    /// When its certificate expires, and whether somebody wants another one.
    #[serde(skip)]
    pub certificate: Certificate,
    /// Hosts that say to be this one and hold another key.
    #[serde(skip)]
    pub newcomers: Option<Waiting>,
    /// What it reported last.
    pub report: Report,
    /// What the planner remembers of it.
    pub update: UpdateRecord,
    /// Its health issues, open or not.
    pub issues: BTreeMap<IssueType, Issue>,
}

impl Sensor {
    /// A sensor that was just installed and has not said anything yet.
    #[must_use]
    pub fn new(id: SensorId, workspace: WorkspaceId, name: String, kind: SensorKind, created_at: Timestamp) -> Self {
        Self {
            id,
            workspace,
            name,
            kind,
            domain: String::new(),
            zone: None,
            domain_controllers: Vec::new(),
            delayed: false,
            created_at,
            removed_from_directory: false,
            settings_generation: 0,
            settings: SensorSettings::default(),
            rules: RulesOrder::default(),
            directory_object: None,
            last_contact: None,
            last_config_pull: None,
            contacts: Contacts::default(),
            certificate: Certificate::default(),
            newcomers: None,
            report: Report::default(),
            update: UpdateRecord::default(),
            issues: BTreeMap::new(),
        }
    }

    /// The version it runs.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.report.version
    }

    /// Takes a check-in at `now`.
    pub fn checked_in(&mut self, report: Report, now: Timestamp) {
        self.last_contact = Some(now);
        if report.pulled_configuration {
            self.last_config_pull = Some(now);
        }
        self.report = report;
    }
}
