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

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use crate::auth::browser::{Web, is_safe};

/// Largest form that is read.
const MAX_FORM_BYTES: usize = 16 * 1024;
/// How long a form may take to arrive, in real time.
const FORM_DEADLINE: Duration = Duration::from_secs(10);

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
    let all = guarded.merge(open).fallback(screens::nothing).layer(DefaultBodyLimit::max(MAX_FORM_BYTES));
    all.layer(from_fn_with_state(FORM_DEADLINE, in_time)).with_state(web)
}

/// Reads the whole form before anything is done with it, and gives up on one that never arrives: whoever may see the
/// sign-in page could otherwise keep any number of connections for ever.
async fn in_time(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    if is_safe(request.method()) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let (status, text) = match tokio::time::timeout(deadline, to_bytes(body, MAX_FORM_BYTES)).await {
        Ok(Ok(bytes)) => return next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "the form broke off or is larger than any of this portal"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the form did not arrive in time; send it again"),
    };
    door::problem(&head.headers, status, "Not understood", text.to_owned())
}
