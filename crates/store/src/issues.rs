//! Health issues, open and closed.

use watchpost_core::health::{Issue, IssueType};
use watchpost_core::id::{IssueId, SensorId};

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// A health issue as it is remembered: one per sensor and type, opened and closed over and over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRow {
    /// Its id.
    pub id: IssueId,
    /// The sensor it is about.
    pub sensor: SensorId,
    /// Its type.
    pub kind: IssueType,
    /// All of it.
    pub issue: Issue,
}

impl Transaction {
    /// Adds health issues or saves them again, all in one statement.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_issues(&mut self, issues: &[IssueRow]) -> Result<(), StoreError> {
        if issues.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(issues.len());
        for issue in issues {
            list.push((
                issue.id,
                issue.sensor,
                issue.kind.word(),
                i64::from(issue.issue.is_open()),
                issue.issue.opened_at.millis(),
                to_json("health_issues", &issue.issue)?,
            ));
        }
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO health_issues (id, workspace_id, sensor_id, issue_type, is_open, opened_at, issue, revision) \
             SELECT json_extract(value, '$[0]'), $1, json_extract(value, '$[1]'), json_extract(value, '$[2]'), \
             json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), 1 \
             FROM json_each($2) WHERE true ON CONFLICT (id) DO UPDATE SET is_open = excluded.is_open, \
             opened_at = excluded.opened_at, issue = excluded.issue, revision = health_issues.revision + 1",
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
    pub async fn issues(&mut self) -> Result<Vec<IssueRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT id, sensor_id, issue_type, issue FROM health_issues \
             WHERE workspace_id = $1 ORDER BY opened_at, id",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, "health_issues", "id");
            let kind = cells.with("issue_type", IssueType::from_word)?;
            let (id, sensor) = (cells.parsed("id")?, cells.parsed("sensor_id")?);
            Ok(IssueRow { id, sensor, kind, issue: cells.json("issue")? })
        };
        rows.iter().map(read).collect()
    }
}
