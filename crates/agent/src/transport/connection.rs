//! One connection to the server, and its reuse.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::Trusted;
use super::{Proxy, Timeouts, TransportError};

/// Bytes of a reply's head, and of the read buffer of a connection.
const HEAD_BYTES: usize = 64 * 1024;
/// Header lines of a reply.
const HEADER_LINES: usize = 32;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// One connection, and which of the host's certificates, counted, has opened it.
pub(super) struct Sender {
    inner: SendRequest<Full<Bytes>>,
    turn: u64,
}

/// How connections are made, and the one that is kept alive between requests.
pub(super) struct Connector {
    host: String,
    port: u16,
    /// `host:port`, for messages and the `Host` header.
    pub(super) server: String,
    name: ServerName<'static>,
    pub(super) trusted: Trusted,
    tls: Mutex<TlsConnector>,
    /// Counts the certificates that were presented one after another.
    turn: AtomicU64,
    pub(super) proxy: Option<Proxy>,
    pub(super) timeouts: Timeouts,
    idle: Mutex<Option<Sender>>,
}

impl Connector {
    pub(super) fn new(
        proxy: Option<Proxy>,
        server: &str,
        trusted: Trusted,
        config: rustls::ClientConfig,
        timeouts: Timeouts,
    ) -> Result<Self, TransportError> {
        let wrong = || TransportError::Address(server.to_owned());
        let (host, port) = server.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let port = port.parse().map_err(|_| wrong())?;
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        let (tls, server) = (Mutex::new(TlsConnector::from(Arc::new(config))), server.to_owned());
        let (turn, idle) = (AtomicU64::new(0), Mutex::new(None));
        Ok(Self { host, port, server, name, trusted, tls, turn, proxy, timeouts, idle })
    }

    /// Opens every connection from here on with these settings; what is open ends with its request.
    pub(super) fn reopen_with(&self, config: rustls::ClientConfig) {
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = TlsConnector::from(Arc::new(config));
        self.turn.fetch_add(1, Ordering::SeqCst);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Sends a request and waits for the head of its answer. A kept-alive connection that turns out to be closed is
    /// replaced once; that is safe because every request is idempotent.
    pub(super) async fn exchange(
        &self,
        doing: &'static str,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Sender), TransportError> {
        if let Some(mut sender) = self.take_idle() {
            let reused = within(doing, self.timeouts.reply, async {
                sender.inner.ready().await?;
                sender.inner.send_request(request()).await
            });
            match reused.await? {
                Ok(response) => return Ok((response, sender)),
                Err(error) if error.is_parse() => return Err(TransportError::exchange(&self.server, doing, error)),
                Err(_) => {}
            }
        }
        let mut sender = self.connect().await?;
        match within(doing, self.timeouts.reply, sender.inner.send_request(request())).await? {
            Ok(response) => Ok((response, sender)),
            Err(error) => Err(TransportError::exchange(&self.server, doing, error)),
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        if !sender.inner.is_closed() && sender.turn == self.turn.load(Ordering::SeqCst) {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        }
    }

    fn take_idle(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).take().filter(|sender| !sender.inner.is_closed())
    }

    async fn connect(&self) -> Result<Sender, TransportError> {
        let limit = self.timeouts.connect;
        let stream = within("connecting", limit, self.reach()).await??;
        // Read first: a connection that was opened with the one before is then not kept.
        let turn = self.turn.load(Ordering::SeqCst);
        let tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let handshake = tls.connect(self.name.clone(), stream);
        let stream = within("the TLS handshake", self.timeouts.handshake, handshake)
            .await?
            .map_err(|error| TransportError::handshake(&self.server, error))?;
        let (inner, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADER_LINES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| TransportError::exchange(&self.server, "connecting", error))?;
        // The task ends with the connection, which ends when its sender is dropped; errors reach whoever waits there.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Sender { inner, turn })
    }

    async fn reach(&self) -> Result<TcpStream, TransportError> {
        let Some(proxy) = &self.proxy else {
            let failed = |source| TransportError::Connect { server: self.server.clone(), source };
            return open(&self.host, self.port).await?.map_err(failed);
        };
        let failed = |source| TransportError::ProxyUnreachable { proxy: proxy.to_string(), source };
        let stream = open(&proxy.host, proxy.port).await?.map_err(failed)?;
        proxy.open(stream, &self.server).await
    }

    /// Reads a whole body of at most `limit` bytes.
    pub(super) async fn read(
        &self,
        doing: &'static str,
        body: &mut Incoming,
        limit: usize,
    ) -> Result<Vec<u8>, TransportError> {
        let read = async {
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| TransportError::exchange(&self.server, doing, error))?;
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > limit {
                    return Err(TransportError::TooLarge { limit: u64::try_from(limit).unwrap_or(u64::MAX) });
                }
                bytes.extend_from_slice(&data);
            }
            Ok(bytes)
        };
        within(doing, self.timeouts.reply, read).await?
    }
}

/// A connection to the first address of `host` that answers; else what the system said about the last one.
async fn open(host: &str, port: u16) -> Result<io::Result<TcpStream>, TransportError> {
    let lookup = tokio::net::lookup_host((host, port)).await;
    let addresses = lookup.map_err(|source| TransportError::Dns { host: host.to_owned(), source })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.take(ADDRESSES) {
        match TcpStream::connect(address).await.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(Ok(stream)),
            Err(error) => last = error,
        }
    }
    Ok(Err(last))
}

/// Real time: a socket's patience has nothing to do with the clock that decides.
pub(super) async fn within<T>(
    doing: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, TransportError> {
    tokio::time::timeout(limit, work).await.map_err(|_| TransportError::Timeout { doing, limit })
}
