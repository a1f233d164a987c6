//! Devices as people and scripts see them: one for each key, with every sensor that saw it.

use std::collections::BTreeSet;

use watchpost_core::evidence::Device;
use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;
use watchpost_store::{DeviceFilter, DeviceRow};

use super::fleet::Fleet;
use super::{App, AppError};

/// A device, put together from what its sensors say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceView {
    /// What it is known by: its hardware address, else its network address.
    pub key: String,
    /// Every address that a sensor knows.
    pub addresses: BTreeSet<String>,
    /// Every name that a sensor knows.
    pub names: BTreeSet<String>,
    /// Its hardware address.
    pub hardware: Option<String>,
    /// Protocols that any sensor saw it asked in.
    pub serves: BTreeSet<String>,
    /// Protocols that any sensor saw it ask in.
    pub uses: BTreeSet<String>,
    /// When any sensor first saw it.
    pub first_seen: Timestamp,
    /// When any sensor last saw it.
    pub last_seen: Timestamp,
    /// Who saw it, the latest first.
    pub seen_by: Vec<SeenBy>,
}

/// What one sensor says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenBy {
    /// Which sensor.
    pub sensor: SensorId,
    /// Its name.
    pub sensor_name: String,
    /// Name of its site.
    pub site: String,
    /// Name of its zone.
    pub zone: String,
    /// What it says.
    pub device: Device,
}

/// Which devices somebody asks for; what is absent narrows nothing.
#[derive(Clone, Debug, Default)]
pub struct DeviceQuery {
    /// Id or name of a sensor that saw it.
    pub sensor: Option<String>,
    /// Name of the site of such a sensor.
    pub site: Option<String>,
    /// Part of its key, an address or a name.
    pub text: Option<String>,
    /// With a key after this one.
    pub after: Option<String>,
}

impl App {
    /// Devices in the order of their keys: `limit` of those asked for after skipping `skip`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn devices(&self, query: &DeviceQuery, skip: u32, limit: u32) -> Result<Vec<DeviceView>, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        let found = tx.devices(&self.device_filter(query), skip, limit).await?;
        drop(tx);
        Ok(self.fleet_ref(|fleet| found.into_iter().map(|(key, rows)| view(fleet, key, rows)).collect()))
    }

    /// How many devices are asked for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_devices(&self, query: &DeviceQuery) -> Result<u64, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        Ok(tx.count_devices(&self.device_filter(query)).await?)
    }

    fn device_filter(&self, query: &DeviceQuery) -> DeviceFilter {
        let sensors = self.fleet_ref(|fleet| fleet.chosen(query.sensor.as_deref(), query.site.as_deref(), None));
        DeviceFilter { sensors, text: query.text.clone(), after: query.after.clone() }
    }

    /// One device, by its key.
    ///
    /// # Errors
    /// When no sensor saw one or the store cannot be read.
    pub async fn device(&self, key: &str) -> Result<DeviceView, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        let rows = tx.device(key).await?;
        drop(tx);
        if rows.is_empty() {
            return Err(AppError::NotFound { what: "device", id: key.to_owned() });
        }
        Ok(self.fleet_ref(|fleet| view(fleet, key.to_owned(), rows)))
    }
}

fn view(fleet: &Fleet, key: String, rows: Vec<DeviceRow>) -> DeviceView {
    let seen = |row: DeviceRow| {
        let (sensor_name, site, zone) = fleet.names(row.sensor);
        SeenBy { sensor: row.sensor, sensor_name, site, zone, device: row.device }
    };
    let mut seen_by: Vec<_> = rows.into_iter().map(seen).collect();
    seen_by.sort_by_key(|seen| (std::cmp::Reverse(seen.device.last_seen), seen.sensor));
    let each = || seen_by.iter().map(|seen| &seen.device);
    DeviceView {
        addresses: each().flat_map(|device| device.addresses.iter().cloned()).collect(),
        names: each().flat_map(|device| device.names.iter().cloned()).collect(),
        hardware: each().find_map(|device| device.hardware.clone()),
        serves: each().flat_map(|device| device.serves.iter().cloned()).collect(),
        uses: each().flat_map(|device| device.uses.iter().cloned()).collect(),
        first_seen: each().map(|device| device.first_seen).min().unwrap_or_default(),
        last_seen: each().map(|device| device.last_seen).max().unwrap_or_default(),
        key,
        seen_by,
    }
}
