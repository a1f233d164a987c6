//! Alerts: each once, however often it is sent; what a person made of one stays with it.

use sqlx::{QueryBuilder, Sqlite};
use watchpost_core::evidence::{Alert, AlertLevel, AlertStatus};
use watchpost_core::facts::EngineKind;
use watchpost_core::id::{AlertId, SensorId};
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

const TABLE: &str = "alerts";
const COLUMNS: &str = "SELECT id, sensor_id, sensor_alert_id, at, received_at, engine, rule_id, rule_title, level, \
     status, event, devices, has_packets FROM alerts WHERE workspace_id = ";

/// An alert as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Its id here; it begins with the alert's instant.
    pub id: AlertId,
    /// The sensor that raised it.
    pub sensor: SensorId,
    /// When it arrived.
    pub received_at: Timestamp,
    /// What a person has made of it.
    pub status: AlertStatus,
    /// What the sensor says.
    pub alert: Alert,
}

/// Which alerts are meant. What is empty or absent narrows nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AlertFilter {
    /// Of these sensors; `Some` of none is none.
    pub sensors: Option<Vec<SensorId>>,
    /// One of these levels.
    pub levels: Vec<AlertLevel>,
    /// In one of these states.
    pub statuses: Vec<AlertStatus>,
    /// By this engine.
    pub engine: Option<EngineKind>,
    /// Not before this instant.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Older than this one: where a page goes on.
    pub before: Option<AlertId>,
}

impl AlertFilter {
    fn push(&self, sql: &mut QueryBuilder<Sqlite>) -> Result<(), StoreError> {
        let mut narrow = |text: &str, value: String| {
            sql.push(text).push_bind(value);
        };
        match self.sensors.as_deref() {
            None => {}
            Some([one]) => narrow(" AND sensor_id = ", one.to_string()),
            Some(several) => {
                narrow(" AND sensor_id IN (SELECT value FROM json_each(", to_json(TABLE, &several)?);
                sql.push("))");
            }
        }
        let mut narrow = |column: &str, words: Vec<&'static str>| {
            let mut parts = sql.push(" AND ").push(column).push(" IN (").separated(", ");
            words.into_iter().for_each(|word| {
                parts.push_bind(word);
            });
            sql.push(")");
        };
        if !self.levels.is_empty() {
            narrow("level", self.levels.iter().map(|level| level.word()).collect());
        }
        if !self.statuses.is_empty() {
            narrow("status", self.statuses.iter().map(|status| status.word()).collect());
        }
        if let Some(engine) = self.engine {
            narrow("engine", vec![engine.word()]);
        }
        // The order of ids is the order of time, so the one index serves both.
        let mut bound = |text: &str, id: AlertId| {
            sql.push(text).push_bind(id.to_string());
        };
        if let Some(from) = self.from {
            bound(" AND id >= ", AlertId::from_parts(from, 0));
        }
        if let Some(until) = self.until {
            bound(" AND id < ", AlertId::from_parts(until, 0));
        }
        if let Some(before) = self.before {
            bound(" AND id < ", before);
        }
        Ok(())
    }
}

impl Transaction {
    /// Takes alerts that are not there yet, in one statement; tells how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_alerts(&mut self, rows: &[AlertRow]) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let list: Vec<_> = rows
            .iter()
            .map(|AlertRow { id, sensor, received_at, status, alert }| {
                let (at, engine, level) = (alert.at.millis(), alert.engine.word(), alert.level.word());
                let first = (id, sensor, &alert.id, at, received_at.millis(), engine, &alert.rule_id);
                let rest = (level, status.word(), &alert.event, &alert.devices, i64::from(alert.has_packets));
                (first, &alert.rule_title, rest)
            })
            .collect();
        let workspace = self.workspace.clone();
        let taken = sqlx::query(
            "INSERT INTO alerts (workspace_id, id, sensor_id, sensor_alert_id, at, received_at, engine, rule_id, \
             rule_title, level, status, event, devices, has_packets) \
             SELECT $1, json_extract(value, '$[0][0]'), json_extract(value, '$[0][1]'), \
             json_extract(value, '$[0][2]'), json_extract(value, '$[0][3]'), json_extract(value, '$[0][4]'), \
             json_extract(value, '$[0][5]'), json_extract(value, '$[0][6]'), json_extract(value, '$[1]'), \
             json_extract(value, '$[2][0]'), json_extract(value, '$[2][1]'), json_extract(value, '$[2][2]'), \
             json_extract(value, '$[2][3]'), json_extract(value, '$[2][4]') \
             FROM json_each($2) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(workspace)
        .bind(to_json(TABLE, &list)?)
        .execute(self.statement())
        .await?;
        Ok(taken.rows_affected())
    }

