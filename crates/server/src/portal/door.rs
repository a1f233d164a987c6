//! Who may see pages: sign-in with the one-time secret, sign-out, and the guard before every page.
//!
//! A one-time link reads `/sign-in#<secret>`: what stands behind the `#` never leaves the browser by itself, so no log,
//! proxy or preview ever sees it, and only the press of a button sends it.

use std::net::{IpAddr, Ipv4Addr};

use axum::Extension;
use axum::extract::{Form, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use super::grid::percent_encoded;
use super::page::{ASSETS, BareShell, Theme};
use super::pages::{ProblemPage, SignInPage};
use super::screens::page;
use crate::app::accounts::{SignInRefused, Visitor};
use crate::auth::access::{Action, Resource, authorize};
use crate::auth::browser::{Peer, Web, is_form_token, is_from_our_pages};

/// Longest address that a sign-in goes back to.
const MAX_NEXT: usize = 500;
/// How long a browser keeps the choice of light or dark.
const THEME_LIFE_S: u32 = 365 * 86_400;

/// Lets signed-in people with the right to look pass; sends everybody else to the sign-in page.
pub(super) async fn guard(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let Some(visitor) = web.visitor(request.headers()) else {
        let wanted = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let to =
            if wanted == "/" { "/sign-in".to_owned() } else { format!("/sign-in?next={}", percent_encoded(wanted)) };
        return Redirect::to(&to).into_response();
    };
    if let Err(denied) = authorize(&visitor.principal, Action::ReadFleet, Resource::Workspace) {
        return problem(request.headers(), StatusCode::FORBIDDEN, "Not for this account", denied.to_string());
    }
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

/// A page that says what went wrong.
pub(super) fn problem(headers: &HeaderMap, status: StatusCode, heading: &'static str, text: String) -> Response {
    let shell = BareShell { theme: theme_of(headers), assets: &ASSETS };
    (status, page(&ProblemPage { shell, heading, text: capitalized(&text) })).into_response()
}

/// A sentence from an error, for a page.
pub(super) fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// Light or dark, as this browser was told.
pub(super) fn theme_of(headers: &HeaderMap) -> Theme {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|s| s.split(';'));
    let word = cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(name, _)| *name == "theme");
    word.map_or(Theme::System, |(_, word)| Theme::of(word))
}

/// `path` if it is one of this server, else the first page.
fn local(path: &str) -> &str {
    let is_plain = path.len() <= MAX_NEXT && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_plain && path.starts_with('/') && !path.starts_with("//") { path } else { "/" }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    next: String,
}

/// Shows where the secret goes.
pub(super) async fn show(State(web): State<Web>, headers: HeaderMap, Query(wanted): Query<Wanted>) -> Response {
    if web.visitor(&headers).is_some() {
        return Redirect::to(local(&wanted.next)).into_response();
    }
    form(&headers, StatusCode::OK, "", &wanted.next)
}

fn form(headers: &HeaderMap, status: StatusCode, refused: &str, next: &str) -> Response {
    let shell = BareShell { theme: theme_of(headers), assets: &ASSETS };
    (status, page(&SignInPage { shell, refused: capitalized(refused), next: local(next).to_owned() })).into_response()
}

/// What the sign-in form sends. No `Debug`: it holds a secret.
#[derive(Deserialize)]
pub(super) struct SignIn {
    secret: String,
    #[serde(default)]
    next: String,
}

/// Takes the secret; a session's cookie is the answer.
pub(super) async fn sign_in(
    State(web): State<Web>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(sent): Form<SignIn>,
) -> Response {
    if !is_from_our_pages(&headers) {
        let text = "this did not come from the sign-in page of this server; open that page and try again";
        return form(&headers, StatusCode::FORBIDDEN, text, &sent.next);
    }
    let from = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Peer(address))| address.ip());
    match web.app.sign_in(&sent.secret, from).await {
        Ok(reference) => with_cookie(Redirect::to(local(&sent.next)), web.session_cookie(&reference)),
        Err(SignInRefused::TooMany(wait)) => {
            let refused = SignInRefused::TooMany(wait).to_string();
            let mut response = form(&headers, StatusCode::TOO_MANY_REQUESTS, &refused, &sent.next);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            response
        }
        Err(refused @ SignInRefused::Unknown) => {
            form(&headers, StatusCode::UNAUTHORIZED, &refused.to_string(), &sent.next)
        }
        Err(SignInRefused::Failed(error)) => {
            tracing::error!("signing in failed: {}", error.chain());
            let text = "signing in failed on the server's side; its log says why";
            form(&headers, StatusCode::INTERNAL_SERVER_ERROR, text, &sent.next)
        }
    }
}

fn with_cookie(to: Redirect, cookie: Option<HeaderValue>) -> Response {
    let mut response = to.into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// What the sign-out form sends.
#[derive(Deserialize)]
pub(super) struct SignOut {
    #[serde(rename = "formToken")]
    form_token: String,
}

/// Ends the session.
pub(super) async fn sign_out(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Form(sent): Form<SignOut>,
) -> Response {
    if !is_from_our_pages(&headers) || !is_form_token(&visitor, &sent.form_token) {
        let text = "this did not come from a page of this portal; nobody was signed out".to_owned();
        return problem(&headers, StatusCode::FORBIDDEN, "Not signed out", text);
    }
    if let Err(error) = web.app.sign_out(&visitor.principal).await {
        tracing::error!("signing out failed: {}", error.chain());
        let text = "the session could not be ended on the server; its log says why".to_owned();
        return problem(&headers, StatusCode::INTERNAL_SERVER_ERROR, "Not signed out", text);
    }
    with_cookie(Redirect::to("/sign-in"), web.no_cookie())
}

/// What the colour switch sends.
#[derive(Deserialize)]
pub(super) struct Colours {
    theme: String,
    #[serde(default)]
    back: String,
}

/// Remembers light or dark in this browser, and nothing else.
pub(super) async fn colours(State(web): State<Web>, headers: HeaderMap, Form(sent): Form<Colours>) -> Response {
    let back = Redirect::to(local(&sent.back));
    if !is_from_our_pages(&headers) {
        return back.into_response();
    }
    let secure = if web.is_secure { "; Secure" } else { "" };
    let word = Theme::of(&sent.theme).word();
    let text = format!("theme={word}; Path=/; HttpOnly; SameSite=Lax; Max-Age={THEME_LIFE_S}{secure}");
    with_cookie(back, HeaderValue::from_str(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_never_leads_to_another_server() {
        assert_eq!(local("/sensors?q=a"), "/sensors?q=a");
        for foreign in ["", "https://e.example/", "//e.example/", "/\\e.example", "sensors", "/a b", "/\nSet-Cookie: a"]
        {
            assert_eq!(local(foreign), "/", "{foreign}");
        }
    }

    #[test]
    fn the_theme_is_read_from_among_other_cookies() {
        let headers = |text: &'static str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(text))]);
        assert_eq!(theme_of(&headers("a=b; theme=dark; c=d")), Theme::Dark);
        assert_eq!(theme_of(&headers("theme=<script>")), Theme::System);
    }
}
