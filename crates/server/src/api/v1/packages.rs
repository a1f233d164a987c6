//! `POST /packages`: a package, streamed to disk.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::problem::Problem;
use crate::app::AppError;
use crate::auth::browser::{Caller, Web};

/// How long the rest of a package that cannot be kept is still read.
const DISCARD_FOR: Duration = Duration::from_secs(10);

pub(super) async fn upload(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut body = body.into_data_stream();
    let received = web.app.receive_package(caller.principal(), &mut body).await;
    if let Err(AppError::Files { .. }) = &received {
        discard(body).await;
    }
    let upload = received?;
    Ok((StatusCode::CREATED, Json(json!({ "sha256": upload.sha256, "length": upload.length }))))
}

/// Reads what is still on its way: whoever is cut off while sending never sees the answer that says why.
async fn discard(mut body: BodyDataStream) {
    let rest = async { while let Some(Ok(_)) = body.next().await {} };
    // Whoever takes longer is cut off after all.
    let _ = tokio::time::timeout(DISCARD_FOR, rest).await;
}
