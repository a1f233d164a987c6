//! Version 1 of the REST API. Every route is here, with the action a caller must be allowed.

mod alerts;
mod audit;
mod body;
mod certificates;
mod clones;
mod devices;
mod directories;
mod endpoints;
mod events;
mod health;
mod packages;
mod paging;
mod plans;
mod releases;
mod rollouts;
mod rotations;
mod rules;
mod sensors;
mod server_key;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod trust;

use axum::Router;

use super::guard::{Guarded, Route};
use crate::auth::access::Action;
use crate::auth::browser::Web;

/// The router below `/api/v1`, and the table of its routes.
pub fn router(web: Web) -> (Router, Vec<Route>) {
    Guarded::new(web)
        .get("/sensors", Action::ReadFleet, sensors::list)
        .get("/sensors/{sensor}", Action::ReadFleet, sensors::show)
        .patch("/sensors/{sensor}", Action::ManageSensors, settings::change)
        .get("/alerts", Action::ReadFleet, alerts::list)
        .get("/alerts/{alert}", Action::ReadFleet, alerts::show)
        .patch("/alerts/{alert}", Action::ManageAlerts, alerts::change)
        .get("/devices", Action::ReadFleet, devices::list)
        .get("/devices/{*key}", Action::ReadFleet, devices::show)
        .get("/rollouts", Action::ReadFleet, rollouts::list)
        .get("/rollouts/{version}", Action::ReadFleet, rollouts::show)
        .get("/rollouts/{version}/plan", Action::ReadFleet, plans::show)
        .post("/rollouts/{version}/start", Action::SteerRollouts, rollouts::start)
        .post("/rollouts/{version}/abort", Action::SteerRollouts, rollouts::abort)
        .post("/rollouts/{version}/exclude", Action::SteerRollouts, rollouts::exclude)
        .post("/rollouts/{version}/retry", Action::SteerRollouts, rollouts::retry)
        .post("/rehearsals", Action::SteerRollouts, plans::rehearse)
        .get("/rollout-settings", Action::ReadFleet, plans::settings)
        .patch("/rollout-settings", Action::ManageSensors, plans::configure)
        .post("/rollouts/{version}/restartNow", Action::SteerRollouts, rollouts::restart_now)
        .post("/rollouts/{version}/pause", Action::SteerRollouts, rollouts::pause)
        .post("/rollouts/{version}/resume", Action::SteerRollouts, rollouts::resume)
        .get("/releases", Action::ReadFleet, releases::list)
        .post("/releases", Action::PublishReleases, releases::publish)
        .post("/releases/{version}/pull-back", Action::PublishReleases, releases::pull_back)
        .get("/rule-packages", Action::ReadFleet, rules::list)
        .post("/rule-packages", Action::PublishReleases, rules::publish)
        .post("/rule-packages/{build}/pull-back", Action::PublishReleases, rules::pull_back)
        .post("/sensors/{sensor}/rules/push", Action::SteerRollouts, rules::push)
        .post("/sensors/{sensor}/rules/mode", Action::SteerRollouts, rules::set_mode)
        .post("/sensors/{sensor}/rotateCertificate", Action::ManageSensors, certificates::rotate)
        .post("/packages", Action::PublishReleases, packages::upload)
        .get("/health-issues", Action::ReadFleet, health::list)
        .get("/directories", Action::ReadFleet, directories::list)
        .get("/healthIssues", Action::ReadFleet, health::list)
        .get("/healthIssues/{issue}", Action::ReadFleet, health::show)
        .patch("/healthIssues/{issue}", Action::ManageHealth, health::patch)
        .get("/healthIssueTypes", Action::ReadFleet, health::types)
        .get("/audit", Action::ReadAudit, audit::list)
        .get("/events", Action::ReadFleet, events::stream)
        .get("/status", Action::ReadFleet, status::show)
        .get("/clones", Action::ReadFleet, clones::list)
        .get("/clones/{fingerprint}", Action::ReadFleet, clones::show)
        .post("/clones/{fingerprint}/decide", Action::ManageSensors, clones::decide)
        .get("/endpoints", Action::ReadFleet, endpoints::list)
        .get("/endpoints.csv", Action::ReadFleet, endpoints::download)
        .get("/certificate-rotation", Action::ReadFleet, rotations::show)
        .post("/certificate-rotation", Action::ManageSensors, rotations::begin)
        .post("/certificate-rotation/continue", Action::ManageSensors, rotations::go_on)
        .get("/trust", Action::ReadFleet, trust::list)
        .get("/server-key", Action::ReadFleet, server_key::show)
        .post("/server-key/announce", Action::ManageTrust, server_key::announce)
        .post("/server-key/switch", Action::ManageTrust, server_key::switch)
        .post("/server-key/retire", Action::ManageTrust, server_key::retire)
        .get("/access-key", Action::ReadAccessKey, status::access_key)
        .post("/access-key/regenerate", Action::ManageAccessKey, status::regenerate_access_key)
        .get("/tokens", Action::ManageTokens, tokens::list)
        .post("/tokens", Action::ManageTokens, tokens::create)
        .post("/tokens/{token}/revoke", Action::ManageTokens, tokens::revoke)
        .finish()
}
