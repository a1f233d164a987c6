//! `GET /health-issues`: what is wrong, worst first, in Graph's property names.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde_json::{Value, json};
use watchpost_core::health::IssueStatus;

use super::paging::{Options, page};
use crate::api::problem::Problem;
use crate::app::views::IssueRow;
use crate::auth::browser::Web;

pub(super) async fn list(
    State(web): State<Web>,
    options: Result<Query<Options>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let page = page(options)?;
    Ok(Json(page.cut(&web.app.health_issues(), "health-issues", write_issue)))
}

pub(super) fn write_issue(row: &IssueRow) -> Value {
    let status = match row.issue.status {
        IssueStatus::Open => "open",
        IssueStatus::Closed => "closed",
        IssueStatus::Suppressed { .. } => "suppressed",
    };
    let dns_name =
        if row.domain.is_empty() { row.sensor_name.clone() } else { format!("{}.{}", row.sensor_name, row.domain) };
    json!({
        "id": row.id,
        "issueType": row.kind.word(),
        "displayName": row.kind.title(),
        "healthIssueType": "sensor",
        "severity": row.kind.severity().word(),
        "status": status,
        "createdDateTime": row.issue.opened_at,
        "lastModifiedDateTime": row.issue.changed_at,
        "description": row.issue.reason,
        "domainNames": [row.domain],
        "sensorDNSNames": [dns_name],
        "recommendations": row.kind.remediation(),
        "sensorId": row.sensor,
    })
}
