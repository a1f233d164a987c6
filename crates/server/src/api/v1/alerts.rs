//! `/alerts`: newest first, filtered; one alert; what a person makes of it.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::evidence::{AlertLevel, AlertStatus};
use watchpost_core::facts::EngineKind;
use watchpost_core::id::AlertId;
use watchpost_core::time::Timestamp;
use watchpost_store::AlertFilter;

use super::body;
use super::paging::{Keyed, answer, bad_query, keyed, link};
use crate::api::problem::Problem;
use crate::app::alerts::{AlertQuery, AlertView};
use crate::auth::browser::{Caller, Web};

/// What a list of alerts may be asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    #[serde(rename = "$top")]
    top: Option<usize>,
    #[serde(rename = "$skip")]
    skip: Option<usize>,
    #[serde(rename = "$skiptoken")]
    token: Option<String>,
    #[serde(rename = "$count")]
    count: Option<bool>,
    sensor: Option<String>,
    site: Option<String>,
    zone: Option<String>,
    level: Option<String>,
    status: Option<String>,
    engine: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// The body of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    status: String,
    reason: Option<String>,
}

const UNDERSTOOD: &str =
    "$top, $skip, $skiptoken, $count, sensor, site, zone, level, status, engine, from and to are understood";

pub(super) async fn list(
    State(web): State<Web>,
    options: Result<Query<Options>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(options) = options.map_err(|error| bad_query(format!("{error}; {UNDERSTOOD}")))?;
    let page = keyed(options.top, options.skip)?;
    let mut query = query(&options)?;
    // One more than the page: whether another follows.
    let mut views = web.app.alerts(&query, page.skip, page.top.saturating_add(1)).await?;
    let is_last = !page.cut(&mut views);
    let count = if options.count == Some(true) {
        query.filter.before = None;
        Some(web.app.count_alerts(&query).await?)
    } else {
        None
    };
    let next = views.last().filter(|_| !is_last).map(|last| next(&options, page, last.row.id));
    Ok(Json(answer(views.iter().map(write).collect(), count, next)))
}

pub(super) async fn show(State(web): State<Web>, Path(alert): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(write(&web.app.alert(parse(&alert)?).await?)))
}

pub(super) async fn change(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(alert): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = parse(&alert)?;
    let change: Change = body::json(body, body::SMALL).await?;
    let status = AlertStatus::from_word(&change.status)
        .ok_or_else(|| body::bad(&format!("key status: use one of {}", words(&AlertStatus::ALL, |one| one.word()))))?;
    let reason = body::short(change.reason)?;
    Ok(Json(write(&web.app.set_alert_status(caller.principal(), id, status, reason).await?)))
}

fn parse(alert: &str) -> Result<AlertId, Problem> {
    alert.parse().map_err(|_| Problem::not_found("such alert; its id begins with alr_"))
}

fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> String {
    all.iter().map(|one| word(*one)).collect::<Vec<_>>().join(", ")
}

/// Several words in one option, with commas between them.
fn several<T: Copy>(
    name: &str,
    text: Option<&String>,
    all: &[T],
    word: impl Fn(T) -> &'static str + Copy,
) -> Result<Vec<T>, Problem> {
    let find = |given: &str| {
        let found = all.iter().copied().find(|one| word(*one) == given);
        found.ok_or_else(|| bad_query(format!("{name} is none of {}", words(all, word))))
    };
    text.map(|text| text.split(',').map(find).collect()).unwrap_or_else(|| Ok(Vec::new()))
}

fn instant(name: &str, text: Option<&String>) -> Result<Option<Timestamp>, Problem> {
    let refuse = |_| bad_query(format!("{name} is no instant such as 2026-01-05T00:00:00Z"));
    text.map(|text| text.parse().map_err(refuse)).transpose()
}

fn query(options: &Options) -> Result<AlertQuery, Problem> {
    let engine = several("engine", options.engine.as_ref(), &EngineKind::ALL, EngineKind::word)?;
    let engine = match engine.as_slice() {
        [one] => Some(*one),
        _ => None,
    };
    let before = options.token.as_ref().map(|token| token.parse());
    let filter = AlertFilter {
        sensors: None,
        levels: several("level", options.level.as_ref(), &AlertLevel::ALL, AlertLevel::word)?,
        statuses: several("status", options.status.as_ref(), &AlertStatus::ALL, AlertStatus::word)?,
        engine,
        from: instant("from", options.from.as_ref())?,
        until: instant("to", options.to.as_ref())?,
        before: before.transpose().map_err(|_| bad_query("$skiptoken is not one that this list gave"))?,
    };
    Ok(AlertQuery { sensor: options.sensor.clone(), site: options.site.clone(), zone: options.zone.clone(), filter })
}

/// Where the page after the alert `last` is.
fn next(options: &Options, page: Keyed, last: AlertId) -> String {
    let filters = [
        ("sensor", &options.sensor),
        ("site", &options.site),
        ("zone", &options.zone),
        ("level", &options.level),
        ("status", &options.status),
        ("engine", &options.engine),
        ("from", &options.from),
        ("to", &options.to),
    ];
    link("alerts", page, &last.to_string(), &filters)
}

fn write(view: &AlertView) -> Value {
    let (row, alert) = (&view.row, &view.row.alert);
    json!({
        "id": row.id,
        "at": alert.at,
        "receivedAt": row.received_at,
        "sensor": { "id": row.sensor, "name": view.sensor_name },
        "site": view.site,
        "zone": view.zone,
        "engine": alert.engine.word(),
        "ruleId": alert.rule_id,
        "ruleTitle": alert.rule_title,
        "level": alert.level.word(),
        "status": row.status.word(),
        "event": alert.event,
        "devices": alert.devices,
        "hasPackets": alert.has_packets,
        "sensorAlertId": alert.id,
    })
}
