//! Devices as the sensors that saw them describe them, and how far each sensor's stream of evidence was taken.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite};
use watchpost_core::evidence::Device;
use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

const TABLE: &str = "devices";
/// Streams of one sensor that are remembered; a sensor begins another one only when its disk was lost.
const STREAMS_KEPT: u64 = 8;

/// How far a stream was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which stream of its sensor it is, counted from 1.
    pub ordinal: u64,
    /// Everything up to this number was taken.
    pub through: u64,
}

/// A device as one sensor describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// The sensor that saw it.
    pub sensor: SensorId,
    /// What it says of it; first seen is the earliest it ever said.
    pub device: Device,
}

/// Which devices are meant. What is absent narrows nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceFilter {
    /// Seen by one of these sensors; `Some` of none is none.
    pub sensors: Option<Vec<SensorId>>,
    /// With this in its key, an address or a name.
    pub text: Option<String>,
    /// With a key after this one: where a page goes on.
    pub after: Option<String>,
}

impl DeviceFilter {
    fn push(&self, sql: &mut QueryBuilder<Sqlite>) -> Result<(), StoreError> {
        if let Some(sensors) = &self.sensors {
            sql.push(" AND sensor_id IN (SELECT value FROM json_each(").push_bind(to_json(TABLE, sensors)?).push("))");
        }
        if let Some(text) = &self.text {
            sql.push(" AND search_text LIKE ").push_bind(pattern(text)).push(" ESCAPE '\\'");
        }
        if let Some(after) = &self.after {
            sql.push(" AND device_key > ").push_bind(after.clone());
        }
        Ok(())
    }
}

/// Matches what holds `text`, each character of which stands for itself.
fn pattern(text: &str) -> String {
    let plain = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{plain}%")
}

/// What a device is found by.
fn search_text(device: &Device) -> String {
    let known = device.addresses.iter().chain(&device.names).chain(&device.hardware);
    let mut text = device.key.to_lowercase();
    for part in known {
        text.push('\n');
        text.push_str(&part.to_lowercase());
    }
    text
}

