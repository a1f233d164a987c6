//! `GET /status`: the server itself. `GET /access-key`: what a host needs to enrol.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::api::problem::Problem;
use crate::auth::browser::Web;

pub(super) async fn show(State(web): State<Web>) -> Json<Value> {
    let app = &web.app;
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": app.clock().now(),
        "readyDateTime": app.ready_at(),
        "sensors": app.sensor_count(),
        "releases": app.releases().len(),
        "statements": app.statements(),
        "directorExpirationDateTime": app.director_expires_at().await,
    }))
}

pub(super) async fn access_key(State(web): State<Web>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "accessKey": web.app.access_key()? })))
}
