//! Answers: a message of the protocol, a refusal by a stable word, or a file that streams.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use watchpost_protocol::{Code, ErrorReply, WireError};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    /// Whether more of the request is under way than is read, so that the connection cannot go on.
    pub(super) ends_connection: bool,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, ends_connection: false }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        let bytes = ErrorReply::new(refusal.code, refusal.message).to_bytes();
        let mut response = message(bytes);
        *response.status_mut() = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let headers = response.headers_mut();
        if let Some(after) = refusal.retry_after {
            // Rounded up: who comes back a moment early is refused again.
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().saturating_add(1)));
        }
        if refusal.ends_connection {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A message of the protocol.
pub(super) fn message(bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(whole(bytes.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(watchpost_protocol::CONTENT_TYPE));
    response
}

/// A body that is there as a whole.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
