//! Settings of the workspace that people change while the server runs: a name, a JSON value, a revision.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

impl Transaction {
    /// The setting called `name` with its revision.
    ///
    /// # Errors
    /// When the value cannot be read or the store fails.
    pub async fn setting<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<(T, u64)>, StoreError> {
        let workspace = self.workspace.clone();
        let row = sqlx::query("SELECT name, value, revision FROM settings WHERE workspace_id = $1 AND name = $2")
            .bind(workspace)
            .bind(name)
            .fetch_optional(self.statement())
            .await?;
        let read = |row| {
            let cells = Cells::new(row, "settings", "name");
            Ok((cells.json("value")?, cells.count("revision")?))
        };
        row.as_ref().map(read).transpose()
    }

    /// Writes the setting called `name`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_setting<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), StoreError> {
        let value = to_json("settings", value)?;
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO settings (name, workspace_id, value, revision) VALUES ($2, $1, $3, 1) \
             ON CONFLICT (workspace_id, name) DO UPDATE SET value = excluded.value, revision = settings.revision + 1",
        )
        .bind(workspace)
        .bind(name)
        .bind(value)
        .execute(self.statement())
        .await?;
        Ok(())
    }
}
