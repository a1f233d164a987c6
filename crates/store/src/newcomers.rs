//! Newcomers in quarantine: hosts with the identity of an enrolled one and another key.

use watchpost_core::clones::{HostFacts, Newcomer};
use watchpost_core::identity::Pin;
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

const TABLE: &str = "newcomers";

impl Transaction {
    /// Saves a newcomer, in the place of what was known of its key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_newcomer(&mut self, newcomer: &Newcomer) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO newcomers (workspace_id, pin_sha256, sensor_id, host_id, enrolment_id, asked_from, facts, \
             first_at, last_at, attempts, refused_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (workspace_id, pin_sha256) DO UPDATE SET sensor_id = excluded.sensor_id, \
             host_id = excluded.host_id, enrolment_id = excluded.enrolment_id, asked_from = excluded.asked_from, \
             facts = excluded.facts, last_at = excluded.last_at, attempts = excluded.attempts, \
             refused_at = excluded.refused_at",
        )
        .bind(workspace)
        .bind(newcomer.pin.to_string())
        .bind(newcomer.sensor.to_string())
        .bind(&newcomer.host_id)
        .bind(&newcomer.enrolment_id)
        .bind(&newcomer.from)
        .bind(to_json(TABLE, &newcomer.facts)?)
        .bind(newcomer.first_at.millis())
        .bind(newcomer.last_at.millis())
        .bind(i64::from(newcomer.attempts))
        .bind(newcomer.refused_at.map(Timestamp::millis))
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// Forgets the newcomers with these keys, in one statement.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_newcomers(&mut self, pins: &[Pin]) -> Result<(), StoreError> {
        if pins.is_empty() {
            return Ok(());
        }
        let workspace = self.workspace.clone();
        sqlx::query(
            "DELETE FROM newcomers WHERE workspace_id = $1 AND pin_sha256 IN (SELECT value FROM json_each($2))",
        )
        .bind(workspace)
        .bind(to_json(TABLE, &pins)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All newcomers.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn newcomers(&mut self) -> Result<Vec<Newcomer>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT pin_sha256, sensor_id, host_id, enrolment_id, asked_from, facts, first_at, last_at, attempts, \
             refused_at FROM newcomers WHERE workspace_id = $1 ORDER BY pin_sha256",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, TABLE, "pin_sha256");
            Ok(Newcomer {
                pin: Pin::from(cells.hash("pin_sha256")?),
                sensor: cells.parsed("sensor_id")?,
                host_id: cells.text("host_id")?,
                enrolment_id: cells.text("enrolment_id")?,
                from: cells.text("asked_from")?,
                facts: cells.json::<HostFacts>("facts")?,
                first_at: cells.instant("first_at")?,
                last_at: cells.instant("last_at")?,
                attempts: u32::try_from(cells.count("attempts")?).unwrap_or(u32::MAX),
                refused_at: cells.optional_instant("refused_at")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
