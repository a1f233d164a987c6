//! `/rollouts`: how releases reach the fleet, and a person's hand on them.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::rollout::RolloutState;
use watchpost_core::version::Version;

use super::body;
use super::paging::{Options, page};
use crate::api::problem::Problem;
use crate::app::rollouts::{RolloutView, Steer, TimelineRow};
use crate::app::update_orders::UpdateOrder;
use crate::auth::browser::{Caller, Web};

pub(super) async fn list(
    State(web): State<Web>,
    options: Result<Query<Options>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let page = page(options)?;
    Ok(Json(page.cut(&web.app.rollouts_view(web.app.clock().now()), "rollouts", write)))
}

pub(super) async fn show(State(web): State<Web>, Path(version): Path<String>) -> Result<Json<Value>, Problem> {
    let version = parse(&version)?;
    let view = web.app.rollout_view(version, web.app.clock().now())?;
    let events: Vec<_> = web.app.timeline(version).await?.iter().map(write_event).collect();
    let mut answer = write(&view);
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("events".to_owned(), json!(events));
    }
    Ok(Json(answer))
}

/// What one sensor is ordered in a rollout.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Its id or name.
    sensor: String,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn start(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    steer(&web, &caller, &version, Steer::Start, body).await
}

pub(super) async fn pause(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    steer(&web, &caller, &version, Steer::Pause, body).await
}

pub(super) async fn resume(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    steer(&web, &caller, &version, Steer::Resume, body).await
}

pub(super) async fn abort(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    steer(&web, &caller, &version, Steer::Abort, body).await
}

async fn steer(web: &Web, caller: &Caller, version: &str, steer: Steer, body: Body) -> Result<Json<Value>, Problem> {
    let (version, reason) = (parse(version)?, body::reason(body).await?);
    Ok(Json(write(&web.app.steer(caller.principal(), version, steer, reason).await?)))
}

pub(super) async fn exclude(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    order(&web, &caller, &version, UpdateOrder::Exclude, body).await
}

pub(super) async fn retry(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    order(&web, &caller, &version, UpdateOrder::Retry, body).await
}

pub(super) async fn restart_now(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    order(&web, &caller, &version, UpdateOrder::RestartNow, body).await
}

async fn order(
    web: &Web,
    caller: &Caller,
    version: &str,
    order: UpdateOrder,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let version = parse(version)?;
    let Order { sensor, reason } = body::json(body, body::SMALL).await?;
    web.app.order_update(caller.principal(), version, &sensor, order, body::short(reason)?).await?;
    Ok(Json(write(&web.app.rollout_view(version, web.app.clock().now())?)))
}

pub(super) fn parse(version: &str) -> Result<Version, Problem> {
    version.parse().map_err(|_| Problem::not_found("such rollout; its name is a version such as 2.254.19112.470"))
}

fn write(view: &RolloutView) -> Value {
    let (rollout, summary) = (&view.rollout, &view.summary);
    let reason = match &rollout.state {
        RolloutState::Halted { reason } => Some(reason),
        RolloutState::Planned
        | RolloutState::Running
        | RolloutState::Paused
        | RolloutState::Aborted
        | RolloutState::Completed => None,
    };
    json!({
        "version": rollout.version,
        "state": rollout.state.word(),
        "reason": reason,
        "cleared": summary.cleared,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "pending": summary.pending,
        "inFlight": summary.in_flight,
        "behindGate": summary.behind_gate,
        "delayedRingOpensDateTime": summary.gate_opens_at,
        "isMoving": rollout.state.hands_out() && summary.is_moving(),
        "peakInFlight": rollout.peak_in_flight,
        "publishedDateTime": view.published_at,
        "plannedDateTime": rollout.planned_at,
        "waitingFor": view.waiting_for,
    })
}

fn write_event(row: &TimelineRow) -> Value {
    let event = &row.event;
    json!({
        "at": event.at, "sensor": row.sensor_name, "sensorId": event.sensor, "event": event.what.word(),
        "version": event.version, "reason": event.what.reason(),
    })
}
