//! Health issues of the workspace, open and closed.

use watchpost_core::health::{Issue, IssueType};
use watchpost_core::id::IssueId;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// An issue of the workspace as it is remembered: one per source, type and subject, opened and closed over and over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalIssueRow {
    /// Its id.
    pub id: IssueId,
    /// Who looks after it.
    pub source: String,
    /// Its type.
    pub kind: IssueType,
    /// What it is about.
    pub subject: String,
    /// All of it.
    pub issue: Issue,
}

const TABLE: &str = "global_issues";

impl Transaction {
    /// Adds issues of the workspace or saves them again, all in one statement.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_global_issues(&mut self, issues: &[GlobalIssueRow]) -> Result<(), StoreError> {
        if issues.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(issues.len());
        for row in issues {
            let (is_open, opened_at) = (i64::from(row.issue.is_open()), row.issue.opened_at.millis());
            let issue = to_json(TABLE, &row.issue)?;
            list.push((row.id, &row.source, row.kind.word(), &row.subject, is_open, opened_at, issue));
        }
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO global_issues \
             (id, workspace_id, source, issue_type, subject, is_open, opened_at, issue, revision) \
             SELECT json_extract(value, '$[0]'), $1, json_extract(value, '$[1]'), json_extract(value, '$[2]'), \
             json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), \
             json_extract(value, '$[6]'), 1 \
             FROM json_each($2) WHERE true ON CONFLICT (id) DO UPDATE SET is_open = excluded.is_open, \
             opened_at = excluded.opened_at, issue = excluded.issue, revision = global_issues.revision + 1",
        )
        .bind(workspace)
        .bind(to_json(TABLE, &list)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All issues of the workspace, oldest first.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn global_issues(&mut self) -> Result<Vec<GlobalIssueRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT id, source, issue_type, subject, issue FROM global_issues \
             WHERE workspace_id = $1 ORDER BY opened_at, id",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, TABLE, "id");
            let kind = cells.with("issue_type", IssueType::from_word)?;
            let (source, subject) = (cells.text("source")?, cells.text("subject")?);
            Ok(GlobalIssueRow { id: cells.parsed("id")?, source, kind, subject, issue: cells.json("issue")? })
        };
        rows.iter().map(read).collect()
    }
}
