//! Rollouts, one per release, with a revision against two writers; and what happened in each.

use watchpost_core::rollout::{Event, Rollout};
use watchpost_core::version::Version;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// A rollout as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRow {
    /// Where it stands.
    pub rollout: Rollout,
    /// Grows with every save; a save of an older one is refused.
    pub revision: u64,
}

const TABLE: &str = "rollouts";

impl Transaction {
    /// Adds a rollout at revision 1.
    ///
    /// # Errors
    /// When that release has one or the store fails.
    pub async fn insert_rollout(&mut self, rollout: &Rollout) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("INSERT INTO rollouts (version, workspace_id, state, revision) VALUES ($1, $2, $3, 1)")
            .bind(rollout.version.to_string())
            .bind(workspace)
            .bind(to_json(TABLE, rollout)?)
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// Saves a rollout that was read at this revision; it is one higher afterwards.
    ///
    /// # Errors
    /// When somebody else changed it meanwhile or the store fails.
    pub async fn save_rollout(&mut self, row: &RolloutRow) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        let version = row.rollout.version.to_string();
        let saved = sqlx::query(
            "UPDATE rollouts SET state = $4, revision = revision + 1 \
             WHERE workspace_id = $1 AND version = $2 AND revision = $3",
        )
        .bind(workspace)
        .bind(&version)
        .bind(i64::try_from(row.revision).unwrap_or(i64::MAX))
        .bind(to_json(TABLE, &row.rollout)?)
        .execute(self.statement())
        .await?;
        if saved.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Changed { table: TABLE, id: version }) }
    }

    /// All rollouts.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn rollouts(&mut self) -> Result<Vec<RolloutRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query("SELECT version, state, revision FROM rollouts WHERE workspace_id = $1")
            .bind(workspace)
            .fetch_all(self.statement())
            .await?;
        let read = |row| {
            let cells = Cells::new(row, TABLE, "version");
            Ok(RolloutRow { rollout: cells.json("state")?, revision: cells.count("revision")? })
        };
        rows.iter().map(read).collect()
    }

    /// Adds events to the timelines of their rollouts, all in one statement.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn append_rollout_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(events.len());
        for event in events {
            list.push((event.version, event.at.millis(), event.sensor, to_json(TABLE, event)?));
        }
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO rollout_events (workspace_id, seq, version, at, sensor_id, event) \
             SELECT $1, last.seq + 1 + given.key, json_extract(given.value, '$[0]'), json_extract(given.value, '$[1]'), \
             json_extract(given.value, '$[2]'), json_extract(given.value, '$[3]') FROM json_each($2) AS given, \
             (SELECT COALESCE(MAX(seq), 0) AS seq FROM rollout_events WHERE workspace_id = $1) AS last",
        )
        .bind(workspace)
        .bind(to_json(TABLE, &list)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// What happened in the rollout of `version`, oldest first, `limit` events at most.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn rollout_events(&mut self, version: Version, limit: u32) -> Result<Vec<Event>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT seq, CAST(seq AS TEXT) AS id, event FROM rollout_events \
             WHERE workspace_id = $1 AND version = $2 ORDER BY seq LIMIT $3",
        )
        .bind(workspace)
        .bind(version.to_string())
        .bind(i64::from(limit))
        .fetch_all(self.statement())
        .await?;
        rows.iter().map(|row| Cells::new(row, "rollout_events", "id").json("event")).collect()
    }
}
