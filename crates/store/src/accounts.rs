//! People who may sign in, their one-time sign-in secrets and their sessions. Secrets are kept as hashes alone.

use watchpost_core::id::{SessionId, UserId};
use watchpost_core::time::Timestamp;

use crate::cells::Cells;
use crate::hash::to_hex;
use crate::{StoreError, Transaction};

/// A person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Their id.
    pub id: UserId,
    /// Their name, unique in the workspace.
    pub name: String,
    /// The word of their role.
    pub role: String,
    /// Whether they may sign in.
    pub is_enabled: bool,
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id, which is no secret.
    pub id: SessionId,
    /// Whose session it is.
    pub user: UserId,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Timestamp,
}

impl Transaction {
    /// Adds a person.
    ///
    /// # Errors
    /// When the name is taken or the store fails.
    pub async fn insert_user(&mut self, user: &UserRow, now: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO users (id, workspace_id, name, role, is_enabled, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(user.id.to_string())
        .bind(workspace)
        .bind(&user.name)
        .bind(&user.role)
        .bind(i64::from(user.is_enabled))
        .bind(now.millis())
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All people, oldest first.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn users(&mut self) -> Result<Vec<UserRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows =
            sqlx::query("SELECT id, name, role, is_enabled FROM users WHERE workspace_id = $1 ORDER BY created_at, id")
                .bind(workspace)
                .fetch_all(self.statement())
                .await?;
        let read = |row| {
            let cells = Cells::new(row, "users", "id");
            Ok(UserRow {
                id: cells.parsed("id")?,
                name: cells.text("name")?,
                role: cells.text("role")?,
                is_enabled: cells.flag("is_enabled")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Keeps the hash of a one-time sign-in secret; earlier unused ones of that person stop working.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replace_sign_in_secret(
        &mut self,
        user: UserId,
        secret: &[u8; 32],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("DELETE FROM sign_in_secrets WHERE workspace_id = $1 AND user_id = $2 AND used_at IS NULL")
            .bind(&workspace)
            .bind(user.to_string())
            .execute(self.statement())
            .await?;
        sqlx::query(
            "INSERT INTO sign_in_secrets (secret_sha256, workspace_id, user_id, created_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(to_hex(secret))
        .bind(workspace)
        .bind(user.to_string())
        .bind(now.millis())
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// Uses a one-time sign-in secret up. `None` when it is unknown, used, or its person may not sign in.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn use_sign_in_secret(
        &mut self,
        secret: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<(UserId, Timestamp)>, StoreError> {
        let workspace = self.workspace.clone();
        let row = sqlx::query(
            "UPDATE sign_in_secrets SET used_at = $3 WHERE workspace_id = $1 AND secret_sha256 = $2 AND used_at IS NULL \
             AND user_id IN (SELECT id FROM users WHERE is_enabled = 1) RETURNING user_id, created_at",
        )
        .bind(workspace)
        .bind(to_hex(secret))
        .bind(now.millis())
        .fetch_optional(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, "sign_in_secrets", "user_id");
            Ok((cells.parsed("user_id")?, cells.instant("created_at")?))
        };
        row.as_ref().map(read).transpose()
    }

    /// Opens a session under the hash of its reference.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_session(&mut self, session: &SessionRow, reference: &[u8; 32]) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO sessions (id, workspace_id, user_id, reference_sha256, created_at, used_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(session.id.to_string())
        .bind(workspace)
        .bind(session.user.to_string())
        .bind(to_hex(reference))
        .bind(session.created_at.millis())
        .bind(session.used_at.millis())
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All sessions with the hash of their reference.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn sessions(&mut self) -> Result<Vec<(SessionRow, [u8; 32])>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT id, user_id, reference_sha256, created_at, used_at FROM sessions WHERE workspace_id = $1",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, "sessions", "id");
            let session = SessionRow {
                id: cells.parsed("id")?,
                user: cells.parsed("user_id")?,
                created_at: cells.instant("created_at")?,
                used_at: cells.instant("used_at")?,
            };
            Ok((session, cells.hash("reference_sha256")?))
        };
        rows.iter().map(read).collect()
    }

    /// Notes when sessions were last used, in one statement.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn touch_sessions(&mut self, used: &[(SessionId, Timestamp)]) -> Result<(), StoreError> {
        let list: Vec<_> = used.iter().map(|(id, at)| (id.to_string(), at.millis())).collect();
        let list = crate::cells::to_json("sessions", &list)?;
        let workspace = self.workspace.clone();
        sqlx::query(
            "UPDATE sessions SET used_at = used.at FROM \
             (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS at FROM json_each($2)) AS used \
             WHERE sessions.workspace_id = $1 AND sessions.id = used.id",
        )
        .bind(workspace)
        .bind(list)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// Ends one session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_session(&mut self, id: SessionId) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("DELETE FROM sessions WHERE workspace_id = $1 AND id = $2")
            .bind(workspace)
            .bind(id.to_string())
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// Ends the sessions that were opened before `opened` or last used before `used`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_old_sessions(&mut self, opened: Timestamp, used: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("DELETE FROM sessions WHERE workspace_id = $1 AND (created_at < $2 OR used_at < $3)")
            .bind(workspace)
            .bind(opened.millis())
            .bind(used.millis())
            .execute(self.statement())
            .await?;
        Ok(())
    }
}
