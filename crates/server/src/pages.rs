//! Everything that portal and API answer, behind the headers and the operation id that every answer carries.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware};

use crate::api::guard::Guarded;
use crate::api::problem::{Problem, operation};
use crate::api::v1;
use crate::app::to_its_end;
use crate::auth::access::Action;
use crate::auth::browser::{Web, is_safe, security_headers};
use crate::lingering::{PAUSE, linger};

/// All pages and routes.
pub fn router(web: &Web) -> Router {
    let (api, _) = v1::router(web.clone());
    let (metrics, _) = Guarded::new(web.clone()).get("/metrics", Action::ReadFleet, crate::metrics::show).finish();
    Router::new()
        .nest("/api/v1", api.fallback(async || Problem::not_found("such address in this API")))
        .merge(metrics)
        .merge(crate::portal::router(web.clone()))
        .layer(middleware::from_fn(whole))
        .layer(middleware::from_fn_with_state(PAUSE, linger))
        .layer(middleware::from_fn(operation))
        // Outermost, so that errors written out by the layer below carry the headers too.
        .layer(middleware::from_fn_with_state(web.clone(), security_headers))
}

/// Carries a change out to its end, whether or not who asked for it still waits.
async fn whole(request: Request, next: Next) -> Response {
    if is_safe(request.method()) {
        return next.run(request).await;
    }
    let done = to_its_end(next.run(request)).await;
    done.unwrap_or_else(|failure| Problem::internal(format!("a change broke off: {failure}")).into_response())
}
