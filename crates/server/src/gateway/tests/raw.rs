//! A client that does what no sensor would: it speaks TLS as told and sends whatever bytes it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use watchpost_agent::identity::Identity;
use watchpost_protocol::{Code, ErrorReply};

/// What the client shows of itself.
pub(super) enum Shown<'a> {
    Nothing,
    Certificate(&'a Identity),
    Chain(Vec<Vec<u8>>, Vec<u8>),
}

/// One connection.
pub(super) struct Raw(TlsStream<TcpStream>);

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The code of a refusal; its status must be the one that goes with it.
    pub(super) fn code(&self) -> Code {
        let code = ErrorReply::from_bytes(&self.body).unwrap().known_code().unwrap();
        assert_eq!(self.status, code.status(), "{code}");
        code
    }
}

impl Raw {
    /// Connects as an enrolled or unknown sensor with this certificate.
    pub(super) async fn sensor(at: SocketAddr, identity: &Identity) -> Self {
        Self::connect(at, &rustls::version::TLS13, Shown::Certificate(identity)).await.unwrap()
    }

    pub(super) async fn connect(
        at: SocketAddr,
        version: &'static SupportedProtocolVersion,
        shown: Shown<'_>,
    ) -> std::io::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let with = |chain: Vec<Vec<u8>>, key: Vec<u8>| {
            let chain = chain.into_iter().map(CertificateDer::from).collect();
            let signer = any_supported_type(&PrivatePkcs8KeyDer::from(key).into()).unwrap();
            // Whether the two belong together is for the server to find out.
            let certified = CertifiedKey::new(chain, signer);
            config.clone().with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        };
        let config = match shown {
            Shown::Certificate(identity) => with(vec![identity.certificate().to_vec()], identity.key().to_vec()),
            Shown::Chain(chain, key) => with(chain, key),
            Shown::Nothing => config.with_no_client_auth(),
        };
        let name = ServerName::try_from("gateway.test").unwrap();
        let stream = TcpStream::connect(at).await?;
        Ok(Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // A server that cuts off may make this fail; what it said before is what counts.
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "", b"").await
    }

    pub(super) async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{length}{headers}\r\n");
        self.send(&[head.as_bytes(), body].concat()).await;
        self.answer().await.unwrap()
    }

    /// Reads one answer. An error: the connection ended without one.
    pub(super) async fn answer(&mut self) -> std::io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await?;
        Ok(Answer { status, head, body })
    }

    /// Whether the server has ended the connection: nothing more comes.
    pub(super) async fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest).await;
        rest.is_empty() || read.is_err()
    }
}

/// Takes any server for the right one.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}
