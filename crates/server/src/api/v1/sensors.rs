//! `/sensors`: the grid, in Graph's property names and ours beside them.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde_json::{Value, json};
use watchpost_core::sensor::{Derived, Sensor};

use super::certificates;
use super::health::write_issue;
use super::paging::{Options, page};
use crate::api::problem::Problem;
use crate::app::views::SensorRow;
use crate::auth::browser::Web;

pub(super) async fn list(
    State(web): State<Web>,
    options: Result<Query<Options>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let page = page(options)?;
    let rows = web.app.fleet_view(web.app.clock().now());
    Ok(Json(page.cut(&rows, "sensors", write)))
}

pub(super) async fn show(State(web): State<Web>, Path(sensor): Path<String>) -> Result<Json<Value>, Problem> {
    let found = web.app.sensor(&sensor, web.app.clock().now());
    let (row, sensor) = found.ok_or_else(|| Problem::not_found("such sensor; give its id or its name"))?;
    let mut answer = write(&row);
    if let Some(fields) = answer.as_object_mut() {
        fields.extend(details(&row, &sensor));
        let measured = web.app.measured(row.id).map(|(at, counted)| json!({ "at": at, "measurements": counted }));
        fields.insert("measured".to_owned(), json!(measured));
        let certificate = web.app.certificate(row.id, web.app.clock().now());
        fields.insert("certificate".to_owned(), json!(certificate.map(|view| certificates::write(&view))));
    }
    Ok(Json(answer))
}

/// A status with its reason and when it changes by itself.
fn why<T>(derived: &Derived<T>) -> Value {
    json!({ "reason": derived.reason, "changesDateTime": derived.changes_at })
}

fn write(row: &SensorRow) -> Value {
    let open: Vec<_> = row.open_issues.iter().map(|issue| issue.kind.word()).collect();
    json!({
        "id": row.id,
        "displayName": row.name,
        "sensorType": row.kind.word(),
        "version": row.version,
        "deploymentStatus": row.status.value.word(),
        "serviceStatus": row.service.value.word(),
        "healthStatus": row.health.word(),
        "openHealthIssuesCount": open.len(),
        "createdDateTime": row.created_at,
        "domainName": row.domain,
        "settings": { "isDelayedDeploymentEnabled": row.is_delayed },
        "site": row.site,
        "zone": row.zone,
        "alertCount": row.alert_count,
        "lastSeenDateTime": row.last_contact,
        "waitingFor": row.waiting_for,
        "isWatching": row.is_watching,
        "rulesBuild": row.rules.build,
        "rulesOffered": row.rules.offered,
        "rulesMode": row.rules.mode.word(),
        "rulesStatus": row.rules.status.value.word(),
        "openHealthIssues": open,
        "why": {
            "deploymentStatus": why(&row.status),
            "serviceStatus": why(&row.service),
            "rulesStatus": why(&row.rules.status),
        },
    })
}

/// What only one sensor's own page shows.
fn details(row: &SensorRow, sensor: &Sensor) -> serde_json::Map<String, Value> {
    let settings = json!({
        "isDelayedDeploymentEnabled": row.is_delayed,
        "restartForMajor": sensor.update.restart_for_major,
        "domainControllerDnsNames": sensor.domain_controllers,
        "description": sensor.settings.description,
        "captureInterfaces": sensor.settings.capture_interfaces,
        "homeNetworks": sensor.settings.home_networks,
        "generation": sensor.settings_generation,
        "generationInEffect": sensor.report.settings_generation,
    });
    let issues: Vec<_> = row.open_issues.iter().map(write_issue).collect();
    let fields = [
        ("settings", settings),
        ("healthIssues", json!(issues)),
        ("update", json!(sensor.update)),
        ("facts", json!(sensor.report.facts)),
        ("connectionCheck", json!(sensor.report.connection)),
        ("report", json!(sensor.report)),
        ("lastConfigurationPullDateTime", json!(sensor.last_config_pull)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
