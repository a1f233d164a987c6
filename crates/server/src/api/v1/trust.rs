//! `GET /trust`: the trust clock, what ends first at the front.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use watchpost_core::trust::{Reading, Subject};

use crate::auth::browser::Web;

pub(super) async fn list(State(web): State<Web>) -> Json<Value> {
    let readings = web.app.trust_clock(web.app.clock().now());
    Json(json!({ "value": readings.iter().map(write).collect::<Vec<_>>() }))
}

fn write(reading: &Reading) -> Value {
    let Reading { dated, days_left, state } = reading;
    let (repository, role) = match dated.subject {
        Subject::Document(repository, role) => (Some(repository.word()), Some(role.word())),
        Subject::GatewayCertificate | Subject::PortalCertificate | Subject::FirstHostCertificate => (None, None),
    };
    json!({
        "name": dated.subject.name(),
        "repository": repository,
        "role": role,
        "version": dated.signers.map(|signers| signers.version),
        "keys": dated.signers.map(|signers| signers.keys),
        "threshold": dated.signers.map(|signers| signers.threshold),
        "expirationDateTime": dated.at,
        "daysLeft": days_left,
        "state": state.word(),
        "renewedBy": dated.subject.renewer().word(),
        "remedy": dated.subject.remedy(),
    })
}
