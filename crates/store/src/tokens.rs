//! API tokens. Only the hash of a token is kept.

use watchpost_core::id::TokenId;
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::hash::to_hex;
use crate::{StoreError, Transaction};

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id, which is no secret.
    pub id: TokenId,
    /// What it is for, in words.
    pub name: String,
    /// The word of the role it acts in.
    pub role: String,
    /// Words of the actions it is limited to; empty: whatever the role may do.
    pub scopes: Vec<String>,
    /// SHA-256 of the whole token text.
    pub secret: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl Transaction {
    /// Adds a token.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_token(&mut self, token: &TokenRow) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO api_tokens (id, workspace_id, name, role, secret_sha256, created_at, expires_at, scopes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(token.id.to_string())
        .bind(workspace)
        .bind(&token.name)
        .bind(&token.role)
        .bind(to_hex(&token.secret))
        .bind(token.created_at.millis())
        .bind(token.expires_at.map(Timestamp::millis))
        .bind(to_json("api_tokens", &token.scopes)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All tokens, oldest first, revoked ones too.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn tokens(&mut self) -> Result<Vec<TokenRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT id, name, role, scopes, secret_sha256, created_at, expires_at, revoked_at FROM api_tokens \
             WHERE workspace_id = $1 ORDER BY created_at, id",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, "api_tokens", "id");
            Ok(TokenRow {
                id: cells.parsed("id")?,
                name: cells.text("name")?,
                role: cells.text("role")?,
                scopes: cells.json("scopes")?,
                secret: cells.hash("secret_sha256")?,
                created_at: cells.instant("created_at")?,
                expires_at: cells.optional_instant("expires_at")?,
                revoked_at: cells.optional_instant("revoked_at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Revokes a token; `false` when there is no such token or it was revoked before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_token(&mut self, id: TokenId, now: Timestamp) -> Result<bool, StoreError> {
        let workspace = self.workspace.clone();
        let done = sqlx::query(
            "UPDATE api_tokens SET revoked_at = $3 WHERE workspace_id = $1 AND id = $2 AND revoked_at IS NULL",
        )
        .bind(workspace)
        .bind(id.to_string())
        .bind(now.millis())
        .execute(self.statement())
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
