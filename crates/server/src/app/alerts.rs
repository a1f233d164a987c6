//! Alerts as people and scripts see them, and what they make of one.

use serde_json::json;
use watchpost_core::evidence::AlertStatus;
use watchpost_core::id::{AlertId, SensorId};
use watchpost_store::{AlertFilter, AlertRow};

use super::fleet::Fleet;
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// An alert with the names of where it was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// The alert.
    pub row: AlertRow,
    /// Name of its sensor.
    pub sensor_name: String,
    /// Name of the sensor's site.
    pub site: String,
    /// Name of the sensor's zone.
    pub zone: String,
}

/// Which alerts somebody asks for; what is absent or empty narrows nothing.
#[derive(Clone, Debug, Default)]
pub struct AlertQuery {
    /// Id or name of a sensor.
    pub sensor: Option<String>,
    /// Name of a site.
    pub site: Option<String>,
    /// Name of a zone.
    pub zone: Option<String>,
    /// What else; its sensors are those that the names above leave.
    pub filter: AlertFilter,
}

impl Fleet {
    /// The sensors that a sensor's id or name, a site's name and a zone's name leave; `None`: all of them.
    pub(super) fn chosen(&self, sensor: Option<&str>, site: Option<&str>, zone: Option<&str>) -> Option<Vec<SensorId>> {
        if sensor.is_none() && site.is_none() && zone.is_none() {
            return None;
        }
        let stands_there = |id: SensorId| {
            let (its_site, its_zone) = self.place_names(id);
            site.is_none_or(|site| site == its_site) && zone.is_none_or(|zone| zone == its_zone)
        };
        let chosen = match sensor {
            Some(text) => self.find(text).map(|sensor| sensor.id).into_iter().filter(|id| stands_there(*id)).collect(),
            None => self.sensors.keys().copied().filter(|id| stands_there(*id)).collect(),
        };
        Some(chosen)
    }

    /// Names of a sensor, its site and its zone.
    pub(super) fn names(&self, id: SensorId) -> (String, String, String) {
        let (site, zone) = self.place_names(id);
        let name = self.sensors.get(&id).map(|sensor| sensor.name.clone()).unwrap_or_default();
        (name, site.to_owned(), zone.to_owned())
    }
}

impl App {
    /// The newest alerts first: `limit` of those asked for after skipping `skip`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn alerts(&self, query: &AlertQuery, skip: u32, limit: u32) -> Result<Vec<AlertView>, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        let rows = tx.alerts(&self.alert_filter(query), skip, limit).await?;
        drop(tx);
        Ok(self.fleet_ref(|fleet| rows.into_iter().map(|row| view(fleet, row)).collect()))
    }

    /// How many alerts are asked for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_alerts(&self, query: &AlertQuery) -> Result<u64, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        Ok(tx.count_alerts(&self.alert_filter(query)).await?)
    }

    fn alert_filter(&self, query: &AlertQuery) -> AlertFilter {
        let (sensor, site, zone) = (query.sensor.as_deref(), query.site.as_deref(), query.zone.as_deref());
        let sensors = self.fleet_ref(|fleet| fleet.chosen(sensor, site, zone));
        AlertFilter { sensors, ..query.filter.clone() }
    }

    /// One alert.
    ///
    /// # Errors
    /// When there is none or the store cannot be read.
    pub async fn alert(&self, id: AlertId) -> Result<AlertView, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        let row = tx.alert(id).await?.ok_or_else(|| missing(id))?;
        drop(tx);
        Ok(self.fleet_ref(|fleet| view(fleet, row)))
    }

    /// Notes what a person made of an alert.
    ///
    /// # Errors
    /// When the principal may not, there is no such alert, or the store fails.
    pub async fn set_alert_status(
        &self,
        principal: &Principal,
        id: AlertId,
        status: AlertStatus,
        reason: Option<String>,
    ) -> Result<AlertView, AppError> {
        authorize(principal, Action::ManageAlerts, Resource::Workspace)?;
        let _busy = self.busy();
        let mut tx = self.begin().await?;
        let mut row = tx.alert(id).await?.ok_or_else(|| missing(id))?;
        if row.status != status {
            tx.save_alert_status(id, status).await?;
            let (before, after) = (json!({ "status": row.status.word() }), json!({ "status": status.word() }));
            let (subject, actor) = (id.to_string(), &principal.actor);
            self.audit(&mut tx, actor, "alert.status", &subject, Some(before), Some(after), reason).await?;
            tx.commit().await?;
            row.status = status;
            self.0.bus.announce(Event::Alerts(row.sensor));
        }
        Ok(self.fleet_ref(|fleet| view(fleet, row)))
    }
}

fn missing(id: AlertId) -> AppError {
    AppError::NotFound { what: "alert", id: id.to_string() }
}

fn view(fleet: &Fleet, row: AlertRow) -> AlertView {
    let (sensor_name, site, zone) = fleet.names(row.sensor);
    AlertView { row, sensor_name, site, zone }
}
