//! `/clones`: newcomers in quarantine beside the sensors that they say to be, and what an administrator says of them.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::clones::Decision;

use super::body;
use crate::api::problem::Problem;
use crate::app::clones::CloneView;
use crate::auth::browser::{Caller, Web};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    decision: String,
    reason: Option<String>,
}

pub(super) async fn list(State(web): State<Web>) -> Json<Value> {
    Json(json!({ "value": web.app.clones().iter().map(write).collect::<Vec<_>>() }))
}

pub(super) async fn show(State(web): State<Web>, Path(fingerprint): Path<String>) -> Result<Json<Value>, Problem> {
    let clones = web.app.clones();
    let found = clones.iter().find(|view| view.newcomer.pin.to_string() == fingerprint);
    found.map(|view| Json(write(view))).ok_or_else(|| Problem::not_found("such newcomer; give its fingerprint"))
}

pub(super) async fn decide(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(fingerprint): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let Decided { decision, reason } = body::json(body, body::SMALL).await?;
    let decision: Decision = decision
        .parse()
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("decision: {error}")))?;
    web.app.decide_clone(caller.principal(), &fingerprint, decision, body::short(reason)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn write(view: &CloneView) -> Value {
    let newcomer = &view.newcomer;
    json!({
        "fingerprint": newcomer.pin,
        "state": if newcomer.refused_at.is_some() { "refused" } else { "waiting" },
        "hostId": newcomer.host_id,
        "newcomer": {
            "displayName": newcomer.facts.name,
            "sensorType": newcomer.facts.sensor_type,
            "domainName": newcomer.facts.domain,
            "site": newcomer.facts.site,
            "zone": newcomer.facts.zone,
            "operatingSystem": newcomer.facts.operating_system,
            "address": newcomer.from,
            "firstDateTime": newcomer.first_at,
            "lastDateTime": newcomer.last_at,
            "attempts": newcomer.attempts,
            "refusedDateTime": newcomer.refused_at,
        },
        "enrolled": {
            "id": newcomer.sensor,
            "displayName": view.name,
            "operatingSystem": view.operating_system,
            "certificateSha256": view.pin,
            "createdDateTime": view.enrolled_at,
            "lastSeenDateTime": view.last_contact,
        },
    })
}
