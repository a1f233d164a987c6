//! `GET /audit`: the audit log, newest first.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde_json::{Value, json};
use watchpost_store::AuditRow;

use super::paging::{Options, page};
use crate::api::problem::Problem;
use crate::auth::browser::Web;

pub(super) async fn list(
    State(web): State<Web>,
    options: Result<Query<Options>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let page = page(options)?;
    let whole = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let rows = web.app.audit_log(whole(page.skip), whole(page.top)).await?;
    Ok(Json(json!({ "value": rows.iter().map(write).collect::<Vec<_>>() })))
}

fn write(row: &AuditRow) -> Value {
    let entry = &row.entry;
    json!({
        "seq": row.seq, "id": entry.id, "at": entry.at, "actor": entry.actor, "action": entry.action,
        "subject": entry.subject, "before": entry.before, "after": entry.after, "reason": entry.reason,
    })
}
