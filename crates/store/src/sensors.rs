//! Sensors: who they are, what they last reported, what they should be, and where their update stands.

use serde_json::Value;
use watchpost_core::id::{SensorId, ZoneId};
use watchpost_core::sync::{Desired, Report};
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::hash::to_hex;
use crate::{StoreError, Transaction};

/// A sensor as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorRow {
    /// Its id.
    pub id: SensorId,
    /// The zone it stands in.
    pub zone: ZoneId,
    /// NetBIOS name.
    pub name: String,
    /// SHA-256 of its client certificate.
    pub pin: [u8; 32],
    /// When it enrolled.
    pub created_at: Timestamp,
    /// When it last checked in, up to half a minute behind.
    pub last_seen_at: Option<Timestamp>,
    /// When it last pulled its configuration, as far behind.
    pub last_pulled_at: Option<Timestamp>,
    /// What was set at enrolment or by a person.
    pub facts: Value,
    /// What it last reported.
    pub report: Report,
    /// What it should be.
    pub desired: Desired,
    /// Where its update stands.
    pub update: Value,
    /// Grows with every save; a save of an older one is refused.
    pub revision: u64,
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
    pub async fn insert_sensor(&mut self, sensor: &SensorRow) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO sensors (id, workspace_id, zone_id, name, pin_sha256, created_at, last_seen_at, \
             last_pulled_at, facts, report, desired, update_record, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)",
        )
        .bind(sensor.id.to_string())
        .bind(workspace)
        .bind(sensor.zone.to_string())
        .bind(&sensor.name)
        .bind(to_hex(&sensor.pin))
        .bind(sensor.created_at.millis())
        .bind(sensor.last_seen_at.map(Timestamp::millis))
        .bind(sensor.last_pulled_at.map(Timestamp::millis))
        .bind(to_json(TABLE, &sensor.facts)?)
        .bind(to_json(TABLE, &sensor.report)?)
        .bind(to_json(TABLE, &sensor.desired)?)
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
    pub async fn save_sensors(&mut self, sensors: &[SensorRow]) -> Result<(), StoreError> {
        if sensors.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(sensors.len());
        for sensor in sensors {
            list.push((
                sensor.id,
                sensor.revision,
                sensor.last_seen_at.map(Timestamp::millis),
                sensor.last_pulled_at.map(Timestamp::millis),
                to_json(TABLE, &sensor.facts)?,
                to_json(TABLE, &sensor.report)?,
                to_json(TABLE, &sensor.desired)?,
                to_json(TABLE, &sensor.update)?,
            ));
        }
        let workspace = self.workspace.clone();
        let saved = sqlx::query(
            "UPDATE sensors SET last_seen_at = given.seen, last_pulled_at = given.pulled, facts = given.facts, \
             report = given.report, desired = given.desired, update_record = given.update_record, \
             revision = sensors.revision + 1 FROM (SELECT json_extract(value, '$[0]') AS id, \
             json_extract(value, '$[1]') AS revision, json_extract(value, '$[2]') AS seen, \
             json_extract(value, '$[3]') AS pulled, json_extract(value, '$[4]') AS facts, \
             json_extract(value, '$[5]') AS report, json_extract(value, '$[6]') AS desired, \
             json_extract(value, '$[7]') AS update_record FROM json_each($2)) AS given \
             WHERE sensors.workspace_id = $1 AND sensors.id = given.id AND sensors.revision = given.revision",
        )
        .bind(workspace)
        .bind(to_json(TABLE, &list)?)
        .execute(self.statement())
        .await?;
        if usize::try_from(saved.rows_affected()).is_ok_and(|rows| rows == sensors.len()) {
            return Ok(());
        }
        let ids: Vec<_> = sensors.iter().map(|sensor| sensor.id.to_string()).collect();
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
            "SELECT id, zone_id, name, pin_sha256, created_at, last_seen_at, last_pulled_at, facts, report, desired, \
             update_record, revision FROM sensors WHERE workspace_id = $1 ORDER BY id",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        rows.iter().map(|row| read(&Cells::new(row, TABLE, "id"))).collect()
    }
}

fn read(cells: &Cells<'_>) -> Result<SensorRow, StoreError> {
    Ok(SensorRow {
        id: cells.parsed("id")?,
        zone: cells.parsed("zone_id")?,
        name: cells.text("name")?,
        pin: cells.hash("pin_sha256")?,
        created_at: cells.instant("created_at")?,
        last_seen_at: cells.optional_instant("last_seen_at")?,
        last_pulled_at: cells.optional_instant("last_pulled_at")?,
        facts: cells.json("facts")?,
        report: cells.json("report")?,
        desired: cells.json("desired")?,
        update: cells.json("update_record")?,
        revision: cells.count("revision")?,
    })
}
