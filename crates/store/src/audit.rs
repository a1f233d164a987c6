//! The audit log: rows are added, never changed and never removed.

use serde_json::Value;
use watchpost_core::id::AuditId;
use watchpost_core::time::Timestamp;

use crate::cells::Cells;
use crate::{StoreError, Transaction};

/// A change to be noted.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Id of the row.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who, in words: a person, a token, a sensor or the server itself.
    pub actor: String,
    /// What was done, as a word: `release.publish`, `rollout.pause`, …
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// The subject before, where there was one.
    pub before: Option<Value>,
    /// The subject after, where there is one.
    pub after: Option<Value>,
    /// Why, as given by whoever did it.
    pub reason: Option<String>,
}

/// A change as it was noted.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Position in the log, from 1, without gaps.
    pub seq: u64,
    /// What was noted.
    pub entry: AuditEntry,
}

impl Transaction {
    /// Adds a row at the end of the log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO audit (seq, id, workspace_id, at, actor, action, subject, before_json, after_json, reason) \
             SELECT COALESCE(MAX(seq), 0) + 1, $2, $1, $3, $4, $5, $6, $7, $8, $9 FROM audit WHERE workspace_id = $1",
        )
        .bind(workspace)
        .bind(entry.id.to_string())
        .bind(entry.at.millis())
        .bind(&entry.actor)
        .bind(&entry.action)
        .bind(&entry.subject)
        .bind(entry.before.as_ref().map(Value::to_string))
        .bind(entry.after.as_ref().map(Value::to_string))
        .bind(&entry.reason)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// The newest rows first: `limit` of them after skipping `skip`.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn audit(&mut self, skip: u32, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT seq, id, at, actor, action, subject, before_json, after_json, reason FROM audit \
             WHERE workspace_id = $1 ORDER BY seq DESC LIMIT $2 OFFSET $3",
        )
        .bind(workspace)
        .bind(i64::from(limit))
        .bind(i64::from(skip))
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, "audit", "id");
            let entry = AuditEntry {
                id: cells.parsed("id")?,
                at: cells.instant("at")?,
                actor: cells.text("actor")?,
                action: cells.text("action")?,
                subject: cells.text("subject")?,
                before: cells.optional_json("before_json")?,
                after: cells.optional_json("after_json")?,
                reason: cells.optional_text("reason")?,
            };
            Ok(AuditRow { seq: cells.count("seq")?, entry })
        };
        rows.iter().map(read).collect()
    }
}
