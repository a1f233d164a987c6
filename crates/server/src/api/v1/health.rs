//! `/healthIssues` and `/healthIssueTypes`: what is wrong, worst first, in Graph's property names and ours beside them.

use std::str::FromStr as _;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::health::catalogue::{Entry, Measured, entries};
use watchpost_core::health::{IssueStatus, IssueType};
use watchpost_core::id::SensorId;

use super::body;
use super::paging::{Options, page_of};
use crate::api::problem::Problem;
use crate::app::health::{IssueStep, status_word};
use crate::app::views::IssueRow;
use crate::auth::browser::{Caller, Web};

/// Most characters of a reason.
const MAX_REASON: usize = 500;

/// What narrows the list.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    status: Option<String>,
    severity: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    scope: Option<String>,
    sensor: Option<String>,
    #[serde(rename = "$top")]
    top: Option<usize>,
    #[serde(rename = "$skip")]
    skip: Option<usize>,
    #[serde(rename = "$count")]
    count: Option<bool>,
}

impl Filter {
    fn takes(&self, row: &IssueRow) -> bool {
        let is = |wanted: &Option<String>, word: &str| wanted.as_deref().is_none_or(|wanted| wanted == word);
        let is_sensor = |wanted: &str| match SensorId::from_str(wanted) {
            Ok(id) => row.sensor == Some(id),
            Err(_) => row.sensor.is_some() && row.sensor_name.eq_ignore_ascii_case(wanted),
        };
        is(&self.status, status_word(&row.issue))
            && is(&self.severity, row.kind.severity().word())
            && is(&self.kind, row.kind.word())
            && is(&self.scope, scope(row))
            && self.sensor.as_deref().is_none_or(is_sensor)
    }

    /// The filter as it stands in an address, for the link to the next page.
    fn query(&self) -> String {
        let parts = [
            ("status", &self.status),
            ("severity", &self.severity),
            ("type", &self.kind),
            ("scope", &self.scope),
            ("sensor", &self.sensor),
        ];
        let given = parts.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        given.map(|(name, value)| format!("{name}={value}&")).collect()
    }

    /// A word that is none of those it may be would find nothing, and nobody would know why.
    fn check(&self) -> Result<(), Problem> {
        let one_of = |name: &str, value: &Option<String>, words: &[&str]| match value {
            Some(value) if !words.contains(&value.as_str()) => {
                let why = format!("{name} is none of {}", words.join(", "));
                Err(Problem::new(StatusCode::BAD_REQUEST, "badQuery", why))
            }
            Some(_) | None => Ok(()),
        };
        one_of("status", &self.status, &["open", "closed", "suppressed"])?;
        one_of("severity", &self.severity, &["low", "medium", "high"])?;
        one_of("scope", &self.scope, &["sensor", "global"])?;
        let words: Vec<_> = IssueType::all().map(IssueType::word).collect();
        one_of("type", &self.kind, &words)?;
        let is_plain = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        match &self.sensor {
            Some(sensor) if !is_plain(sensor) => {
                Err(Problem::new(StatusCode::BAD_REQUEST, "badQuery", "sensor is neither an id nor a name"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

pub(super) async fn list(
    State(web): State<Web>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let refuse = |error: QueryRejection| {
        let why = format!("{error}; status, severity, type, scope, sensor, $top, $skip and $count are understood");
        Problem::new(StatusCode::BAD_REQUEST, "badQuery", why)
    };
    let Query(filter) = filter.map_err(refuse)?;
    filter.check()?;
    let page = page_of(&Options { top: filter.top, skip: filter.skip, count: filter.count })?;
    let rows: Vec<_> = web.app.health_issues().into_iter().filter(|row| filter.takes(row)).collect();
    Ok(Json(page.cut_with(&rows, "healthIssues", &filter.query(), write_issue)))
}

pub(super) async fn show(State(web): State<Web>, Path(issue): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(write_issue(&web.app.health_issue(&issue)?)))
}

/// The body of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    status: String,
    reason: Option<String>,
}

pub(super) async fn patch(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(issue): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let patch: Patch = body::json(body, body::SMALL).await?;
    let bad = |why: &str| Problem::new(StatusCode::BAD_REQUEST, "badBody", why);
    let step = IssueStep::to_status(&patch.status).ok_or_else(|| bad("status is none of open, closed, suppressed"))?;
    let reason = patch.reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(bad(&format!("reason: write at most {MAX_REASON} characters")));
    }
    Ok(Json(write_issue(&web.app.change_issue(caller.principal(), &issue, step, reason).await?)))
}

pub(super) async fn types() -> Json<Value> {
    Json(json!({ "value": entries().map(write_type).collect::<Vec<_>>() }))
}

fn scope(row: &IssueRow) -> &'static str {
    if row.sensor.is_some() { "sensor" } else { "global" }
}

pub(super) fn write_issue(row: &IssueRow) -> Value {
    let entry = row.kind.entry();
    let names: Vec<String> = match (row.sensor, row.domain.is_empty()) {
        (None, _) => Vec::new(),
        (Some(_), true) => vec![row.sensor_name.clone()],
        (Some(_), false) => vec![format!("{}.{}", row.sensor_name, row.domain)],
    };
    let domains: Vec<_> = [&row.domain, &row.subject].into_iter().filter(|domain| domain.contains('.')).collect();
    let until = match row.issue.status {
        IssueStatus::Suppressed { until } => Some(until),
        IssueStatus::Open | IssueStatus::Closed => None,
    };
    json!({
        "id": row.id,
        "issueTypeId": entry.id.to_string(),
        "issueType": entry.word,
        "displayName": entry.title,
        "healthIssueType": scope(row),
        "severity": entry.severity.word(),
        "messageCategory": entry.category.map(watchpost_core::health::catalogue::Category::word),
        "status": status_word(&row.issue),
        "suppressedUntilDateTime": until,
        "createdDateTime": row.issue.opened_at,
        "lastModifiedDateTime": row.issue.changed_at,
        "description": row.issue.reason,
        "additionalInformation": row.issue.details,
        "domainNames": domains,
        "sensorDNSNames": names,
        "recommendations": entry.remediation,
        "recommendedActionCommands": entry.commands,
        "sensorId": row.sensor,
        "subject": if row.subject.is_empty() { None } else { Some(&row.subject) },
    })
}

fn write_type(entry: &Entry) -> Value {
    let (measured, by) = match entry.measured {
        Measured::By(what) => ("linux", what),
        Measured::Door(field) => ("door", field),
        Measured::NotYet(why) => ("notYet", why),
    };
    json!({
        "id": entry.id.to_string(),
        "issueType": entry.word,
        "displayName": entry.title,
        "documentedAs": entry.documented,
        "scope": entry.scope.word(),
        "severity": entry.severity.word(),
        "messageCategory": entry.category.map(watchpost_core::health::catalogue::Category::word),
        "generation": entry.generation.word(),
        "sensorTypes": entry.sensors.word(),
        "trigger": entry.trigger,
        "description": entry.description,
        "recommendations": entry.remediation,
        "recommendedActionCommands": entry.commands,
        "measured": measured,
        "measuredBy": by,
    })
}
