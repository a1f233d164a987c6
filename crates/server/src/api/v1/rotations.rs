//! `/certificate-rotation`: one order to replace the certificates of many sensors, with a rehearsal on a few.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::identity::{DEFAULT_SPREAD, Stage};

use super::body;
use crate::api::problem::Problem;
use crate::auth::browser::{Caller, Web};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    /// Absent: all.
    sensors: Option<Vec<String>>,
    #[serde(default)]
    rehearse: bool,
    spread_seconds: Option<u64>,
    reason: Option<String>,
}

pub(super) async fn show(State(web): State<Web>) -> Json<Value> {
    let Some((campaign, stage)) = web.app.certificate_rotation(web.app.clock().now()) else {
        return Json(json!({ "stage": "none" }));
    };
    let (word, done, of, late) = match stage {
        Stage::Rehearsing { done, of } => ("rehearsing", Some(done), Some(of), Vec::new()),
        Stage::Rehearsed => ("rehearsed", Some(campaign.rehearsal.len()), Some(campaign.rehearsal.len()), Vec::new()),
        Stage::Halted(names) => ("halted", None, None, names),
        Stage::Running { done, of } if done < of => ("running", Some(done), Some(of), Vec::new()),
        Stage::Running { done, of } => ("done", Some(done), Some(of), Vec::new()),
    };
    Json(json!({
        "stage": word,
        "beganDateTime": campaign.begun_at,
        "restOrderedDateTime": campaign.rest_at,
        "spreadSeconds": campaign.spread.as_secs(),
        "rehearsal": campaign.rehearsal,
        "doneCount": done,
        "count": of,
        "failed": late,
    }))
}

pub(super) async fn begin(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Wanted { sensors, rehearse, spread_seconds, reason } = body::json(body, body::SMALL).await?;
    let spread = spread_seconds.map_or(DEFAULT_SPREAD, Duration::from_secs);
    let reason = body::short(reason)?;
    web.app.begin_certificate_rotation(caller.principal(), sensors, rehearse, spread, reason).await?;
    Ok(show(State(web)).await)
}

pub(super) async fn go_on(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = body::reason(body).await?;
    web.app.continue_certificate_rotation(caller.principal(), reason).await?;
    Ok(show(State(web)).await)
}
