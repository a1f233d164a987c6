//! Sensors: who they are, what they last reported, what they should be, and where their update stands.

use serde::{Deserialize, Serialize};
use watchpost_core::content::RulesOrder;
use watchpost_core::id::{SensorId, WorkspaceId, ZoneId};
use watchpost_core::sensor::{Sensor, SensorKind};
use watchpost_core::settings::SensorSettings;
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::hash::to_hex;
use crate::{StoreError, Transaction};

/// A sensor as it is remembered. Its health issues are rows of their own and are not part of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorRow {
    /// What is known of it; `issues` is empty, and `zone` follows from the row's zone when it is read.
    pub sensor: Sensor,
    /// The zone it stands in.
    pub zone: ZoneId,
    /// SHA-256 of the client certificate that it enrolled with.
    pub pin: [u8; 32],
    /// Grows with every save; a save of an older one is refused.
    pub revision: u64,
}

/// What was set at enrolment or by a person.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    kind: SensorKind,
    domain: String,
    domain_controllers: Vec<String>,
    delayed: bool,
    removed_from_directory: bool,
    settings_generation: u64,
    #[serde(default)]
    settings: SensorSettings,
    #[serde(default)]
    rules: RulesOrder,
    #[serde(default)]
    directory_object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_ordered_at: Option<Timestamp>,
}

impl Facts {
    fn of(sensor: &Sensor) -> Self {
        Self {
            kind: sensor.kind,
            domain: sensor.domain.clone(),
            domain_controllers: sensor.domain_controllers.clone(),
            delayed: sensor.delayed,
            removed_from_directory: sensor.removed_from_directory,
            settings_generation: sensor.settings_generation,
            settings: sensor.settings.clone(),
            rules: sensor.rules,
            directory_object: sensor.directory_object.clone(),
            certificate_ordered_at: sensor.certificate.ordered_at,
        }
    }
}

/// When a sensor was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Which one.
    pub sensor: SensorId,
    /// Its last check-in.
    pub seen_at: Option<Timestamp>,
    /// Its last pull of the configuration.
    pub pulled_at: Option<Timestamp>,
}

const TABLE: &str = "sensors";

