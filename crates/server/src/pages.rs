//! Everything that portal and API answer, behind the headers and the operation id that every answer carries.

use axum::{Router, middleware};

use crate::api::problem::{Problem, operation};
use crate::api::v1;
use crate::auth::browser::{Web, security_headers};

/// All pages and routes.
pub fn router(web: &Web) -> Router {
    let (api, _) = v1::router(web.clone());
    Router::new()
        .nest("/api/v1", api.fallback(async || Problem::not_found("such address in this API")))
        .merge(crate::portal::router(web.clone()))
        .layer(middleware::from_fn(operation))
        // Outermost, so that errors written out by the layer below carry the headers too.
        .layer(middleware::from_fn_with_state(web.clone(), security_headers))
}
