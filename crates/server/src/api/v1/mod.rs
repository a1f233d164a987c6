//! Version 1 of the REST API. Every route is here, with the action a caller must be allowed.

mod audit;
mod body;
mod directories;
mod events;
mod health;
mod packages;
mod paging;
mod releases;
mod rollouts;
mod sensors;
mod status;
#[cfg(test)]
mod tests;
mod tokens;

use axum::Router;

use super::guard::{Guarded, Route};
use crate::auth::access::Action;
use crate::auth::browser::Web;

/// The router below `/api/v1`, and the table of its routes.
pub fn router(web: Web) -> (Router, Vec<Route>) {
    Guarded::new(web)
        .get("/sensors", Action::ReadFleet, sensors::list)
        .get("/sensors/{sensor}", Action::ReadFleet, sensors::show)
        .get("/rollouts", Action::ReadFleet, rollouts::list)
        .get("/rollouts/{version}", Action::ReadFleet, rollouts::show)
        .post("/rollouts/{version}/pause", Action::SteerRollouts, rollouts::pause)
        .post("/rollouts/{version}/resume", Action::SteerRollouts, rollouts::resume)
        .get("/releases", Action::ReadFleet, releases::list)
        .post("/releases", Action::PublishReleases, releases::publish)
        .post("/packages", Action::PublishReleases, packages::upload)
        .get("/health-issues", Action::ReadFleet, health::list)
        .get("/healthIssues", Action::ReadFleet, health::list)
        .get("/healthIssues/{issue}", Action::ReadFleet, health::show)
        .patch("/healthIssues/{issue}", Action::ManageHealth, health::patch)
        .get("/healthIssueTypes", Action::ReadFleet, health::types)
        .get("/directories", Action::ReadFleet, directories::list)
        .get("/audit", Action::ReadAudit, audit::list)
        .get("/events", Action::ReadFleet, events::stream)
        .get("/status", Action::ReadFleet, status::show)
        .get("/access-key", Action::ReadAccessKey, status::access_key)
        .get("/tokens", Action::ManageTokens, tokens::list)
        .post("/tokens", Action::ManageTokens, tokens::create)
        .post("/tokens/{token}/revoke", Action::ManageTokens, tokens::revoke)
        .finish()
}
