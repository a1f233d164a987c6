//! The only way to add a route to the API: with the action that a caller must be allowed.

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::{Method, StatusCode};

use super::problem::Problem;
use crate::auth::access::{Action, Resource, authorize};
use crate::auth::browser::{Caller, FORM_TOKEN_HEADER, Web, is_form_token, is_from_our_pages, is_safe};

/// One route, for the authorization table and the OpenAPI document to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with placeholders.
    pub path: &'static str,
    /// What a caller must be allowed.
    pub action: Action,
}

/// Routes being gathered, every one behind [`authorize`].
pub struct Guarded {
    web: Web,
    router: Router<Web>,
    routes: Vec<Route>,
}

impl Guarded {
    /// No route yet.
    #[must_use]
    pub fn new(web: Web) -> Self {
        Self { web, router: Router::new(), routes: Vec::new() }
    }

    /// Adds a route that reads.
    #[must_use]
    pub fn get<H: Handler<T, Web>, T: 'static>(self, path: &'static str, action: Action, handler: H) -> Self {
        self.add(Method::GET, MethodFilter::GET, path, action, handler)
    }

    /// Adds a route that changes something.
    #[must_use]
    pub fn post<H: Handler<T, Web>, T: 'static>(self, path: &'static str, action: Action, handler: H) -> Self {
        self.add(Method::POST, MethodFilter::POST, path, action, handler)
    }

    /// Adds a route that changes a thing that is there.
    #[must_use]
    pub fn patch<H: Handler<T, Web>, T: 'static>(self, path: &'static str, action: Action, handler: H) -> Self {
        self.add(Method::PATCH, MethodFilter::PATCH, path, action, handler)
    }

    fn add<H: Handler<T, Web>, T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        action: Action,
        handler: H,
    ) -> Self {
        let guard = middleware::from_fn_with_state((self.web.clone(), action), check);
        self.router = self.router.route(path, on(filter, handler).layer(guard));
        self.routes.push(Route { method, path, action });
        self
    }

    /// The router, and what it holds.
    pub fn finish(self) -> (Router, Vec<Route>) {
        (self.router.with_state(self.web), self.routes)
    }
}

async fn check(State((web, action)): State<(Web, Action)>, mut request: Request, next: Next) -> Response {
    let Some(caller) = web.caller(request.headers()) else { return Problem::unauthenticated().into_response() };
    if let Err(problem) = check_origin(&caller, &request) {
        return problem.into_response();
    }
    if let Err(denied) = authorize(caller.principal(), action, Resource::Workspace) {
        return Problem::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string()).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// A browser's change must come from our own pages and carry their form token; a script has no cookie to be abused.
fn check_origin(caller: &Caller, request: &Request) -> Result<(), Problem> {
    let Caller::Browser(visitor) = caller else { return Ok(()) };
    if is_safe(request.method()) {
        return Ok(());
    }
    let headers = request.headers();
    let token = headers.get(FORM_TOKEN_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_from_our_pages(headers) && is_form_token(visitor, token) {
        return Ok(());
    }
    let detail = "this change did not come from a page of this portal; reload the page, or use an API token";
    Err(Problem::new(StatusCode::FORBIDDEN, "crossSiteRequest", detail))
}