impl Transaction {
    /// Adds a sensor at revision 1.
    ///
    /// # Errors
    /// When the pin belongs to another sensor or the store fails.
    pub async fn insert_sensor(&mut self, row: &SensorRow) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        let sensor = &row.sensor;
        sqlx::query(
            "INSERT INTO sensors (id, workspace_id, zone_id, name, pin_sha256, created_at, last_seen_at, \
             last_pulled_at, facts, report, update_record, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)",
        )
        .bind(sensor.id.to_string())
        .bind(workspace)
        .bind(row.zone.to_string())
        .bind(&sensor.name)
        .bind(to_hex(&row.pin))
        .bind(sensor.created_at.millis())
        .bind(sensor.last_contact.map(Timestamp::millis))
        .bind(sensor.last_config_pull.map(Timestamp::millis))
        .bind(to_json(TABLE, &Facts::of(sensor))?)
        .bind(to_json(TABLE, &sensor.report)?)
        .bind(to_json(TABLE, &sensor.update)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// Saves what changes in a sensor's life, for all of these in one statement. Each must carry the revision it was
    /// read with; it is one higher afterwards.
    ///
    /// # Errors
    /// When one of them was changed by somebody else meanwhile, or the store fails.
    pub async fn save_sensors(&mut self, sensors: &[(&Sensor, u64)]) -> Result<(), StoreError> {
        if sensors.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(sensors.len());
        for (sensor, revision) in sensors {
            list.push((
                sensor.id,
                revision,
                sensor.last_contact.map(Timestamp::millis),
                sensor.last_config_pull.map(Timestamp::millis),
                to_json(TABLE, &Facts::of(sensor))?,
                to_json(TABLE, &sensor.report)?,
                to_json(TABLE, &sensor.update)?,
            ));
        }
        let workspace = self.workspace.clone();
        let saved = sqlx::query(
            "UPDATE sensors SET last_seen_at = given.seen, last_pulled_at = given.pulled, facts = given.facts, \
             report = given.report, update_record = given.update_record, revision = sensors.revision + 1 \
             FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS revision, \
             json_extract(value, '$[2]') AS seen, json_extract(value, '$[3]') AS pulled, \
             json_extract(value, '$[4]') AS facts, json_extract(value, '$[5]') AS report, \
             json_extract(value, '$[6]') AS update_record FROM json_each($2)) AS given \
             WHERE sensors.workspace_id = $1 AND sensors.id = given.id AND sensors.revision = given.revision",
        )
        .bind(workspace)
        .bind(to_json(TABLE, &list)?)
        .execute(self.statement())
        .await?;
        if usize::try_from(saved.rows_affected()).is_ok_and(|rows| rows == sensors.len()) {
            return Ok(());
        }
        let ids: Vec<_> = sensors.iter().map(|(sensor, _)| sensor.id.to_string()).collect();
        Err(StoreError::Changed { table: TABLE, id: ids.join(", ") })
    }

    /// Notes when sensors were heard of, in one statement and in the order of their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_contacts(&mut self, contacts: &[Contact]) -> Result<(), StoreError> {
        if contacts.is_empty() {
            return Ok(());
        }
        let mut list: Vec<_> = contacts
            .iter()
            .map(|c| (c.sensor, c.seen_at.map(Timestamp::millis), c.pulled_at.map(Timestamp::millis)))
            .collect();
        list.sort_unstable_by_key(|(sensor, _, _)| *sensor);
        let workspace = self.workspace.clone();
        sqlx::query(
            "UPDATE sensors SET last_seen_at = given.seen, last_pulled_at = given.pulled FROM \
             (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS seen, \
             json_extract(value, '$[2]') AS pulled FROM json_each($2)) AS given \
             WHERE sensors.workspace_id = $1 AND sensors.id = given.id",
        )
        .bind(workspace)
        .bind(to_json(TABLE, &list)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All sensors, in the order of their ids.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn sensors(&mut self) -> Result<Vec<SensorRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT s.id, s.workspace_id, s.zone_id, s.name, s.pin_sha256, s.created_at, s.last_seen_at, \
             s.last_pulled_at, s.facts, s.report, s.update_record, s.revision, t.name || '/' || z.name AS place \
             FROM sensors s JOIN zones z ON z.id = s.zone_id JOIN sites t ON t.id = z.site_id \
             WHERE s.workspace_id = $1 ORDER BY s.id",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        rows.iter().map(|row| read(&Cells::new(row, TABLE, "id"))).collect()
    }
}

fn read(cells: &Cells<'_>) -> Result<SensorRow, StoreError> {
    let facts: Facts = cells.json("facts")?;
    let workspace: WorkspaceId = cells.parsed("workspace_id")?;
    let created_at = cells.instant("created_at")?;
    let mut sensor = Sensor::new(cells.parsed("id")?, workspace, cells.text("name")?, facts.kind, created_at);
    sensor.domain = facts.domain;
    sensor.zone = Some(cells.text("place")?);
    sensor.domain_controllers = facts.domain_controllers;
    sensor.delayed = facts.delayed;
    sensor.removed_from_directory = facts.removed_from_directory;
    sensor.settings_generation = facts.settings_generation;
    sensor.settings = facts.settings;
    sensor.rules = facts.rules;
    sensor.directory_object = facts.directory_object;
    sensor.certificate.ordered_at = facts.certificate_ordered_at;
    sensor.last_contact = cells.optional_instant("last_seen_at")?;
    sensor.last_config_pull = cells.optional_instant("last_pulled_at")?;
    sensor.report = cells.json("report")?;
    sensor.update = cells.json("update_record")?;
    Ok(SensorRow {
        sensor,
        zone: cells.parsed("zone_id")?,
        pin: cells.hash("pin_sha256")?,
        revision: cells.count("revision")?,
    })
}
