//! `/releases`: what was published, and publishing.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_store::ReleaseRow;

use super::body;
use crate::api::problem::Problem;
use crate::app::releases::{Begin, MAX_METADATA_BYTES};
use crate::auth::browser::{Caller, Web};

/// What is published: of a release or of a rule package.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publication {
    /// Files of the author's repository, by name.
    metadata: BTreeMap<String, String>,
    /// The package's name in it.
    target: String,
    /// Whether the rollout waits until somebody starts it.
    #[serde(default)]
    hold: bool,
    #[serde(default)]
    reason: Option<String>,
}

/// A publication that was read.
pub(super) struct Published {
    pub(super) metadata: BTreeMap<String, Vec<u8>>,
    pub(super) target: String,
    pub(super) is_held: bool,
    pub(super) reason: Option<String>,
}

impl Publication {
    /// The metadata, the package's name in it, whether it is held, and why.
    pub(super) async fn read(body: Body) -> Result<Published, Problem> {
        let Self { metadata, target, hold, reason } = body::json(body, MAX_METADATA_BYTES).await?;
        let metadata = metadata.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
        Ok(Published { metadata, target, is_held: hold, reason })
    }
}

pub(super) async fn list(State(web): State<Web>) -> Json<Value> {
    let newest_first: Vec<_> = web.app.releases().iter().rev().map(|release| write(&web, release)).collect();
    Json(json!({ "value": newest_first }))
}

pub(super) async fn publish(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Published { metadata, target, is_held, reason } = Publication::read(body).await?;
    let begin = if is_held { Begin::WhenStarted } else { Begin::AtOnce };
    let published = web.app.publish(caller.principal(), metadata, &target, begin, reason).await?;
    let status = if published.was_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(write(&web, &published.release))))
}

pub(super) async fn pull_back(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (version, reason) = (super::rollouts::parse(&version)?, body::reason(body).await?);
    let release = web.app.pull_back(caller.principal(), version, reason).await?;
    Ok(Json(write(&web, &release)))
}

fn write(web: &Web, release: &ReleaseRow) -> Value {
    let manifest = &release.manifest;
    let rollout = web.app.rollout_view(manifest.version, web.app.clock().now());
    let state = rollout.ok().map(|view| view.rollout.state.word());
    json!({
        "version": manifest.version, "state": state, "kind": manifest.kind, "restart": manifest.restart,
        "minimumBaseVersion": manifest.minimum_base_version, "operatingSystems": manifest.operating_systems,
        "supportedUntilDateTime": manifest.supported_until, "isRecommended": manifest.recommended, "notes": manifest.notes,
        "publishedDateTime": release.published_at, "pulledBackDateTime": release.pulled_back_at,
        "packageName": release.target.name, "sha256": release.target.sha256, "length": release.target.length,
    })
}
