//! `PATCH /sensors/{sensor}`: what a person sets on a sensor; each value that is left out stays as it is.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use watchpost_core::restart::RestartSwitch;

use super::{body, sensors};
use crate::api::problem::Problem;
use crate::app::settings::{SettingsChange, SettingsRefused};
use crate::auth::browser::{Caller, Web};

/// The body of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Change {
    #[serde(default)]
    settings: Settings,
    delayed_update: Option<bool>,
    /// `null`: as set for the workspace.
    #[serde(default, deserialize_with = "body::given")]
    restart_for_major: Option<Option<RestartSwitch>>,
    reason: Option<String>,
}

/// What travels to the host.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Settings {
    description: Option<String>,
    capture_interfaces: Option<BTreeSet<String>>,
    home_networks: Option<BTreeSet<String>>,
    domain_controller_dns_names: Option<Vec<String>>,
}

pub(super) async fn change(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Path(sensor): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Change { settings, delayed_update, restart_for_major, reason } = body::json(body, body::SMALL).await?;
    let change = SettingsChange {
        description: settings.description,
        capture_interfaces: settings.capture_interfaces,
        home_networks: settings.home_networks,
        domain_controllers: settings.domain_controller_dns_names,
        delayed: delayed_update,
        restart_for_major,
    };
    let reason = body::short(reason)?;
    web.app.configure(caller.principal(), &sensor, change, reason).await.map_err(|refused| match refused {
        SettingsRefused::Invalid { code, why } => Problem::new(StatusCode::BAD_REQUEST, code, why),
        SettingsRefused::Failed(error) => error.into(),
    })?;
    sensors::show(State(web), Path(sensor)).await
}
