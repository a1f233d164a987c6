//! The signed documents of a repository: what stands in each, how long it holds, and its bytes.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sigstore_tuf::canonical_json::to_canonical_bytes;
use watchpost_core::server_keys::{MAX_SERVER_KEYS, ServerKeys};
use watchpost_core::time::Timestamp;

use crate::digest::Sha256Hex;

use super::error::RepositoryError;
use super::key::SigningKey;

/// One day.
pub const DAY: Duration = Duration::from_secs(86_400);
/// One year, as metadata counts it.
pub const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// The version of the TUF specification that the documents name.
const SPEC_VERSION: &str = "1.0.31";
/// Field of a timestamp that says when it was signed; hosts never judge by an earlier instant afterwards.
pub const ISSUED_FIELD: &str = "x-watchpost-issued";
/// Field of a director's targets that names the keys of its server: SHA-256 of each SubjectPublicKeyInfo.
pub const SERVER_KEYS_FIELD: &str = "x-watchpost-server-keys";

/// How long the documents of a repository hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Root.
    pub root: Duration,
    /// Targets.
    pub targets: Duration,
    /// Snapshot and timestamp.
    pub online: Duration,
}

impl Lifetimes {
    /// The image repository is signed by hand, a few times a year.
    pub const IMAGE: Self = Self { root: YEAR, targets: YEAR, online: YEAR };
    /// The director is signed anew every day by the control plane.
    pub const DIRECTOR: Self = Self { root: YEAR, targets: YEAR, online: Duration::from_secs(7 * 86_400) };
}

/// An instant as metadata spells it: whole seconds.
fn spelled(at: Timestamp) -> String {
    let whole = at.millis().div_euclid(1_000) * 1_000;
    Timestamp::from_millis(whole).to_string()
}

/// An instant as the verifier takes it.
pub(crate) fn to_jiff(at: Timestamp) -> jiff::Timestamp {
    let end = if at.millis() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_millisecond(at.millis()).unwrap_or(end)
}

/// When a timestamp document was signed, if it says so.
pub(crate) fn issued_at(document: &sigstore_tuf::Timestamp) -> Option<Timestamp> {
    document.extra.get(ISSUED_FIELD)?.as_str()?.parse().ok()
}

/// The keys of the server that a targets document names; `None`: none, too many, or not readable.
pub(crate) fn named_server_keys(document: &sigstore_tuf::Targets) -> Option<ServerKeys> {
    let keys: ServerKeys = serde_json::from_value(document.extra.get(SERVER_KEYS_FIELD)?.clone()).ok()?;
    (1..=MAX_SERVER_KEYS).contains(&keys.len()).then_some(keys)
}

/// What every document begins with.
pub(super) fn document(role: &'static str, version: u64, expires: Timestamp) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("_type".to_owned(), json!(role));
    fields.insert("spec_version".to_owned(), json!(SPEC_VERSION));
    fields.insert("version".to_owned(), json!(version));
    fields.insert("expires".to_owned(), json!(spelled(expires)));
    fields
}

/// The field that says when a timestamp was signed.
pub(super) fn issued(now: Timestamp) -> Value {
    json!(spelled(now))
}

/// How one document names another.
pub(super) fn pin(version: u64, bytes: &[u8]) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": Sha256Hex::of(bytes) } })
}

/// The bytes of a document signed by `keys`.
pub(super) fn sign(
    role: &'static str,
    fields: Map<String, Value>,
    keys: &[&SigningKey],
) -> Result<Vec<u8>, RepositoryError> {
    let signed = Value::Object(fields);
    let bytes = to_canonical_bytes(&signed).map_err(|_| RepositoryError::Canonical { role })?;
    let signatures: Vec<Value> = keys.iter().map(|key| key.sign(&bytes)).collect();
    let envelope = json!({ "signed": signed, "signatures": signatures });
    serde_json::to_vec_pretty(&envelope).map_err(|_| RepositoryError::Canonical { role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_spelled_in_whole_seconds() {
        assert_eq!(spelled(Timestamp::from_millis(1_767_571_200_999)), "2026-01-05T00:00:00Z");
    }
}
