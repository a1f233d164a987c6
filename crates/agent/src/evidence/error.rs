//! Why evidence could not be kept or read, told apart by what can be done.

use rusqlite::ErrorCode;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// No room on the disk. Nothing of the call was kept, everything before is; call again with the same.
    #[error("the disk with the evidence store is full; what was recorded is kept, free some room to record more")]
    DiskFull(#[source] rusqlite::Error),
    /// Another process has the file open.
    #[error("another process has the evidence store open; stop the other sensor or tool first")]
    InUse(#[source] rusqlite::Error),
    /// The file was damaged and another was begun. Nothing of the call was kept; call again with the same.
    #[error("the evidence store is damaged, was set aside and begun anew; what was in it stays in evidence.damaged.db")]
    Damaged(#[source] rusqlite::Error),
    /// More at once than the budget lets the database's own log hold.
    #[error("{bytes} bytes of evidence at once are more than the {limit} that fit; record them in smaller pieces")]
    TooMuch {
        /// What was given, as it is estimated.
        bytes: u64,
        /// What fits.
        limit: u64,
    },
    /// A folder or file beside the database cannot be used.
    #[error("the folder of the evidence store cannot be used; see that the sensor may write there")]
    Folder(#[from] std::io::Error),
    /// An item has no JSON form.
    #[error("a piece of evidence cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The database refused for another reason.
    #[error("the evidence store failed; it is tried again")]
    Database(#[source] rusqlite::Error),
}

/// Whether the file itself is broken, so that trying again is in vain.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    let is_wrong_value = matches!(error, E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..) | E::Utf8Error(..));
    let is_missing_table = matches!(error, E::SqlInputError { .. } | E::QueryReturnedNoRows);
    is_wrong_value
        || is_missing_table
        || matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

impl From<rusqlite::Error> for EvidenceError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse(error),
            Some(_) | None => Self::Database(error),
        }
    }
}

impl EvidenceError {
    /// Whether trying the same again is right by itself.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::DiskFull(_) | Self::InUse(_) | Self::Damaged(_) | Self::Folder(_) | Self::Database(_) => true,
            Self::TooMuch { .. } | Self::Json(_) => false,
        }
    }
}
