//! The sensors' door: mutual TLS 1.3, one listener for enrolment, check-in, metadata and packages.
//!
//! It decides nothing and writes no SQL: it reads within limits, finds out whose pin it is per request, and calls a
//! use case of `app`.

mod attempts;
mod certificate;
mod files;
mod identity;
mod reply;
mod routes;
#[cfg(test)]
mod tests;
mod tls;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use watchpost_clock::Clock;

use self::attempts::Attempts;
pub use self::certificate::GatewayCertificate;
use crate::app::App;
use crate::patience::Patient;

/// Bytes of the head of a request, and of a connection's buffers: hyper's minimum, because most connections idle.
const HEAD_BYTES: usize = 8192;
/// Header lines of a request.
const HEADER_LINES: usize = 32;
/// How long accepting waits after the system refused a connection, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much the gateway takes upon itself. Times are real: a socket's patience is not the clock that decides.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; one more is closed before its handshake.
    pub connections: usize,
    /// Connections at once of clients that are not enrolled; one more is closed after its handshake. Anybody can make
    /// a certificate, so without this one machine could keep all sensors out.
    pub strangers: usize,
    /// The TLS handshake.
    pub handshake: Duration,
    /// From the end of one answer, or of the handshake, to the end of the next request's head.
    pub idle: Duration,
    /// The same for a client that was not enrolled when it connected.
    pub stranger_idle: Duration,
    /// The body of a request.
    pub body: Duration,
    /// A write that makes no progress.
    pub stall: Duration,
    /// What is under way when the gateway stops.
    pub drain: Duration,
    /// Unknown access keys from one address within `attempts_window`, before it is asked to wait.
    pub attempts: u32,
    /// See `attempts`.
    pub attempts_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            strangers: 1_000,
            handshake: Duration::from_secs(10),
            // Three check-in intervals: a connection survives one lost check-in.
            idle: Duration::from_secs(180),
            stranger_idle: Duration::from_secs(10),
            body: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            attempts: 10,
            attempts_window: Duration::from_secs(60),
        }
    }
}

/// Why the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No key or certificate could be made.
    #[error("no certificate could be made for the gateway")]
    Generate(#[source] rcgen::Error),
    /// The certificate or its key cannot be used.
    #[error("the gateway's certificate and key cannot be used together; restore both files from the backup")]
    Certificate(#[source] rustls::Error),
}

/// The listener for sensors.
pub struct Gateway {
    app: App,
    clock: Clock,
    /// The folder of the repositories `image` and `director`.
    repositories: PathBuf,
    limits: Limits,
    /// How connections are accepted from here on; another one after the server's key was switched.
    tls: RwLock<TlsAcceptor>,
    attempts: Mutex<Attempts<IpAddr>>,
    strangers: Arc<Semaphore>,
}

impl Gateway {
    /// A gateway in front of `app` that serves the repositories `image` and `director` in the folder `repositories`.
    ///
    /// # Errors
    /// When the certificate and its key cannot be used.
    pub fn new(
        app: App,
        clock: Clock,
        repositories: PathBuf,
        certificate: &GatewayCertificate,
        limits: Limits,
    ) -> Result<Self, GatewayError> {
        let tls = RwLock::new(acceptor(certificate)?);
        let attempts = Mutex::new(Attempts::new(limits.attempts, limits.attempts_window));
        let strangers = Arc::new(Semaphore::new(limits.strangers));
        Ok(Self { app, clock, repositories, limits, tls, attempts, strangers })
    }

    /// Serves until `stop` is true or its sender is gone; then requests under way are finished, within `drain`.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let gateway = Arc::new(self);
        let mut served = gateway.app.served_certificates();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Ok(()) = served.changed() => {
                    gateway.present(served.borrow_and_update().as_ref());
                    continue;
                }
                () = told_to_stop(&mut stop) => break,
            };
            let (stream, peer) = match accepted {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(error) => {
                    tracing::warn!(%error, "the gateway cannot accept a connection; it tries again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(limit = gateway.limits.connections, "the gateway is full and closed a connection");
                continue;
            };
            tokio::spawn(Arc::clone(&gateway).attend(stream, peer.to_canonical(), stop.clone(), place));
        }
        drop(listener);
        let all = u32::try_from(gateway.limits.connections).unwrap_or(u32::MAX);
        // Every connection holds a place; having them all means that nobody is left.
        if tokio::time::timeout(gateway.limits.drain, places.acquire_many(all)).await.is_err() {
            tracing::warn!("the gateway stopped with requests under way; hosts repeat them");
        }
    }

    /// One connection, from its handshake to its end.
    async fn attend(
        self: Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        mut stop: watch::Receiver<bool>,
        _place: OwnedSemaphorePermit,
    ) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        // Looked at first: a switch during the handshake ends this connection, too.
        let mut served = self.app.served_certificates();
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
        let handshake = tokio::time::timeout(self.limits.handshake, tls.accept(stream));
        let stream = tokio::select! {
            shaken = handshake => match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "a TLS handshake failed");
                    return;
                }
                Err(_) => return,
            },
            () = told_to_stop(&mut stop) => return,
        };
        let Some(pin) = tls::pin(stream.get_ref().1) else { return };
        let Some((idle, _seat)) = self.seat(&pin) else {
            tracing::debug!(%peer, limit = self.limits.strangers, "too many clients that are not enrolled");
            return;
        };
        let gateway = Arc::clone(&self);
        let answer = service_fn(move |request| {
            let gateway = Arc::clone(&gateway);
            async move { Ok::<_, std::convert::Infallible>(gateway.answer(request, pin, peer).await) }
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(idle)
                .max_buf_size(HEAD_BYTES)
                .max_headers(HEADER_LINES)
                .serve_connection(TokioIo::new(Patient::new(stream, self.limits.stall)), answer)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told_to_end(&mut stop, &mut served) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(self.limits.drain, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

impl Gateway {
    /// Accepts connections with this certificate from here on.
    fn present(&self, certificate: Option<&GatewayCertificate>) {
        match certificate.map(acceptor) {
            Some(Ok(tls)) => *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls,
            Some(Err(error)) => tracing::error!(%error, "the gateway cannot present its next certificate"),
            None => {}
        }
    }

    /// How long the client with this pin may idle, and its place among the strangers if it is one. `None`: no place.
    fn seat(&self, pin: &tls::Pin) -> Option<(Duration, Option<OwnedSemaphorePermit>)> {
        if self.app.sensor_by_pin(pin).is_some() {
            return Some((self.limits.idle, None));
        }
        let place = Arc::clone(&self.strangers).try_acquire_owned().ok()?;
        Some((self.limits.stranger_idle.min(self.limits.idle), Some(place)))
    }
}

fn acceptor(certificate: &GatewayCertificate) -> Result<TlsAcceptor, GatewayError> {
    Ok(TlsAcceptor::from(Arc::new(tls::config(certificate)?)))
}

/// Waits until a connection has to end: the gateway stops, or presents another certificate.
async fn told_to_end(stop: &mut watch::Receiver<bool>, served: &mut watch::Receiver<Option<GatewayCertificate>>) {
    let switched = async {
        if served.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = told_to_stop(stop) => {}
        () = switched => {}
    }
}

/// Waits until the gateway is told to stop, or nobody is left who could tell it.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
