//! Plans of rollouts: the one that a rollout runs by, and rehearsals on a copy of the fleet; what is set about rollouts.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use watchpost_core::rehearsal::RolloutPlan;
use watchpost_core::release::ReleaseKind;
use watchpost_core::restart::{RestartNeed, RestartSwitch};
use watchpost_core::rollout::RolloutSettings;
use watchpost_core::version::Version;

use super::body;
use super::rollouts::parse;
use crate::api::problem::Problem;
use crate::app::plans::Rehearsal;
use crate::auth::browser::{Caller, Web};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// An older plan; the newest unless given.
    generation: Option<u32>,
}

/// What is rehearsed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    version: Version,
    #[serde(default)]
    kind: ReleaseKind,
    #[serde(default)]
    restart: RestartNeed,
    #[serde(default)]
    minimum_base_version: Option<Version>,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    settings: Change,
}

/// Settings of rollouts; what is left out stays as it is.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Change {
    /// `null` takes the cap away.
    #[serde(deserialize_with = "body::given")]
    max_in_flight: Option<Option<u32>>,
    /// `off`, `on`, or hours such as `22:00-04:00` in UTC.
    restart_for_major: Option<RestartSwitch>,
    /// All zones that declare one.
    coverage: Option<BTreeMap<String, u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    settings: Change,
    #[serde(default)]
    reason: Option<String>,
}

impl Change {
    fn over(self, now: RolloutSettings) -> RolloutSettings {
        RolloutSettings {
            max_in_flight: self.max_in_flight.unwrap_or(now.max_in_flight),
            restart_for_major: self.restart_for_major.unwrap_or(now.restart_for_major),
            coverage: self.coverage.unwrap_or(now.coverage),
        }
    }
}

pub(super) async fn show(
    State(web): State<Web>,
    Path(version): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<RolloutPlan>, Problem> {
    let Query(which) = which.map_err(|error| body::bad(&error.body_text()))?;
    Ok(Json(web.app.rollout_plan(parse(&version)?, which.generation).await?))
}

pub(super) async fn rehearse(State(web): State<Web>, body: Body) -> Result<Json<RolloutPlan>, Problem> {
    let wanted: Wanted = body::json(body, body::SMALL).await?;
    let rehearsal = Rehearsal {
        version: wanted.version,
        kind: wanted.kind,
        restart: wanted.restart,
        minimum_base: wanted.minimum_base_version,
        bytes: wanted.bytes,
        settings: Some(wanted.settings.over(web.app.rollout_settings())),
    };
    Ok(Json(web.app.rehearse(rehearsal).await?))
}

pub(super) async fn settings(State(web): State<Web>) -> Json<Value> {
    Json(json!(web.app.rollout_settings()))
}

pub(super) async fn configure(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Set { settings, reason } = body::json(body, body::SMALL).await?;
    let settings = settings.over(web.app.rollout_settings());
    web.app.set_rollout_settings(caller.principal(), settings, body::short(reason)?).await?;
    Ok(Json(json!(web.app.rollout_settings())))
}
