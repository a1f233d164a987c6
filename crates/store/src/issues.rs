//! Health issues, open and closed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use watchpost_core::id::{IssueId, SensorId};
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// A health issue as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct IssueRow<I> {
    /// Its id.
    pub id: IssueId,
    /// The sensor it is about; `None` for one of the whole workspace.
    pub sensor: Option<SensorId>,
    /// The word of its type.
    pub issue_type: String,
    /// Whether it is open.
    pub is_open: bool,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// All of it.
    pub issue: I,
}

impl Transaction {
    /// Adds health issues or saves them again, all in one statement.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_issues<I: Serialize>(&mut self, issues: &[IssueRow<I>]) -> Result<(), StoreError> {
        if issues.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(issues.len());
        for issue in issues {
            list.push((
                issue.id,
                issue.sensor,
                &issue.issue_type,
                i64::from(issue.is_open),
                issue.opened_at.millis(),
                to_json("health_issues", &issue.issue)?,
            ));
        }
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO health_issues (id, workspace_id, sensor_id, issue_type, is_open, opened_at, issue, revision) \
             SELECT json_extract(value, '$[0]'), $1, json_extract(value, '$[1]'), json_extract(value, '$[2]'), \
             json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), 1 \
             FROM json_each($2) WHERE true ON CONFLICT (id) DO UPDATE SET is_open = excluded.is_open, \
             issue = excluded.issue, revision = health_issues.revision + 1",
        )
        .bind(workspace)
        .bind(to_json("health_issues", &list)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All health issues, oldest first.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn issues<I: DeserializeOwned>(&mut self) -> Result<Vec<IssueRow<I>>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT id, sensor_id, issue_type, is_open, opened_at, issue FROM health_issues \
             WHERE workspace_id = $1 ORDER BY opened_at, id",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, "health_issues", "id");
            Ok(IssueRow {
                id: cells.parsed("id")?,
                sensor: cells.optional_parsed("sensor_id")?,
                issue_type: cells.text("issue_type")?,
                is_open: cells.flag("is_open")?,
                opened_at: cells.instant("opened_at")?,
                issue: cells.json("issue")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
