//! The listener of portal and API: plain HTTP on loopback, TLS 1.2 and 1.3 elsewhere. It knows no page.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::auth::browser::Peer;
use crate::config::TlsFiles;
use crate::patience::Patient;

/// How long a TLS handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long requests under way may take after the server was told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
/// How long accepting pauses after it failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much the listener takes upon itself, in real time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of browsers and scripts at the same time.
    pub connections: usize,
    /// The head of a request, and how long a kept-alive connection may idle.
    pub head: Duration,
    /// A write that makes no progress.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_000, head: Duration::from_secs(60), stall: Duration::from_secs(30) }
    }
}

/// Why the portal's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not the PEM it should be.
    #[error("{file} is not usable PEM; portal.tls needs a certificate chain and a private key")]
    Pem {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are of no known kind.
    #[error("the portal's certificate and key cannot be used together")]
    Certificate(#[source] rustls::Error),
}

/// The TLS side of the portal's listener.
///
/// # Errors
/// When the files cannot be read or do not belong together.
pub fn tls(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsError::Pem { file: files.certificate.clone(), source })?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|source| TlsError::Pem { file: files.private_key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Certificate)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Certificate)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves `router` until told to stop, then lets requests under way end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told_to_stop(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection to the portal was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            attend(stream, peer, tls, router, limits, stop).await;
            drop(place);
        });
    }
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN_DEADLINE, places.acquire_many(all)).await.is_err() {
        debug!("some portal connections were cut at shutdown");
    }
}

async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    // Small answers should not wait for more.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = tls else { return converse(stream, peer, router, limits, stop).await };
    match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, peer, router, limits, stop).await,
        Ok(Err(error)) => debug!(%peer, %error, "no TLS with the portal"),
        Err(_) => debug!(%peer, "a TLS handshake with the portal took too long"),
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, router: Router, limits: Limits, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pages = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(pages.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.stall)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_DEADLINE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection to the portal ended early");
    }
}

/// Waits until the server stops, or nobody is left who could say so.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::testing::House;

    async fn ask(
        addr: SocketAddr,
        root: &CertificateDer<'static>,
        version: &'static SupportedProtocolVersion,
    ) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let spoken = stream.get_ref().1.protocol_version().unwrap();
        assert_eq!(spoken == ProtocolVersion::TLSv1_3, std::ptr::eq(version, &rustls::version::TLS13));
        stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn the_portal_speaks_tls_1_2_and_1_3_with_its_own_certificate() {
        let house = House::new().await;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(house.path("portal.pem"), made.cert.pem()).unwrap();
        std::fs::write(house.path("portal.key"), made.signing_key.serialize_pem()).unwrap();
        let mut settings = house.settings();
        let (certificate, private_key) = (house.path("portal.pem"), house.path("portal.key"));
        settings.tls = Some(TlsFiles { certificate, private_key });
        let server = crate::lifecycle::Server::start(settings, house.clock.clone()).await.unwrap();
        assert!(server.portal_url().starts_with("https://"));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let answer = ask(server.portal_addr(), made.cert.der(), version).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            assert!(answer.contains("strict-transport-security: max-age=31536000"), "{answer}");
        }
    }

    #[tokio::test]
    async fn who_asks_and_does_not_read_the_answer_is_let_go() {
        // More than the buffers of both sockets hold.
        let large = axum::body::Bytes::from(vec![7; 32 << 20]);
        let router = Router::new().route("/", axum::routing::get(move || async move { large.clone() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let limits = Limits { connections: 1, stall: Duration::from_millis(100), ..Limits::default() };
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, None, router, limits, stopped));
        let ask = b"GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n";
        let mut stalled = TcpStream::connect(addr).await.unwrap();
        stalled.write_all(ask).await.unwrap();
        // The only place is free again once the server has given the other one up.
        let mut second = TcpStream::connect(addr).await.unwrap();
        second.write_all(ask).await.unwrap();
        let mut head = [0; 12];
        second.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }

    #[test]
    fn a_certificate_that_is_none_is_refused_by_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, private_key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        std::fs::write(&certificate, "not PEM").unwrap();
        std::fs::write(&private_key, "not PEM").unwrap();
        let refused = tls(&TlsFiles { certificate, private_key }).err().unwrap();
        assert!(!refused.to_string().is_empty());
    }
}
