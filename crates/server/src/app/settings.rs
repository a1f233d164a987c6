//! A person sets how a sensor works: checked by `core`, durable, audited, and taken by the host at its next check-in.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use watchpost_core::restart::RestartSwitch;
use watchpost_core::sensor::{Sensor, SensorKind};
use watchpost_core::settings::SettingsError;

use super::enrollment::{MAX_DOMAIN_CONTROLLERS, is_dns_name};
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// What is to change; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// Free text for people.
    pub description: Option<String>,
    /// The interfaces it listens on.
    pub capture_interfaces: Option<BTreeSet<String>>,
    /// What counts as home.
    pub home_networks: Option<BTreeSet<String>>,
    /// The domain controllers it works with.
    pub domain_controllers: Option<Vec<String>>,
    /// Whether it is in the delayed ring.
    pub delayed: Option<bool>,
    /// Whether more than the sensor may be restarted for a major release; `Some(None)`: as set for the workspace.
    pub restart_for_major: Option<Option<RestartSwitch>>,
}

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsRefused {
    /// A value is not one it may be.
    #[error("{why}")]
    Invalid {
        /// Stable word for programs.
        code: &'static str,
        /// Which value, and what would be right.
        why: String,
    },
    /// It could not be done at all.
    #[error("the settings were not changed")]
    Failed(#[from] AppError),
}

impl From<SettingsError> for SettingsRefused {
    fn from(error: SettingsError) -> Self {
        let code = match &error {
            SettingsError::Description => "badDescription",
            SettingsError::TooMany { .. } => "tooMany",
            SettingsError::Interface(_) => "badInterface",
            SettingsError::Network(_) => "badNetwork",
        };
        Self::Invalid { code, why: error.to_string() }
    }
}

/// The sensor with the change in it.
fn changed(mut sensor: Sensor, change: SettingsChange) -> Result<Sensor, SettingsRefused> {
    let before = (sensor.settings.clone(), sensor.domain_controllers.clone());
    if let Some(description) = change.description {
        sensor.settings.description = description;
    }
    if let Some(interfaces) = change.capture_interfaces {
        sensor.settings.capture_interfaces = interfaces;
    }
    if let Some(networks) = change.home_networks {
        sensor.settings.home_networks = networks;
    }
    sensor.settings.validate()?;
    if let Some(names) = change.domain_controllers {
        check_domain_controllers(&sensor, &names)?;
        sensor.domain_controllers = names;
    }
    if let Some(delayed) = change.delayed {
        sensor.delayed = delayed;
    }
    if let Some(switch) = change.restart_for_major {
        sensor.update.restart_for_major = switch;
    }
    // Ring and restarts are the planner's alone; a host has nothing to take when only those change.
    if before != (sensor.settings.clone(), sensor.domain_controllers.clone()) {
        sensor.settings_generation = sensor.settings_generation.saturating_add(1);
    }
    Ok(sensor)
}

fn check_domain_controllers(sensor: &Sensor, names: &[String]) -> Result<(), SettingsRefused> {
    if sensor.domain_controllers == names {
        return Ok(());
    }
    if !sensor.kind.needs_domain_controllers() {
        let why = match sensor.kind {
            SensorKind::DomainControllerIntegrated => "a sensor on a domain controller works with that one alone",
            SensorKind::DomainControllerStandalone
            | SensorKind::AdfsIntegrated
            | SensorKind::AdcsIntegrated
            | SensorKind::AdConnectIntegrated
            | SensorKind::OtCloudConnected
            | SensorKind::OtLocallyManaged
            | SensorKind::EnterpriseIot => "a sensor of this type works with no domain controller",
        };
        let why = format!("domainControllerDnsNames: {why}; leave it out");
        return Err(SettingsRefused::Invalid { code: "domainControllersReadOnly", why });
    }
    if names.len() > MAX_DOMAIN_CONTROLLERS {
        let why = format!("domainControllerDnsNames: at most {MAX_DOMAIN_CONTROLLERS} can be set");
        return Err(SettingsRefused::Invalid { code: "tooMany", why });
    }
    match names.iter().find(|name| !is_dns_name(name)) {
        Some(name) => {
            let why = format!("“{name}” is no DNS name: write it in full, such as dc01.corp.example");
            Err(SettingsRefused::Invalid { code: "badDomainController", why })
        }
        None => Ok(()),
    }
}

/// What an auditor reads of a sensor's settings.
fn audited(sensor: &Sensor) -> Value {
    json!({
        "settings": sensor.settings,
        "domainControllerDnsNames": sensor.domain_controllers,
        "delayedUpdate": sensor.delayed,
        "restartForMajor": sensor.update.restart_for_major,
        "settingsGeneration": sensor.settings_generation,
    })
}

impl App {
    /// Changes what a sensor, by its id or name, should have set. What is the same already changes nothing.
    ///
    /// # Errors
    /// When the principal may not, there is no such sensor, a value is not one it may be, or the store fails.
    pub async fn configure(
        &self,
        principal: &Principal,
        id_or_name: &str,
        change: SettingsChange,
        reason: Option<String>,
    ) -> Result<(), SettingsRefused> {
        authorize(principal, Action::ManageSensors, Resource::Workspace).map_err(AppError::from)?;
        let _busy = self.busy();
        let gate = self.0.gate.lock().await;
        let known = self.fleet_ref(|fleet| fleet.find(id_or_name).cloned());
        let before =
            known.ok_or_else(|| AppError::NotFound { what: "sensor", id: id_or_name.chars().take(64).collect() })?;
        let id = before.id;
        let after = changed(before.clone(), change)?;
        if after == before {
            return Ok(());
        }
        self.save_configured(principal, &before, &after, reason).await?;
        self.fleet_mut(|fleet| fleet.take_saved(after));
        drop(gate);
        self.0.bus.announce(Event::Sensor(id));
        self.poke();
        Ok(())
    }

    async fn save_configured(
        &self,
        principal: &Principal,
        before: &Sensor,
        after: &Sensor,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let revision = self.fleet_ref(|fleet| fleet.kept(after.id)).map_or(0, |kept| kept.revision);
        let mut tx = self.begin().await?;
        tx.save_sensors(&[(after, revision)]).await?;
        let (was, is) = (Some(audited(before)), Some(audited(after)));
        let subject = after.id.to_string();
        self.audit(&mut tx, &principal.actor, "sensor.configure", &subject, was, is, reason).await?;
        Ok(tx.commit().await?)
    }
}
