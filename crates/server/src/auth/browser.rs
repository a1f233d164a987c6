//! What tells one browser from another, and what every answer to one carries.
//!
//! A cookie alone never authorizes a change: the request must also come from our own pages and carry their form token.

use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::app::App;
use crate::app::accounts::{SESSION_ABSOLUTE, Visitor};
use crate::auth::access::Principal;
use crate::auth::secret::Secret;

/// The header in which scripts of our own pages carry the form token.
pub const FORM_TOKEN_HEADER: &str = "x-form-token";

/// What pages may load: only what this server itself sends, and no inline script.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'";

/// What the doors for people share. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    /// The use cases.
    pub app: App,
    /// Whether the listener speaks TLS.
    pub is_secure: bool,
}

/// The address a connection came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who sent a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A script, by its API token.
    Script(Principal),
    /// A browser, by its session.
    Browser(Visitor),
}

impl Caller {
    /// Who acts and what they may do.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        match self {
            Self::Script(principal) => principal,
            Self::Browser(visitor) => &visitor.principal,
        }
    }
}

impl Web {
    /// Name of the session cookie: bound to this host by its prefix wherever there is TLS.
    fn cookie_name(&self) -> &'static str {
        if self.is_secure { "__Host-watchpost" } else { "watchpost" }
    }

    /// Who sent a request with these headers. A bad API token is nobody, even beside a good session.
    #[must_use]
    pub fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if let Some(authorization) = headers.get(AUTHORIZATION) {
            let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            return is_bearer.then(|| self.app.token_principal(token.trim())).flatten().map(Caller::Script);
        }
        self.visitor(headers).map(Caller::Browser)
    }

    /// The signed-in browser that sent a request with these headers.
    #[must_use]
    pub fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        let name = self.cookie_name();
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|s| s.split(';'));
        let mut ours = cookies.filter_map(|cookie| cookie.trim().split_once('=')).filter(|(key, _)| *key == name);
        let reference = ours.next().map(|(_, value)| value)?;
        self.app.session_visitor(reference)
    }

    /// The cookie that carries a session.
    #[must_use]
    pub fn session_cookie(&self, reference: &Secret) -> Option<HeaderValue> {
        self.cookie(reference.reveal(), SESSION_ABSOLUTE.as_secs())
    }

    /// The cookie that takes a session's cookie away.
    #[must_use]
    pub fn no_cookie(&self) -> Option<HeaderValue> {
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let name = self.cookie_name();
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}");
        HeaderValue::from_str(&text).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        })
    }
}

/// Whether a method changes nothing.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a request was made by one of our own pages, as far as the browser says. It must say so.
#[must_use]
pub fn is_from_our_pages(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    let origin = headers.get(ORIGIN).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<Uri>().ok());
    let origin = origin.as_ref().and_then(|uri| uri.authority()).map(|authority| authority.as_str());
    host.is_some() && host == origin
}

/// Whether a form token belongs to this visitor.
#[must_use]
pub fn is_form_token(visitor: &Visitor, given: &str) -> bool {
    verify_slices_are_equal(visitor.form_token.as_bytes(), given.as_bytes()).is_ok()
}

/// Puts the headers on an answer that keep a browser from misusing it.
pub async fn security_headers(State(web): State<Web>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if web.is_secure {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(HeaderName::from_static("strict-transport-security"), year);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn only_our_own_pages_may_change_something() {
        assert!(is_from_our_pages(&headers(&[("sec-fetch-site", "same-origin")])));
        for foreign in ["cross-site", "same-site", "none"] {
            assert!(!is_from_our_pages(&headers(&[("sec-fetch-site", foreign)])), "{foreign}");
        }
        assert!(is_from_our_pages(&headers(&[("host", "w.example:8443"), ("origin", "https://w.example:8443")])));
        assert!(!is_from_our_pages(&headers(&[("host", "w.example:8443"), ("origin", "https://e.example:8443")])));
        assert!(!is_from_our_pages(&headers(&[("host", "w.example"), ("origin", "null")])));
        assert!(!is_from_our_pages(&headers(&[("host", "w.example")])), "a browser that says nothing is not believed");
    }
}
