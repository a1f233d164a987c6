//! The portal: pages for people, rendered on the server. It shows what the use cases answer and decides nothing.
//!
//! Every page works without JavaScript; `live.js` only saves the reload. No inline script, no inline style.

pub mod assets;
mod door;
pub mod grid;
pub mod mapping;
pub mod mark;
pub mod page;
pub mod pages;
mod screens;
pub mod strip;
pub mod view;
pub mod when;
pub mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod visits;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::auth::browser::Web;

/// Largest form that is read.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Every address behind sign-in, for the test that nobody sees one without.
pub const GUARDED: [&str; 6] = ["/", "/sensors", "/sensors/{sensor}", "/health", "/updates", "/audit"];

/// All pages and what they need.
pub fn router(web: Web) -> Router {
    let guarded = Router::new()
        .route("/", get(screens::overview))
        .route("/sensors", get(screens::sensors))
        .route("/sensors/{sensor}", get(screens::sensor))
        .route("/health", get(screens::health))
        .route("/updates", get(screens::updates))
        .route("/audit", get(screens::audit))
        .route("/sign-out", post(door::sign_out))
        .layer(from_fn_with_state(web.clone(), door::guard));
    let open = Router::new()
        .route("/sign-in", get(door::show).post(door::sign_in))
        .route("/portal/theme", post(door::colours))
        .route("/assets/{hash}/{name}", get(assets::get));
    guarded.merge(open).fallback(screens::nothing).layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).with_state(web)
}
