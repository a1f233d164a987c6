//! Reading a row cell by cell, so that a bad one is named by table, column and key.

use std::error::Error;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;

use crate::error::StoreError;

/// A row with the names that an error about it needs.
pub(crate) struct Cells<'a> {
    row: &'a SqliteRow,
    table: &'static str,
    key: &'static str,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(row: &'a SqliteRow, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    fn bad(&self, column: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        let id = self.row.try_get::<String, _>(self.key).unwrap_or_else(|_| "(no readable key)".to_owned());
        StoreError::BadRow { table: self.table, column, id, source: source.into() }
    }

    pub(crate) fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.row.try_get(column).map_err(|error| self.bad(column, error))
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.row.try_get(column).map_err(|error| self.bad(column, error))
    }

    pub(crate) fn parsed<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        self.text(column)?.parse().map_err(|error: T::Err| self.bad(column, error))
    }

    /// A word that `read` knows.
    pub(crate) fn with<T>(&self, column: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let text = self.text(column)?;
        read(&text).ok_or_else(|| self.bad(column, format!("“{text}” is not known")))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|error| self.bad(column, error))
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let text = self.optional_text(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.bad(column, error))).transpose()
    }

    fn integer(&self, column: &'static str) -> Result<i64, StoreError> {
        self.row.try_get(column).map_err(|error| self.bad(column, error))
    }

    pub(crate) fn count(&self, column: &'static str) -> Result<u64, StoreError> {
        u64::try_from(self.integer(column)?).map_err(|error| self.bad(column, error))
    }

    pub(crate) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.integer(column)? != 0)
    }

    pub(crate) fn instant(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.integer(column).map(Timestamp::from_millis)
    }

    pub(crate) fn optional_instant(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let millis: Option<i64> = self.row.try_get(column).map_err(|error| self.bad(column, error))?;
        Ok(millis.map(Timestamp::from_millis))
    }

    /// A package, of the three columns that name one.
    pub(crate) fn target(&self) -> Result<TargetRef, StoreError> {
        Ok(TargetRef {
            name: self.text("target_name")?,
            sha256: self.text("target_sha256")?,
            length: self.count("target_length")?,
        })
    }

    /// A SHA-256 kept as lower-case hex.
    pub(crate) fn hash(&self, column: &'static str) -> Result<[u8; 32], StoreError> {
        crate::hash::from_hex(&self.text(column)?).ok_or_else(|| self.bad(column, "not 64 hex digits"))
    }
}

/// A value as JSON text for `table`.
pub(crate) fn to_json<T: serde::Serialize>(table: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { table, source })
}
