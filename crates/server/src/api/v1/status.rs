//! `GET /status`: the server itself. `GET /access-key`: what a host needs to enrol.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};
use watchpost_core::own_health::{Finding, Trouble};
use watchpost_core::trust::Dated;

use super::body;
use crate::api::problem::Problem;
use crate::app::own_health::OwnHealthView;
use crate::auth::browser::{Caller, Web};

pub(super) async fn show(State(web): State<Web>) -> Json<Value> {
    let app = &web.app;
    let now = app.clock().now();
    let own = app.own_health(now);
    let earliest = own.as_ref().and_then(OwnHealthView::earliest_expiry).map(write_expiry);
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": now,
        "earliestExpiry": earliest,
        "ownHealth": own.as_ref().map(write_own),
        "readyDateTime": app.ready_at(),
        "sensors": app.sensor_count(),
        "releases": app.releases().len(),
        "statements": app.statements(),
        "directorExpirationDateTime": app.director_expires_at().await,
    }))
}

fn write_expiry(dated: &Dated) -> Value {
    json!({ "name": dated.subject.name(), "expirationDateTime": dated.at })
}

fn write_own(own: &OwnHealthView) -> Value {
    let trouble = |trouble: Trouble| match trouble {
        Trouble::DiskLow => "diskLow",
        Trouble::DatabaseNotWritable => "databaseNotWritable",
        Trouble::CertificateToExpire => "certificateToExpire",
        Trouble::CertificateExpired => "certificateExpired",
        Trouble::TrustToExpire => "trustToExpire",
        Trouble::TrustExpired => "trustExpired",
        Trouble::WorkFailing => "workFailing",
    };
    let found = |found: &Finding| json!({ "trouble": trouble(found.trouble), "subject": found.subject, "reason": found.reason });
    json!({
        "observedDateTime": own.observed_at,
        "diskFreeBytes": own.observed.disk.map(|disk| disk.free),
        "diskBytes": own.observed.disk.map(|disk| disk.total),
        "isDatabaseWritable": own.observed.database.is_none(),
        "expiries": own.observed.expiries.iter().map(write_expiry).collect::<Vec<_>>(),
        "troubles": own.findings.iter().map(found).collect::<Vec<_>>(),
    })
}

pub(super) async fn access_key(State(web): State<Web>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "accessKey": web.app.access_key()? })))
}

pub(super) async fn regenerate_access_key(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = body::reason(body).await?;
    let access_key = web.app.regenerate_access_key(caller.principal(), reason).await?;
    Ok(Json(json!({ "accessKey": access_key })))
}
