//! How a host talks to its server: HTTP/1.1 over mutual TLS 1.3 on one kept-alive connection.
//!
//! The server is known by the hashes of its public keys and never by a name. Every read has a limit and a deadline.

mod connection;
mod download;
mod error;
mod proxy;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RANGE, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use watchpost_core::facts::Measurements;
use watchpost_core::identity::{Pin, Standing};
use watchpost_core::server_keys::ServerKeys;
use watchpost_core::sync::Report;
use watchpost_protocol::limits::REPLY_BYTES;
use watchpost_protocol::{
    Code, ConfirmRequest, EnrollReply, EnrollRequest, ErrorReply, EvidenceReply, EvidenceRequest, PingReply,
    ProposeRequest, StandingReply, SyncReply, SyncRequest, limits::COME_BACK_AFTER, paths,
};

use self::connection::Connector;
pub use self::download::Sink;
pub use self::error::TransportError;
pub use self::proxy::{Credentials, Proxy, ProxyError};
use self::tls::Trusted;
use crate::identity::Identity;

/// How patient a host is with its server, in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving the name and opening the connection.
    pub connect: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// From a request to the head of its answer, and again to the end of a message.
    pub reply: Duration,
    /// The stretch of a download in which `slowest` bytes must arrive.
    pub window: Duration,
    /// The least that must arrive in one `window`, in bytes.
    pub slowest: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        let (connect, handshake, half_a_minute) =
            (Duration::from_secs(10), Duration::from_secs(10), Duration::from_secs(30));
        // 4 KB/s: slower than that, no package arrives within the staging deadline.
        Self { connect, handshake, reply: half_a_minute, window: half_a_minute, slowest: 120_000 }
    }
}

/// A host's way to its server. Cheap to clone; clones share the kept-alive connection.
#[derive(Clone)]
pub struct Client(Arc<Connector>);

impl Client {
    /// A client for the server at `host:port` that owns one of the public keys `trusted`; it presents `identity`.
    ///
    /// Opens no connection.
    ///
    /// # Errors
    /// When the address or the identity cannot be used.
    pub fn new(
        server: &str,
        trusted: ServerKeys,
        identity: &Identity,
        timeouts: Timeouts,
    ) -> Result<Self, TransportError> {
        Self::through(None, server, trusted, identity, timeouts)
    }

    /// The same through a proxy, if there is one.
    ///
    /// # Errors
    /// When the address or the identity cannot be used.
    pub fn through(
        proxy: Option<Proxy>,
        server: &str,
        trusted: ServerKeys,
        identity: &Identity,
        timeouts: Timeouts,
    ) -> Result<Self, TransportError> {
        Self::open(proxy, server, Arc::new(Mutex::new(trusted)), identity, timeouts)
    }

    fn open(
        proxy: Option<Proxy>,
        server: &str,
        trusted: Trusted,
        identity: &Identity,
        timeouts: Timeouts,
    ) -> Result<Self, TransportError> {
        let config = tls::config(&trusted, identity)?;
        Ok(Self(Arc::new(Connector::new(proxy, server, trusted, config, timeouts)?)))
    }

