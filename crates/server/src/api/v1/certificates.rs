//! The client certificate of a sensor: how it stands, and the order to replace it.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::body;
use crate::api::problem::Problem;
use crate::app::identity::CertificateView;
use crate::auth::browser::{Caller, Web};

pub(super) async fn rotate(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(sensor): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = body::reason(body).await?;
    web.app.order_certificate(caller.principal(), &sensor, reason).await?;
    super::sensors::show(State(web), Path(sensor)).await
}

pub(super) fn write(view: &CertificateView) -> Value {
    json!({
        "state": view.state.word(),
        "sha256": view.pin,
        "expiresDateTime": view.expires_at,
        "renewalBeginsDateTime": view.renewal_begins_at,
        "orderedDateTime": view.ordered_at,
        "previousCount": view.previous,
    })
}
