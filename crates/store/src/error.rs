//! What can go wrong with the store, as situations a use case can tell apart.

use std::error::Error;

/// A failed statement or an unreadable row.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A row that this version cannot read. The rest of the table is untouched.
    #[error("row {id} of table {table} has an unreadable {column}; restore it from a backup")]
    BadRow {
        /// Table name.
        table: &'static str,
        /// Column name.
        column: &'static str,
        /// Key of the row.
        id: String,
        /// What is wrong with the value.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No room left on the disk. Nothing of the transaction was kept.
    #[error("the disk that holds the database is full, so nothing was saved; free some space and try again")]
    DiskFull(#[source] sqlx::Error),
    /// Somebody else changed the row since it was read.
    #[error("{id} in table {table} was changed by somebody else meanwhile; read it again and retry")]
    Changed {
        /// Table name.
        table: &'static str,
        /// Key of the row.
        id: String,
    },
    /// Something that must be unique is there already.
    #[error("the database already has a row with that value")]
    Taken(#[source] sqlx::Error),
    /// A migration failed, or the file was written by a newer version.
    #[error("the database cannot be brought to this version's layout; use the version that wrote it last")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A value could not be written as JSON.
    #[error("a value for table {table} could not be written as JSON")]
    Encode {
        /// Table name.
        table: &'static str,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// Anything else the database says.
    #[error("the database refused a statement; see the log of the server")]
    Database(#[source] sqlx::Error),
}

/// SQLite's primary result code for a full disk.
const SQLITE_FULL: i32 = 13;
/// SQLite's primary result code for a failed read or write of a file, which a full disk can also show as.
const SQLITE_IOERR_WRITE: i32 = 778;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else { return Self::Database(error) };
        if database.is_unique_violation() {
            return Self::Taken(error);
        }
        let code = database.code().and_then(|code| code.parse::<i32>().ok());
        let is_full = code.is_some_and(|code| code & 0xff == SQLITE_FULL || code == SQLITE_IOERR_WRITE);
        if is_full { Self::DiskFull(error) } else { Self::Database(error) }
    }
}
