//! Everything that remembers: the only SQL in the product.
//!
//! One concrete [`Store`] on SQLite; a [`Transaction`] has one method per statement, one file per noun.
//! Every statement is scoped to the transaction's workspace. Nothing here decides anything.

mod accounts;
mod alerts;
mod audit;
mod cells;
mod certificates;
mod devices;
mod error;
mod global_issues;
mod hash;
mod issues;
mod keys;
mod newcomers;
mod places;
mod plans;
mod releases;
mod rollouts;
mod rule_packages;
mod sensors;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqliteConnection};
use watchpost_core::id::WorkspaceId;

pub use accounts::{SessionRow, UserRow};
pub use alerts::{AlertFilter, AlertRow};
pub use audit::{AuditEntry, AuditRow};
pub use devices::{DeviceFilter, DeviceRow, Taken};
pub use error::StoreError;
pub use global_issues::GlobalIssueRow;
pub use issues::IssueRow;
pub use keys::EnrolmentRow;
pub use places::{SiteRow, ZoneRow};
pub use releases::ReleaseRow;
pub use rollouts::RolloutRow;
pub use rule_packages::RulePackageRow;
pub use sensors::{Contact, SensorRow};
pub use tokens::TokenRow;

/// How long a statement waits for another writer before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to the database file: one writes at a time, the others read beside it.
const MAX_CONNECTIONS: u32 = 3;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    statements: Arc<AtomicU64>,
}

/// One transaction in one workspace. Dropped without [`Transaction::commit`], it leaves nothing behind.
pub struct Transaction {
    inner: sqlx::Transaction<'static, Sqlite>,
    statements: Arc<AtomicU64>,
    workspace: String,
}

impl Store {
    /// Opens the database file, makes it if it is absent, and brings its layout up to date.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer version.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        // On a full disk SQLite ends a transaction by itself. The connection then still believes to be in it, and would
        // begin no other one, with room or without: such a connection is closed and another one opened.
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options)
            .await?;
        sqlx::migrate!("./migrations").run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Self { pool, statements: Arc::default() })
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// When another writer holds the database for longer than the busy time-out.
    pub async fn begin(&self, workspace: WorkspaceId) -> Result<Transaction, StoreError> {
        let inner = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(self.transaction(inner, workspace))
    }

    /// Begins a transaction that only reads: a consistent picture that holds no writer up.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read(&self, workspace: WorkspaceId) -> Result<Transaction, StoreError> {
        let inner = self.pool.begin().await?;
        Ok(self.transaction(inner, workspace))
    }

    fn transaction(&self, inner: sqlx::Transaction<'static, Sqlite>, workspace: WorkspaceId) -> Transaction {
        Transaction { inner, statements: Arc::clone(&self.statements), workspace: workspace.to_string() }
    }

    /// How many statements transactions have run since the store was opened.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Closes the file after the statements under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Transaction {
    /// The connection for one statement, which is counted.
    fn statement(&mut self) -> &mut SqliteConnection {
        self.statements.fetch_add(1, Ordering::Relaxed);
        &mut self.inner
    }

    /// The workspace it is scoped to.
    #[must_use]
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// Makes everything of this transaction durable.
    ///
    /// # Errors
    /// When the disk is full or fails; nothing is kept then.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.inner.commit().await?)
    }
}
