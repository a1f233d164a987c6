//! `POST /packages`: a package, streamed to disk.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::problem::Problem;
use crate::auth::browser::{Caller, Web};

pub(super) async fn upload(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let upload = web.app.receive_package(caller.principal(), body.into_data_stream()).await?;
    Ok((StatusCode::CREATED, Json(json!({ "sha256": upload.sha256, "length": upload.length }))))
}
