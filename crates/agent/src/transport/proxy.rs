//! The way out through an HTTP proxy: CONNECT (RFC 9110, 9.3.6), with Basic credentials (RFC 7617) if it has any.
//!
//! The proxy sees the server's name and port and nothing else: TLS goes through it from end to end.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::TransportError;

/// Bytes of the head of a proxy's answer.
const HEAD_BYTES: usize = 16 * 1024;
/// The port of a proxy whose address names none.
const USUAL_PORT: u16 = 3128;

/// Name and password for a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who; a domain may stand in it (`DOMAIN\user`).
    pub user_name: String,
    /// The password. Never shown.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user_name", &self.user_name).field("password", &"…").finish()
    }
}

/// A proxy, by the address it is called at.
#[derive(Clone)]
pub struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands in `Proxy-Authorization`.
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Why a proxy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Not the address of one.
    #[error("“{0:.200}” is no address of a proxy: write http://host:port, without credentials in it")]
    Address(String),
    /// Credentials that HTTP cannot carry.
    #[error("the proxy's user name has a colon or a control character in it, or the password a control character")]
    Credentials,
}

impl Proxy {
    /// A proxy at `http://host:port`; the scheme may be left out.
    ///
    /// # Errors
    /// When that is no address, or the credentials cannot be sent.
    pub fn new(url: &str, credentials: Option<&Credentials>) -> Result<Self, ProxyError> {
        let wrong = || ProxyError::Address(url.to_owned());
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let is_bare = uri.path_and_query().is_none_or(|rest| rest == "/");
        if uri.scheme_str() != Some("http") || !is_bare || authority.host().is_empty() {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // What stands behind the host and is no port number is none.
        let has_port = authority.as_str().len() > authority.host().len();
        let port = authority.port_u16().filter(|port| *port > 0);
        let port = if has_port { port.ok_or_else(wrong)? } else { USUAL_PORT };
        let authorization = credentials.map(basic).transpose()?;
        Ok(Self { host, port, authorization })
    }

    /// Has the proxy at the other end of `stream` open a way to `server`.
    pub(super) async fn open(&self, stream: TcpStream, server: &str) -> Result<TcpStream, TransportError> {
        let failed = |source: hyper::Error| TransportError::ProxyGarbage {
            proxy: self.to_string(),
            source: Some(Box::new(source)),
        };
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // Ends when the way is open, or with the connection; errors reach whoever waits for the answer.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        let mut request = Request::builder().method(Method::CONNECT).uri(server).header(HOST, server);
        if let Some(authorization) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|_| TransportError::Address(server.to_owned()))?;
        let response = sender.send_request(request).await.map_err(failed)?;
        match response.status() {
            status if status.is_success() => {}
            // 407 is right; tinyproxy and others answer a wrong password with 401.
            StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
                let (proxy, had_some) = (self.to_string(), self.authorization.is_some());
                return Err(TransportError::ProxyAuthentication { proxy, had_some });
            }
            status => {
                return Err(TransportError::ProxyRefused { proxy: self.to_string(), status: status.as_u16() });
            }
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(failed)?;
        let garbage = || TransportError::ProxyGarbage { proxy: self.to_string(), source: None };
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| garbage())?;
        // In TLS the client speaks first: what has come by now is not from the server.
        if parts.read_buf.is_empty() { Ok(parts.io.into_inner()) } else { Err(garbage()) }
    }
}

fn basic(credentials: &Credentials) -> Result<HeaderValue, ProxyError> {
    let Credentials { user_name, password } = credentials;
    if user_name.contains(':') || user_name.chars().chain(password.chars()).any(char::is_control) {
        return Err(ProxyError::Credentials);
    }
    let text = format!("Basic {}", STANDARD.encode(format!("{user_name}:{password}")));
    let mut value = HeaderValue::from_str(&text).map_err(|_| ProxyError::Credentials)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proxies_are_taken_with_and_without_scheme_and_port() {
        for (text, shown) in [
            ("http://proxy.example:8080", "proxy.example:8080"),
            ("http://proxy.example:8080/", "proxy.example:8080"),
            ("proxy.example:8080", "proxy.example:8080"),
            ("proxy.example", "proxy.example:3128"),
            ("http://[fd00::1]:8080", "[fd00::1]:8080"),
            ("10.0.0.1", "10.0.0.1:3128"),
        ] {
            assert_eq!(Proxy::new(text, None).unwrap().to_string(), shown, "{text}");
        }
        let others =
            ["", "https://p:1", "socks5://p:1", "http://u:p@p:1", "http://p:1/x", "p:0", "p:99999", "p:", "a b"];
        for bad in others {
            assert!(matches!(Proxy::new(bad, None), Err(ProxyError::Address(_))), "{bad} was taken");
        }
    }

    #[test]
    fn credentials_are_encoded_as_rfc_7617_says_and_never_shown() {
        // The example of RFC 7617, section 2.
        let aladdin = Credentials { user_name: "Aladdin".into(), password: "open sesame".into() };
        let proxy = Proxy::new("p:1", Some(&aladdin)).unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{aladdin:?} {proxy:?} {:?}", proxy.authorization).contains("sesame"));
        for (user_name, password) in [("a:b", "c"), ("a\n", "c"), ("a", "c\r\nX: y")] {
            let bad = Credentials { user_name: user_name.into(), password: password.into() };
            assert_eq!(Proxy::new("p:1", Some(&bad)).unwrap_err(), ProxyError::Credentials);
        }
    }
}
