//! `/endpoints`: every place that has to be reached, as the configuration says; for whoever opens a firewall.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};
use watchpost_core::connection::{Endpoint, csv};

use crate::auth::browser::Web;

pub(super) async fn list(State(web): State<Web>) -> Json<Value> {
    let endpoints = web.app.endpoints();
    let is_complete = endpoints.iter().all(|endpoint| endpoint.host.is_some());
    Json(json!({ "value": endpoints.iter().map(write).collect::<Vec<_>>(), "isComplete": is_complete }))
}

pub(super) async fn download(State(web): State<Web>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"watchpost-endpoints.csv\""),
    ];
    (headers, csv(&web.app.endpoints())).into_response()
}

fn write(endpoint: &Endpoint) -> Value {
    json!({
        "from": endpoint.from.word(),
        "direction": "outbound",
        "host": endpoint.host,
        "port": endpoint.port,
        "transport": "tcp",
        "protocol": endpoint.protocol,
        "purpose": endpoint.purpose,
    })
}
