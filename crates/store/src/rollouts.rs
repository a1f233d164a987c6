//! Rollouts: one per release, with a revision against two writers.

use serde::Serialize;
use serde::de::DeserializeOwned;
use watchpost_core::version::Version;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// A rollout as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutRow<R> {
    /// Which release it brings out.
    pub version: Version,
    /// Where it stands.
    pub state: R,
    /// Grows with every save; a save of an older one is refused.
    pub revision: u64,
}

impl Transaction {
    /// Adds a rollout at revision 1.
    ///
    /// # Errors
    /// When that release has one or the store fails.
    pub async fn insert_rollout<R: Serialize>(&mut self, version: Version, state: &R) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("INSERT INTO rollouts (version, workspace_id, state, revision) VALUES ($1, $2, $3, 1)")
            .bind(version.to_string())
            .bind(workspace)
            .bind(to_json("rollouts", state)?)
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// Saves a rollout that was read at this revision; it is one higher afterwards.
    ///
    /// # Errors
    /// When somebody else changed it meanwhile or the store fails.
    pub async fn save_rollout<R: Serialize>(&mut self, rollout: &RolloutRow<R>) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        let saved = sqlx::query(
            "UPDATE rollouts SET state = $4, revision = revision + 1 \
             WHERE workspace_id = $1 AND version = $2 AND revision = $3",
        )
        .bind(workspace)
        .bind(rollout.version.to_string())
        .bind(i64::try_from(rollout.revision).unwrap_or(i64::MAX))
        .bind(to_json("rollouts", &rollout.state)?)
        .execute(self.statement())
        .await?;
        if saved.rows_affected() == 1 {
            return Ok(());
        }
        Err(StoreError::Changed { table: "rollouts", id: rollout.version.to_string() })
    }

    /// All rollouts.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn rollouts<R: DeserializeOwned>(&mut self) -> Result<Vec<RolloutRow<R>>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query("SELECT version, state, revision FROM rollouts WHERE workspace_id = $1")
            .bind(workspace)
            .fetch_all(self.statement())
            .await?;
        let read = |row| {
            let cells = Cells::new(row, "rollouts", "version");
            Ok(RolloutRow {
                version: cells.parsed("version")?,
                state: cells.json("state")?,
                revision: cells.count("revision")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
