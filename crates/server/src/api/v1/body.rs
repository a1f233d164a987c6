//! JSON bodies: read within a limit and a deadline, refused by the path of the key that is wrong.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::api::problem::Problem;

/// How long a JSON body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Largest body of an action.
pub(super) const SMALL: usize = 64 * 1024;
/// Longest reason somebody gives, in characters.
const MAX_REASON: usize = 500;

/// The body of an action that changes something.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    reason: Option<String>,
}

/// Tells `null` from what is left out; for fields that are `None` by default.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// Reads a JSON body of at most `limit` bytes.
pub(super) async fn json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Problem> {
    let bytes = read(body, limit).await?;
    parse(&bytes)
}

/// Reads the body of an action, all of whose fields may be left out; no body leaves all of them out.
pub(super) async fn optional<T: DeserializeOwned + Default>(body: Body) -> Result<T, Problem> {
    let bytes = read(body, SMALL).await?;
    if bytes.is_empty() { Ok(T::default()) } else { parse(&bytes) }
}

/// Reads the reason of an action; no body is no reason.
pub(super) async fn reason(body: Body) -> Result<Option<String>, Problem> {
    short(optional::<Because>(body).await?.reason)
}

/// A reason within its limit; an empty one is none.
pub(super) fn short(reason: Option<String>) -> Result<Option<String>, Problem> {
    match reason {
        Some(reason) if reason.chars().count() > MAX_REASON => {
            Err(bad(&format!("reason: write at most {MAX_REASON} characters")))
        }
        reason => Ok(reason.filter(|reason| !reason.trim().is_empty())),
    }
}

/// A body that is not what it should be.
pub(super) fn bad(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "badBody", why)
}

async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let read = tokio::time::timeout(BODY_DEADLINE, to_bytes(body, limit)).await;
    let read = read.map_err(|_| bad("the body did not arrive in time; send it again"))?;
    let too_large = |_| {
        let why = format!("the body broke off or is larger than the {limit} bytes allowed");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "bodyTooLarge", why)
    };
    read.map(Vec::from).map_err(too_large)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut *reader)
        .map_err(|error| bad(&format!("key {}: {}", error.path(), error.inner())))?;
    reader.end().map_err(|_| bad("something follows the JSON; send one value"))?;
    Ok(value)
}
