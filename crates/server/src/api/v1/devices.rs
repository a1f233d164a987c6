//! `/devices`: each device once, in the order of their keys; one device with the sensors that saw it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::paging::{answer, bad_query, keyed, link};
use crate::api::problem::Problem;
use crate::app::devices::{DeviceQuery, DeviceView, SeenBy};
use crate::auth::browser::Web;

/// Most characters of what is searched for.
const MAX_SEARCH: usize = 256;

/// What a list of devices may be asked for.
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
    search: Option<String>,
}

const UNDERSTOOD: &str = "$top, $skip, $skiptoken, $count, sensor, site and search are understood";

pub(super) async fn list(
    State(web): State<Web>,
    options: Result<Query<Options>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(options) = options.map_err(|error| bad_query(format!("{error}; {UNDERSTOOD}")))?;
    let page = keyed(options.top, options.skip)?;
    if options.search.as_ref().is_some_and(|text| text.chars().count() > MAX_SEARCH) {
        return Err(bad_query(format!("search has more than {MAX_SEARCH} characters")));
    }
    let query = DeviceQuery {
        sensor: options.sensor.clone(),
        site: options.site.clone(),
        text: options.search.clone().filter(|text| !text.is_empty()),
        after: options.token.clone(),
    };
    // One more than the page: whether another follows.
    let mut views = web.app.devices(&query, page.skip, page.top.saturating_add(1)).await?;
    let is_last = !page.cut(&mut views);
    let count = if options.count == Some(true) {
        Some(web.app.count_devices(&DeviceQuery { after: None, ..query }).await?)
    } else {
        None
    };
    let filters = [("sensor", &options.sensor), ("site", &options.site), ("search", &options.search)];
    let next = views.last().filter(|_| !is_last).map(|last| link("devices", page, &last.key, &filters));
    let value = views.iter().map(|view| write(view, summary)).collect();
    Ok(Json(answer(value, count, next)))
}

pub(super) async fn show(State(web): State<Web>, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(write(&web.app.device(&key).await?, in_full)))
}

/// A device, with each sensor that saw it as `sensor` writes it.
fn write(view: &DeviceView, sensor: fn(&SeenBy) -> Value) -> Value {
    json!({
        "key": view.key,
        "addresses": view.addresses,
        "names": view.names,
        "hardware": view.hardware,
        "serves": view.serves,
        "uses": view.uses,
        "firstSeen": view.first_seen,
        "lastSeen": view.last_seen,
        "sensors": view.seen_by.iter().map(sensor).collect::<Vec<_>>(),
    })
}

/// Who saw the device.
fn summary(seen: &SeenBy) -> Value {
    json!({ "id": seen.sensor, "name": seen.sensor_name })
}

/// What one sensor says of the device.
fn in_full(seen: &SeenBy) -> Value {
    let device = &seen.device;
    json!({
        "id": seen.sensor,
        "name": seen.sensor_name,
        "site": seen.site,
        "zone": seen.zone,
        "addresses": device.addresses,
        "names": device.names,
        "hardware": device.hardware,
        "serves": device.serves,
        "uses": device.uses,
        "firstSeen": device.first_seen,
        "lastSeen": device.last_seen,
    })
}
