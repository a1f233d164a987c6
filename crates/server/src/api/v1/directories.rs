//! `/directories`: the directories that are asked, and how that went.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use watchpost_core::directory::Trouble;
use watchpost_core::time::format_duration;

use crate::app::directory::DirectoryRow;
use crate::auth::browser::Web;
use crate::config::Protection;

pub(super) async fn list(State(web): State<Web>) -> Json<Value> {
    let rows: Vec<_> = web.app.directories_view().iter().map(write).collect();
    Json(json!({ "value": rows }))
}

fn write(row: &DirectoryRow) -> Value {
    let trouble = |trouble: Trouble| match trouble {
        Trouble::Unreachable => "unreachable",
        Trouble::CredentialsIncorrect => "credentialsIncorrect",
        Trouble::PasswordToExpire => "passwordToExpire",
        Trouble::PasswordExpired => "passwordExpired",
    };
    let protection = match row.settings.tls {
        Protection::Ldaps => "ldaps",
        Protection::StartTls => "starttls",
    };
    let (status, settings) = (&row.status, &row.settings);
    json!({
        "domain": settings.domain,
        "servers": settings.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tls": protection,
        "checkEvery": format_duration(settings.check_every),
        "lastAskedDateTime": status.asked_at,
        "lastAnsweredDateTime": status.answered_at,
        "answeredBy": status.answered_by,
        "trouble": status.trouble.as_ref().map(|(what, _)| trouble(*what)),
        "reason": status.trouble.as_ref().map(|(_, reason)| reason),
        "passwordExpirationDateTime": status.password_expires_at,
        "sensors": row.sensors,
        "askedAbout": status.asked_about,
        "gone": row.gone,
    })
}
