//! Reading single fields: each check says which field broke which limit.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use crate::error::WireError;
use crate::limits::{LATEST_MILLIS, WORD_CHARS};

/// A part that travels as JSON; empty where it is the default, so that a message without it is as it always was.
pub(crate) fn to_json<T: Serialize + Default + PartialEq>(value: &T) -> Vec<u8> {
    if *value == T::default() { Vec::new() } else { serde_json::to_vec(value).unwrap_or_default() }
}

/// Reads a part that travels as JSON, after its size was checked. Unknown fields are passed over.
pub(crate) fn from_json<T: DeserializeOwned + Default>(
    field: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, WireError> {
    count(field, bytes.len(), limit)?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes).map_err(|source| WireError::NotJson { field, source })
}

/// Decodes one message after its size was checked.
pub(crate) fn decode<M: prost::Message + Default>(
    field: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<M, WireError> {
    count(field, bytes.len(), limit)?;
    M::decode(bytes).map_err(WireError::NotProtobuf)
}

/// Refuses more than `limit` of something.
pub(crate) fn count(field: &'static str, found: usize, limit: usize) -> Result<(), WireError> {
    let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    if found > limit { Err(WireError::TooLarge { field, found: wide(found), limit: wide(limit) }) } else { Ok(()) }
}

/// A text of at most `limit` characters without control characters: it may end up on a terminal or in a log.
pub(crate) fn text(field: &'static str, value: String, limit: usize) -> Result<String, WireError> {
    count(field, value.chars().count(), limit)?;
    if value.chars().any(char::is_control) {
        return Err(WireError::Form { field, wanted: "one line of text without control characters" });
    }
    Ok(value)
}

/// A text that must be there.
pub(crate) fn needed(field: &'static str, value: String, limit: usize) -> Result<String, WireError> {
    if value.is_empty() { Err(WireError::Missing(field)) } else { text(field, value, limit) }
}

/// A text that may be left out: empty on the wire is `None`.
pub(crate) fn optional(field: &'static str, value: String, limit: usize) -> Result<Option<String>, WireError> {
    if value.is_empty() { Ok(None) } else { text(field, value, limit).map(Some) }
}

/// An API word: ASCII letters and digits.
pub(crate) fn word(field: &'static str, value: String) -> Result<String, WireError> {
    let value = needed(field, value, WORD_CHARS)?;
    if value.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(value)
    } else {
        Err(WireError::Form { field, wanted: "a word of letters and digits" })
    }
}

/// A version.
pub(crate) fn version(field: &'static str, value: &str) -> Result<Version, WireError> {
    count(field, value.len(), WORD_CHARS)?;
    value.parse().map_err(|_| WireError::Form { field, wanted: "a version of four numbers" })
}

/// A version that may be left out.
pub(crate) fn optional_version(field: &'static str, value: &str) -> Result<Option<Version>, WireError> {
    if value.is_empty() { Ok(None) } else { version(field, value).map(Some) }
}

/// An instant between 1970 and 9999.
pub(crate) fn instant(field: &'static str, millis: i64) -> Result<Timestamp, WireError> {
    if (0..=LATEST_MILLIS).contains(&millis) {
        Ok(Timestamp::from_millis(millis))
    } else {
        Err(WireError::Form { field, wanted: "an instant between 1970 and 9999" })
    }
}

/// A span in milliseconds of at most `limit`.
pub(crate) fn span(field: &'static str, millis: u64, limit: Duration) -> Result<Duration, WireError> {
    let value = Duration::from_millis(millis);
    if value > limit {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        return Err(WireError::TooLarge { field, found: millis, limit });
    }
    Ok(value)
}