impl Transaction {
    /// Notes that a stream was taken up to `through`, never less than before; tells how far it is taken.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn take_stream(
        &mut self,
        sensor: SensorId,
        stream: &str,
        through: u64,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let workspace = self.workspace.clone();
        let row = sqlx::query(
            "INSERT INTO evidence_streams (workspace_id, sensor_id, stream, ordinal, taken_through, taken_at) \
             SELECT $1, $2, $3, COALESCE(MAX(ordinal), 0) + 1, $4, $5 FROM evidence_streams \
             WHERE workspace_id = $1 AND sensor_id = $2 \
             ON CONFLICT (workspace_id, sensor_id, stream) DO UPDATE SET \
             taken_at = CASE WHEN excluded.taken_through > evidence_streams.taken_through \
             THEN excluded.taken_at ELSE evidence_streams.taken_at END, \
             taken_through = CASE WHEN excluded.taken_through > evidence_streams.taken_through \
             THEN excluded.taken_through ELSE evidence_streams.taken_through END \
             RETURNING stream, ordinal, taken_through",
        )
        .bind(workspace.clone())
        .bind(sensor.to_string())
        .bind(stream)
        .bind(i64::try_from(through).unwrap_or(i64::MAX))
        .bind(now.millis())
        .fetch_one(self.statement())
        .await?;
        let cells = Cells::new(&row, "evidence_streams", "stream");
        let taken = Taken { ordinal: cells.count("ordinal")?, through: cells.count("taken_through")? };
        if let Some(last) = taken.ordinal.checked_sub(STREAMS_KEPT).filter(|last| *last > 0) {
            sqlx::query("DELETE FROM evidence_streams WHERE workspace_id = $1 AND sensor_id = $2 AND ordinal <= $3")
                .bind(workspace)
                .bind(sensor.to_string())
                .bind(i64::try_from(last).unwrap_or(i64::MAX))
                .execute(self.statement())
                .await?;
        }
        Ok(taken)
    }

    /// Takes a sensor's word on devices, in one statement; one that is no newer than the kept one changes nothing.
    /// Tells how many were added or changed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_devices(&mut self, sensor: SensorId, word: Taken, devices: &[Device]) -> Result<u64, StoreError> {
        if devices.is_empty() {
            return Ok(0);
        }
        let list: Vec<_> = devices
            .iter()
            .map(|device| {
                (&device.key, device.first_seen.millis(), device.last_seen.millis(), device, search_text(device))
            })
            .collect();
        let workspace = self.workspace.clone();
        let taken = sqlx::query(
            "INSERT INTO devices (workspace_id, sensor_id, device_key, first_seen, last_seen, device, search_text, \
             ordinal, through) \
             SELECT $1, $2, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), \
             json_extract(value, '$[3]'), json_extract(value, '$[4]'), $4, $5 FROM json_each($3) WHERE true \
             ON CONFLICT (workspace_id, device_key, sensor_id) DO UPDATE SET \
             first_seen = CASE WHEN excluded.first_seen < devices.first_seen \
             THEN excluded.first_seen ELSE devices.first_seen END, \
             last_seen = excluded.last_seen, device = excluded.device, search_text = excluded.search_text, \
             ordinal = excluded.ordinal, through = excluded.through \
             WHERE devices.ordinal < excluded.ordinal \
             OR (devices.ordinal = excluded.ordinal AND devices.through < excluded.through)",
        )
        .bind(workspace)
        .bind(sensor.to_string())
        .bind(to_json(TABLE, &list)?)
        .bind(i64::try_from(word.ordinal).unwrap_or(i64::MAX))
        .bind(i64::try_from(word.through).unwrap_or(i64::MAX))
        .execute(self.statement())
        .await?;
        Ok(taken.rows_affected())
    }

    /// The devices that are meant in the order of their keys, each with every sensor that saw it: `limit` of them
    /// after skipping `skip`.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn devices(
        &mut self,
        filter: &DeviceFilter,
        skip: u32,
        limit: u32,
    ) -> Result<BTreeMap<String, Vec<DeviceRow>>, StoreError> {
        let mut sql =
            QueryBuilder::new("SELECT device_key, sensor_id, first_seen, device FROM devices WHERE workspace_id = ");
        sql.push_bind(self.workspace.clone());
        sql.push(" AND device_key IN (SELECT device_key FROM devices WHERE workspace_id = ");
        sql.push_bind(self.workspace.clone());
        filter.push(&mut sql)?;
        sql.push(" GROUP BY device_key ORDER BY device_key LIMIT ").push_bind(i64::from(limit));
        sql.push(" OFFSET ").push_bind(i64::from(skip)).push(") ORDER BY device_key, sensor_id");
        let mut found: BTreeMap<String, Vec<DeviceRow>> = BTreeMap::new();
        for row in sql.build().fetch_all(self.statement()).await? {
            let cells = Cells::new(&row, TABLE, "device_key");
            found.entry(cells.text("device_key")?).or_default().push(read(&cells)?);
        }
        Ok(found)
    }

    /// How many devices are meant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_devices(&mut self, filter: &DeviceFilter) -> Result<u64, StoreError> {
        let mut sql = QueryBuilder::new("SELECT COUNT(DISTINCT device_key) FROM devices WHERE workspace_id = ");
        sql.push_bind(self.workspace.clone());
        filter.push(&mut sql)?;
        let count: i64 = sql.build_query_scalar().fetch_one(self.statement()).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// One device as every sensor that saw it describes it; none: there is no such device.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn device(&mut self, key: &str) -> Result<Vec<DeviceRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT device_key, sensor_id, first_seen, device FROM devices \
             WHERE workspace_id = $1 AND device_key = $2 ORDER BY sensor_id",
        )
        .bind(workspace)
        .bind(key)
        .fetch_all(self.statement())
        .await?;
        rows.iter().map(|row| read(&Cells::new(row, TABLE, "device_key"))).collect()
    }

    /// Forgets at most `limit` devices that were last seen before `before`; tells how many there were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_devices(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let workspace = self.workspace.clone();
        let gone = sqlx::query(
            "DELETE FROM devices WHERE (workspace_id, device_key, sensor_id) IN \
             (SELECT workspace_id, device_key, sensor_id FROM devices \
             WHERE workspace_id = $1 AND last_seen < $2 ORDER BY last_seen LIMIT $3)",
        )
        .bind(workspace)
        .bind(before.millis())
        .bind(i64::from(limit))
        .execute(self.statement())
        .await?;
        Ok(gone.rows_affected())
    }

    /// Sensors with more than `most` devices, and how many they have beyond that.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn sensors_over_devices(&mut self, most: u64) -> Result<Vec<(SensorId, u64)>, StoreError> {
        let sql = "SELECT sensor_id, COUNT(*) - $2 AS beyond FROM devices WHERE workspace_id = $1 \
             GROUP BY sensor_id HAVING COUNT(*) > $2 ORDER BY sensor_id";
        self.sensors_over(sql, TABLE, most).await
    }

    /// Forgets the `count` devices that one sensor has not seen for the longest time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_longest_unseen(&mut self, sensor: SensorId, count: u32) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "DELETE FROM devices WHERE (workspace_id, device_key, sensor_id) IN \
             (SELECT workspace_id, device_key, sensor_id FROM devices \
             WHERE workspace_id = $1 AND sensor_id = $2 ORDER BY last_seen LIMIT $3)",
        )
        .bind(workspace)
        .bind(sensor.to_string())
        .bind(i64::from(count))
        .execute(self.statement())
        .await?;
        Ok(())
    }

    pub(crate) async fn sensors_over(
        &mut self,
        sql: &'static str,
        table: &'static str,
        most: u64,
    ) -> Result<Vec<(SensorId, u64)>, StoreError> {
        let workspace = self.workspace.clone();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(workspace).bind(most).fetch_all(self.statement()).await?;
        let read = |row| {
            let cells = Cells::new(row, table, "sensor_id");
            Ok((cells.parsed("sensor_id")?, cells.count("beyond")?))
        };
        rows.iter().map(read).collect()
    }
}

fn read(cells: &Cells<'_>) -> Result<DeviceRow, StoreError> {
    let mut device: Device = cells.json("device")?;
    device.first_seen = cells.instant("first_seen")?;
    Ok(DeviceRow { sensor: cells.parsed("sensor_id")?, device })
}
