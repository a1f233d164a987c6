//! `/server-key`: the key that hosts know this server by, and the three steps by which another one takes its place.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::server_keys::Renewal;

use super::body;
use crate::api::problem::Problem;
use crate::auth::browser::{Caller, Web};

/// Most names of sensors in one answer; the counts are whole.
const NAMES: usize = 100;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    #[serde(default)]
    force: bool,
    reason: Option<String>,
}

pub(super) async fn show(State(web): State<Web>) -> Json<Value> {
    let view = web.app.server_key(web.app.clock().now());
    let (next, previous, since) = match view.renewal {
        Renewal::Settled { .. } => (None, None, None),
        Renewal::Announced { next, since, .. } => (Some(next.key), None, Some(since)),
        Renewal::Switched { previous, since, .. } => (None, Some(previous.key), Some(since)),
    };
    let readiness = view.readiness;
    let some = |names: &[String]| names.iter().take(NAMES).cloned().collect::<Vec<_>>();
    Json(json!({
        "stage": view.renewal.stage(),
        "servingSha256": view.renewal.serving().key,
        "nextSha256": next,
        "previousSha256": previous,
        "sinceDateTime": since,
        "readyCount": readiness.ready,
        "waitingCount": readiness.waiting.len(),
        "waiting": some(&readiness.waiting),
        "absentCount": readiness.absent.len(),
        "absent": some(&readiness.absent),
    }))
}

pub(super) async fn announce(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = body::reason(body).await?;
    web.app.announce_server_key(caller.principal(), reason).await?;
    Ok(show(State(web)).await)
}

pub(super) async fn switch(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Switch { force, reason } = body::optional(body).await?;
    web.app.switch_server_key(caller.principal(), force, body::short(reason)?).await?;
    Ok(show(State(web)).await)
}

pub(super) async fn retire(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = body::reason(body).await?;
    web.app.retire_server_key(caller.principal(), reason).await?;
    Ok(show(State(web)).await)
}