    /// The newest alerts of those that are meant: `limit` of them after skipping `skip`.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn alerts(&mut self, filter: &AlertFilter, skip: u32, limit: u32) -> Result<Vec<AlertRow>, StoreError> {
        let mut sql = QueryBuilder::new(COLUMNS);
        sql.push_bind(self.workspace.clone());
        filter.push(&mut sql)?;
        sql.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        sql.push(" OFFSET ").push_bind(i64::from(skip));
        let rows = sql.build().fetch_all(self.statement()).await?;
        rows.iter().map(|row| read(&Cells::new(row, TABLE, "id"))).collect()
    }

    /// How many alerts are meant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_alerts(&mut self, filter: &AlertFilter) -> Result<u64, StoreError> {
        let mut sql = QueryBuilder::new("SELECT COUNT(*) FROM alerts WHERE workspace_id = ");
        sql.push_bind(self.workspace.clone());
        filter.push(&mut sql)?;
        let count: i64 = sql.build_query_scalar().fetch_one(self.statement()).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// One alert.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn alert(&mut self, id: AlertId) -> Result<Option<AlertRow>, StoreError> {
        let mut sql = QueryBuilder::new(COLUMNS);
        sql.push_bind(self.workspace.clone()).push(" AND id = ").push_bind(id.to_string());
        let row = sql.build().fetch_optional(self.statement()).await?;
        row.as_ref().map(|row| read(&Cells::new(row, TABLE, "id"))).transpose()
    }

    /// Notes what a person made of an alert.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_alert_status(&mut self, id: AlertId, status: AlertStatus) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("UPDATE alerts SET status = $3 WHERE workspace_id = $1 AND id = $2")
            .bind(workspace)
            .bind(id.to_string())
            .bind(status.word())
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// Forgets at most `limit` alerts from before `before`; tells how many there were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_alerts(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let workspace = self.workspace.clone();
        let gone = sqlx::query(
            "DELETE FROM alerts WHERE workspace_id = $1 AND id IN \
             (SELECT id FROM alerts WHERE workspace_id = $1 AND id < $2 ORDER BY id LIMIT $3)",
        )
        .bind(workspace)
        .bind(AlertId::from_parts(before, 0).to_string())
        .bind(i64::from(limit))
        .execute(self.statement())
        .await?;
        Ok(gone.rows_affected())
    }

    /// Sensors with more than `most` alerts, and how many they have beyond that.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn sensors_over_alerts(&mut self, most: u64) -> Result<Vec<(SensorId, u64)>, StoreError> {
        let sql = "SELECT sensor_id, COUNT(*) - $2 AS beyond FROM alerts WHERE workspace_id = $1 \
             GROUP BY sensor_id HAVING COUNT(*) > $2 ORDER BY sensor_id";
        self.sensors_over(sql, TABLE, most).await
    }

    /// Forgets the oldest `count` alerts of one sensor.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_oldest_alerts(&mut self, sensor: SensorId, count: u32) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "DELETE FROM alerts WHERE workspace_id = $1 AND id IN \
             (SELECT id FROM alerts WHERE workspace_id = $1 AND sensor_id = $2 ORDER BY id LIMIT $3)",
        )
        .bind(workspace)
        .bind(sensor.to_string())
        .bind(i64::from(count))
        .execute(self.statement())
        .await?;
        Ok(())
    }
}

fn read(cells: &Cells<'_>) -> Result<AlertRow, StoreError> {
    let alert = Alert {
        id: cells.text("sensor_alert_id")?,
        at: cells.instant("at")?,
        engine: cells.with("engine", EngineKind::from_word)?,
        rule_id: cells.text("rule_id")?,
        rule_title: cells.text("rule_title")?,
        level: AlertLevel::from_word(&cells.text("level")?),
        event: cells.json("event")?,
        devices: cells.json("devices")?,
        has_packets: cells.flag("has_packets")?,
    };
    Ok(AlertRow {
        id: cells.parsed("id")?,
        sensor: cells.parsed("sensor_id")?,
        received_at: cells.instant("received_at")?,
        status: cells.with("status", AlertStatus::from_word)?,
        alert,
    })
}
