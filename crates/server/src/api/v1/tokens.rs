//! `/tokens`: API tokens. The text of one is in the answer that makes it and nowhere else.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::id::TokenId;
use watchpost_store::TokenRow;

use super::body;
use crate::api::problem::Problem;
use crate::auth::access::{Action, Role};
use crate::auth::browser::{Caller, Web};

/// Most days a token may live.
const MAX_DAYS: u64 = 3_650;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    display_name: String,
    role: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    days: Option<u64>,
}

pub(super) async fn list(State(web): State<Web>) -> Json<Value> {
    Json(json!({ "value": web.app.tokens().iter().map(write).collect::<Vec<_>>() }))
}

pub(super) async fn create(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let wanted: Wanted = body::json(body, body::SMALL).await?;
    let bad =
        |field: &str, why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{field}: {why}"));
    let role: Role = wanted.role.parse().map_err(|error| bad("role", format!("{error}")))?;
    let scopes: Result<Vec<Action>, _> = wanted.scopes.iter().map(|word| word.parse()).collect();
    let scopes = scopes.map_err(|error| bad("scopes", error.to_string()))?;
    if wanted.days.is_some_and(|days| days == 0 || days > MAX_DAYS) {
        return Err(bad("days", format!("write 1 to {MAX_DAYS}")));
    }
    let life = wanted.days.map(|days| Duration::from_secs(days * 86_400));
    let (token, secret) = web.app.create_token(caller.principal(), &wanted.display_name, role, &scopes, life).await?;
    let mut answer = write(&token);
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("token".to_owned(), json!(secret.reveal()));
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn revoke(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: TokenId = token.parse().map_err(|_| Problem::not_found("such API token"))?;
    web.app.revoke_token(caller.principal(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn write(token: &TokenRow) -> Value {
    json!({
        "id": token.id, "displayName": token.name, "role": token.role, "scopes": token.scopes,
        "createdDateTime": token.created_at, "expirationDateTime": token.expires_at,
        "revokedDateTime": token.revoked_at,
    })
}
