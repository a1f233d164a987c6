//! `/rule-packages`, and what is set about them on a sensor.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::content::RulesMode;
use watchpost_core::time::Timestamp;

use super::body;
use super::releases::{Publication, Published};
use crate::api::problem::Problem;
use crate::app::AppError;
use crate::app::rules::RulePackageView;
use crate::auth::browser::{Caller, Web};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    /// Which build; the newest unless given.
    #[serde(default)]
    build: Option<Timestamp>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mode {
    /// `automatic` or `manual`.
    mode: RulesMode,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn list(State(web): State<Web>) -> Json<Value> {
    Json(json!({ "value": web.app.rule_packages().iter().map(write).collect::<Vec<_>>() }))
}

pub(super) async fn publish(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Published { metadata, target, is_held, reason } = Publication::read(body).await?;
    if is_held {
        return Err(body::bad("hold: a rule package starts no rollout that could be held; leave it out"));
    }
    let published = web.app.publish_rules(caller.principal(), metadata, &target, reason).await?;
    let (package, was_there) = published;
    let status = if was_there { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(write(&package))))
}

pub(super) async fn pull_back(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(build): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = body::reason(body).await?;
    let no_instant = |_| AppError::NotFound { what: "rule package of", id: build.chars().take(40).collect() };
    let build: Timestamp = build.parse().map_err(no_instant)?;
    Ok(Json(write(&web.app.pull_back_rules(caller.principal(), build, reason).await?)))
}

pub(super) async fn push(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(sensor): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let wanted: Push = body::json(body, body::SMALL).await?;
    web.app.push_rules(caller.principal(), &sensor, wanted.build, wanted.reason).await?;
    super::sensors::show(State(web), Path(sensor)).await
}

pub(super) async fn set_mode(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(sensor): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let wanted: Mode = body::json(body, body::SMALL).await?;
    web.app.set_rules_mode(caller.principal(), &sensor, wanted.mode, wanted.reason).await?;
    super::sensors::show(State(web), Path(sensor)).await
}

fn write(view: &RulePackageView) -> Value {
    let (manifest, target) = (&view.package.manifest, &view.package.target);
    let state = match view.package.pulled_back_at {
        Some(_) => "pulledBack",
        None if view.is_braked => "braked",
        None => "offered",
    };
    json!({
        "build": manifest.build, "state": state, "notes": manifest.notes,
        "sigmaExpected": manifest.sigma_expected, "suricataExpected": manifest.suricata_expected,
        "publishedDateTime": view.package.published_at, "pulledBackDateTime": view.package.pulled_back_at,
        "loadedCount": view.loaded, "failedCount": view.failed,
        "packageName": target.name, "sha256": target.sha256, "length": target.length,
    })
}
