//! Access keys and the enrolments made with them.

use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;

use crate::cells::Cells;
use crate::hash::to_hex;
use crate::{StoreError, Transaction};

/// Most enrolments of one host that are looked at.
const ENROLMENTS_OF_HOST: i64 = 64;

/// That an enrolment was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentRow {
    /// Made by the host, once.
    pub enrolment_id: String,
    /// The sensor it made.
    pub sensor: SensorId,
    /// SHA-256 of the certificate it was made with.
    pub pin: [u8; 32],
    /// What the host calls itself, by which a clone is noticed.
    pub host_id: String,
}

/// Reads one row.
fn enrolment_of(row: &sqlx::sqlite::SqliteRow) -> Result<EnrolmentRow, StoreError> {
    let cells = Cells::new(row, "enrolments", "enrolment_id");
    Ok(EnrolmentRow {
        enrolment_id: cells.text("enrolment_id")?,
        sensor: cells.parsed("sensor_id")?,
        pin: cells.hash("pin_sha256")?,
        host_id: cells.text("host_id")?,
    })
}

impl Transaction {
    /// Makes the key with this hash the current one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replace_access_key(&mut self, secret: &[u8; 32], now: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("UPDATE access_keys SET retired_at = $2 WHERE workspace_id = $1 AND retired_at IS NULL")
            .bind(&workspace)
            .bind(now.millis())
            .execute(self.statement())
            .await?;
        sqlx::query("INSERT INTO access_keys (secret_sha256, workspace_id, created_at) VALUES ($1, $2, $3)")
            .bind(to_hex(secret))
            .bind(workspace)
            .bind(now.millis())
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// Hash of the current access key.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn access_key(&mut self) -> Result<Option<[u8; 32]>, StoreError> {
        let workspace = self.workspace.clone();
        let row =
            sqlx::query("SELECT secret_sha256 FROM access_keys WHERE workspace_id = $1 AND retired_at IS NULL LIMIT 1")
                .bind(workspace)
                .fetch_optional(self.statement())
                .await?;
        row.map(|row| Cells::new(&row, "access_keys", "secret_sha256").hash("secret_sha256")).transpose()
    }

    /// The enrolment with this id.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn enrolment(&mut self, enrolment_id: &str) -> Result<Option<EnrolmentRow>, StoreError> {
        let workspace = self.workspace.clone();
        let row = sqlx::query(
            "SELECT enrolment_id, sensor_id, pin_sha256, host_id FROM enrolments \
             WHERE workspace_id = $1 AND enrolment_id = $2",
        )
        .bind(workspace)
        .bind(enrolment_id)
        .fetch_optional(self.statement())
        .await?;
        row.as_ref().map(enrolment_of).transpose()
    }

    /// The newest enrolments of this host whose sensors still exist, newest first: one, unless an administrator has said
    /// that several hosts call themselves so.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn enrolments_of_host(&mut self, host_id: &str) -> Result<Vec<EnrolmentRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT e.enrolment_id, e.sensor_id, e.pin_sha256, e.host_id FROM enrolments e \
             JOIN sensors s ON s.id = e.sensor_id AND s.workspace_id = e.workspace_id \
             WHERE e.workspace_id = $1 AND e.host_id = $2 ORDER BY e.enrolled_at DESC, e.enrolment_id LIMIT $3",
        )
        .bind(workspace)
        .bind(host_id)
        .bind(ENROLMENTS_OF_HOST)
        .fetch_all(self.statement())
        .await?;
        rows.iter().map(enrolment_of).collect()
    }

    /// Notes that an enrolment was carried out.
    ///
    /// # Errors
    /// When the id was used before or the store fails.
    pub async fn insert_enrolment(&mut self, enrolment: &EnrolmentRow, now: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO enrolments (enrolment_id, workspace_id, sensor_id, pin_sha256, host_id, enrolled_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&enrolment.enrolment_id)
        .bind(workspace)
        .bind(enrolment.sensor.to_string())
        .bind(to_hex(&enrolment.pin))
        .bind(&enrolment.host_id)
        .bind(now.millis())
        .execute(self.statement())
        .await?;
        Ok(())
    }
}