    /// The keys of the server that this client, its clones and those that present another certificate trust.
    #[must_use]
    pub fn trusted(&self) -> ServerKeys {
        self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Trusts these keys from here on; so do its clones. A connection that is open stays open.
    pub fn trust(&self, keys: ServerKeys) {
        *self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Asks what time it is there and whether this host is known. Changes nothing.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers nonsense.
    pub async fn ping(&self) -> Result<PingReply, TransportError> {
        let doing = "asking for the time";
        let request = self.request(Method::GET, paths::PING, Bytes::new(), None)?;
        let bytes = self.answer(doing, request).await?;
        PingReply::from_bytes(&bytes).map_err(TransportError::unreadable)
    }

    /// Another client for the same server, with connections of its own, which presents `identity`.
    ///
    /// # Errors
    /// When the identity cannot be used.
    pub fn presenting(&self, identity: &Identity) -> Result<Self, TransportError> {
        let (proxy, trusted) = (self.0.proxy.clone(), Arc::clone(&self.0.trusted));
        Self::open(proxy, &self.0.server, trusted, identity, self.0.timeouts)
    }

    /// Presents `identity` from here on, and so do its clones; no connection outlives the request it carries.
    ///
    /// # Errors
    /// When the identity cannot be used; the one before is presented then.
    pub fn present(&self, identity: &Identity) -> Result<(), TransportError> {
        self.0.reopen_with(tls::config(&self.0.trusted, identity)?);
        Ok(())
    }

    /// Asks how the certificates of this host stand. Open to every one that is known.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers nonsense.
    pub async fn standing(&self) -> Result<Standing, TransportError> {
        let bytes = self.ask("asking for the certificates", Method::GET, paths::IDENTITY, Vec::new()).await?;
        StandingReply::from_bytes(&bytes).map(|reply| reply.0).map_err(TransportError::unreadable)
    }

    /// Proposes the host's next certificate. Safe to repeat.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers nonsense.
    pub async fn propose(&self, pin: Pin) -> Result<Standing, TransportError> {
        let bytes = self.post("proposing a certificate", paths::PROPOSE, ProposeRequest { pin }.to_bytes()).await?;
        StandingReply::from_bytes(&bytes).map(|reply| reply.0).map_err(TransportError::unreadable)
    }

    /// Confirms the certificate that this client presents. Safe to repeat.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers nonsense.
    pub async fn confirm(&self) -> Result<Standing, TransportError> {
        let bytes = self.post("confirming a certificate", paths::CONFIRM, ConfirmRequest.to_bytes()).await?;
        StandingReply::from_bytes(&bytes).map(|reply| reply.0).map_err(TransportError::unreadable)
    }

    /// Enrols this host. Safe to repeat with the same identity and the same enrolment id.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers nonsense.
    pub async fn enroll(&self, request: &EnrollRequest) -> Result<EnrollReply, TransportError> {
        let bytes = self.post("enrolling", paths::ENROLL, request.to_bytes()).await?;
        EnrollReply::from_bytes(&bytes).map_err(TransportError::unreadable)
    }

    /// Checks in. Safe to repeat.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers nonsense.
    pub async fn sync(&self, report: &Report, measurements: &Measurements) -> Result<SyncReply, TransportError> {
        let bytes = self.post("checking in", paths::SYNC, SyncRequest::encode(report, measurements)).await?;
        SyncReply::from_bytes(&bytes).map_err(TransportError::unreadable)
    }

    /// Sends one batch of evidence, in its JSON form. Safe to repeat.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or answers nonsense.
    pub async fn send_evidence(&self, batch: Vec<u8>) -> Result<EvidenceReply, TransportError> {
        let bytes = self.post("sending evidence", paths::EVIDENCE, EvidenceRequest::encode(batch)).await?;
        EvidenceReply::from_bytes(&bytes).map_err(TransportError::unreadable)
    }

    /// Fetches a small file, such as metadata, of at most `limit` bytes. `None`: the server has no such file.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or the file is larger.
    pub async fn fetch(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, TransportError> {
        let doing = "fetching a file";
        let request = self.request(Method::GET, path, Bytes::new(), None)?;
        let (response, sender) = self.0.exchange(doing, || request.clone()).await?;
        let (head, mut body) = response.into_parts();
        if head.status != StatusCode::OK {
            let refused = self.refusal(head.status, &head.headers, &mut body, sender).await;
            return if refused.code() == Some(Code::NotFound) { Ok(None) } else { Err(refused) };
        }
        let bytes = self.0.read(doing, &mut body, limit).await?;
        self.0.keep(sender);
        Ok(Some(bytes))
    }

    async fn post(&self, doing: &'static str, path: &str, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        self.ask(doing, Method::POST, path, message).await
    }

    async fn ask(
        &self,
        doing: &'static str,
        method: Method,
        path: &str,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        let request = self.request(method, path, message.into(), None)?;
        self.answer(doing, request).await
    }

    /// The message that answers a request.
    async fn answer(&self, doing: &'static str, request: Request<Full<Bytes>>) -> Result<Vec<u8>, TransportError> {
        let (response, sender) = self.0.exchange(doing, || request.clone()).await?;
        let (head, mut body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(self.refusal(head.status, &head.headers, &mut body, sender).await);
        }
        if !is_message(&head.headers) {
            return Err(TransportError::garbage("its content type is not the protocol's"));
        }
        let bytes = self.0.read(doing, &mut body, REPLY_BYTES).await?;
        self.0.keep(sender);
        Ok(bytes)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        range: Option<u64>,
    ) -> Result<Request<Full<Bytes>>, TransportError> {
        let mut request = Request::builder().method(&method).uri(path).header(HOST, &self.0.server);
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, watchpost_protocol::CONTENT_TYPE);
        }
        if let Some(offset) = range {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        request.body(Full::new(body)).map_err(|_| TransportError::Address(format!("{}{path}", self.0.server)))
    }

    /// What an answer other than success means.
    async fn refusal(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &mut Incoming,
        sender: connection::Sender,
    ) -> TransportError {
        if !(status.is_client_error() || status.is_server_error()) || !is_message(headers) {
            return TransportError::garbage("its status is neither success nor a refusal of the protocol");
        }
        let reply = match self.0.read("reading a refusal", body, REPLY_BYTES).await {
            Ok(bytes) => ErrorReply::from_bytes(&bytes),
            Err(error) => return error,
        };
        self.0.keep(sender);
        match reply {
            Ok(reply) => TransportError::Refused {
                code: reply.known_code(),
                word: reply.code,
                message: reply.message,
                retry_after: retry_after(headers),
            },
            Err(error) => TransportError::unreadable(error),
        }
    }
}

fn is_message(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value == watchpost_protocol::CONTENT_TYPE)
}

/// `Retry-After` in seconds, never longer than a check-in may ask for.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(COME_BACK_AFTER))
}
