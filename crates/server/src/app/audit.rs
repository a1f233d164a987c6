//! The audit log: who changed what, when and why. Written in the transaction of the change itself.

use serde_json::Value;
use watchpost_core::id::AuditId;
use watchpost_store::{AuditEntry, AuditRow, Transaction};

use super::{App, AppError};
use crate::auth::access::Actor;
use crate::auth::secret::random_bits;

/// Most rows of the audit log in one answer.
pub const MAX_AUDIT_PAGE: u32 = 1_000;

impl App {
    /// Notes a change within the transaction that makes it.
    #[expect(clippy::too_many_arguments, reason = "one for each question an auditor asks")]
    pub(crate) async fn audit(
        &self,
        tx: &mut Transaction,
        actor: &Actor,
        action: &str,
        subject: &str,
        before: Option<Value>,
        after: Option<Value>,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let at = self.0.clock.now();
        let id = AuditId::from_parts(at, random_bits()?);
        let (actor, action, subject) = (actor.to_string(), action.to_owned(), subject.to_owned());
        let entry = AuditEntry { id, at, actor, action, subject, before, after, reason };
        Ok(tx.append_audit(&entry).await?)
    }

    /// The newest rows of the audit log first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn audit_log(&self, skip: u32, limit: u32) -> Result<Vec<AuditRow>, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        Ok(tx.audit(skip, limit.min(MAX_AUDIT_PAGE)).await?)
    }
}
