//! The way to one server of a directory: TCP, TLS with the server's name verified, and a gate behind it.
//!
//! Nothing is said before TLS stands but the one request for it, and what the server sends is counted and looked at
//! before a parser sees it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ber::{self, Unsound};
use crate::config::{DirectoryServer, DirectorySettings, Protection};

/// How long connecting and the handshake may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Largest message of a server.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Most bytes of a server in one look.
const MAX_SESSION_BYTES: usize = 32 * 1024 * 1024;
/// Largest answer to the request for TLS.
const MAX_STARTTLS_BYTES: usize = 4 * 1024;
/// RFC 4511, 4.14.1: message 1, the extended request 1.3.6.1.4.1.1466.20037.
const STARTTLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Tag of an extended response.
const EXTENDED_RESPONSE: u8 = 0x78;

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error("{0} cannot be read; directory.ca_file needs PEM certificates")]
    Ca(String, #[source] rustls::pki_types::pem::Error),
    #[error("{0} holds no certificate that can be trusted; directory.ca_file needs PEM certificates")]
    NoCa(String),
    #[error("it cannot be connected to")]
    Connect(#[source] std::io::Error),
    #[error("it did not answer within {} s", CONNECT_DEADLINE.as_secs())]
    Silent,
    #[error("its certificate is untrusted; check directory.ca_file and the name of the server")]
    Untrusted(#[source] rustls::Error),
    #[error("no TLS connection came about")]
    Tls(#[source] std::io::Error),
    #[error("it gives no TLS on this port (answer {0}); use LDAPS, or give the server a certificate")]
    StartTls(u32),
    #[error("the answer to the request for TLS cannot be understood")]
    Unsound(#[from] Unsound),
}

/// The gate's task; ends with its owner.
pub(super) struct Gate(JoinHandle<()>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A verified way to this server, for a client that speaks without TLS into the socket it is given.
pub(super) async fn open(
    settings: &DirectorySettings,
    server: &DirectoryServer,
) -> Result<(std::os::unix::net::UnixStream, Gate), ChannelError> {
    let config = Arc::new(client_config(settings)?);
    let opening = async {
        let tcp = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(ChannelError::Connect)?;
        let tcp = match settings.tls {
            Protection::Ldaps => tcp,
            Protection::StartTls => start_tls(tcp).await?,
        };
        let name = ServerName::try_from(server.host.clone())
            .map_err(|_| ChannelError::Untrusted(rustls::Error::General("this is no name of a server".to_owned())))?;
        TlsConnector::from(config).connect(name, tcp).await.map_err(handshake_failed)
    };
    let tls = tokio::time::timeout(CONNECT_DEADLINE, opening).await.map_err(|_| ChannelError::Silent)??;
    let (inner, outer) = UnixStream::pair().map_err(ChannelError::Tls)?;
    let gate = Gate(tokio::spawn(pass(tls, inner)));
    Ok((outer.into_std().map_err(ChannelError::Tls)?, gate))
}

fn client_config(settings: &DirectorySettings) -> Result<ClientConfig, ChannelError> {
    let file = settings.ca_file.display().to_string();
    let certificates = CertificateDer::pem_file_iter(&settings.ca_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| ChannelError::Ca(file.clone(), error))?;
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(ChannelError::NoCa(file));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ChannelError::Untrusted)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A failed handshake: the certificate, or anything else.
fn handshake_failed(error: std::io::Error) -> ChannelError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(cause @ rustls::Error::InvalidCertificate(_)) => ChannelError::Untrusted(cause.clone()),
        Some(_) | None => ChannelError::Tls(error),
    }
}

/// Asks for TLS; what comes back is one whole message that says yes, and not a byte more.
async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<S, ChannelError> {
    stream.write_all(STARTTLS).await.map_err(ChannelError::Connect)?;
    let mut answer = Vec::new();
    loop {
        let byte = stream.read_u8().await.map_err(ChannelError::Connect)?;
        answer.push(byte);
        let Some(head) = ber::head(&answer)? else { continue };
        if head.head + head.body > MAX_STARTTLS_BYTES {
            return Err(Unsound.into());
        }
        if answer.len() == head.head + head.body {
            break;
        }
    }
    match starttls_code(&answer)? {
        0 => Ok(stream),
        code => Err(ChannelError::StartTls(code)),
    }
}

/// The result code of a whole extended response.
fn starttls_code(answer: &[u8]) -> Result<u32, Unsound> {
    if !ber::is_sound(answer) {
        return Err(Unsound);
    }
    let inside = |bytes: &[u8], from: usize| bytes.get(from..).map(<[u8]>::to_vec).ok_or(Unsound);
    let message = ber::head(answer)?.ok_or(Unsound)?;
    let body = inside(answer, message.head)?;
    let id = ber::head(&body)?.ok_or(Unsound)?;
    let operation = inside(&body, id.head + id.body)?;
    let response = ber::head(&operation)?.filter(|head| head.tag == EXTENDED_RESPONSE).ok_or(Unsound)?;
    let result = inside(&operation, response.head)?;
    let code = ber::head(&result)?.ok_or(Unsound)?;
    let digits = result.get(code.head..code.head + code.body).filter(|digits| digits.len() <= 4).ok_or(Unsound)?;
    Ok(digits.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)))
}

/// Passes requests on as they are, and answers message by message once each was found sound.
async fn pass(tls: TlsStream<TcpStream>, inner: UnixStream) {
    let (mut from_server, mut to_server) = tokio::io::split(tls);
    let (mut from_client, mut to_client) = inner.into_split();
    let requests = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let answers = async {
        if let Err(error) = pass_answers(&mut from_server, &mut to_client).await {
            tracing::debug!(%error, "a directory server was cut off");
        }
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}

async fn pass_answers(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let unsound = || std::io::Error::new(std::io::ErrorKind::InvalidData, Unsound);
    let (mut kept, mut total) = (Vec::new(), 0usize);
    loop {
        if from.read_buf(&mut kept).await? == 0 {
            return Ok(());
        }
        while let Some(head) = ber::head(&kept).map_err(|_| unsound())? {
            let length = head.head + head.body;
            if length > MAX_MESSAGE_BYTES || total + length > MAX_SESSION_BYTES {
                return Err(unsound());
            }
            let Some(message) = kept.get(..length) else { break };
            if !ber::is_sound(message) {
                return Err(unsound());
            }
            to.write_all(message).await?;
            total += length;
            kept.drain(..length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_for_tls_is_the_one_of_the_rfc() {
        assert_eq!(STARTTLS.len(), 31);
        assert!(ber::is_sound(STARTTLS));
    }

    #[test]
    fn an_answer_to_it_has_a_code() {
        let answer = |code| vec![0x30, 12, 0x02, 1, 1, 0x78, 7, 0x0a, 1, code, 0x04, 0, 0x04, 0];
        assert_eq!(starttls_code(&answer(0)), Ok(0));
        assert_eq!(starttls_code(&answer(52)), Ok(52));
        let mut bind = answer(0);
        bind[5] = 0x61;
        assert_eq!(starttls_code(&bind), Err(Unsound));
        assert_eq!(starttls_code(&[0x30, 0]), Err(Unsound));
    }

    #[tokio::test]
    async fn a_message_that_is_unsound_or_too_long_never_reaches_the_parser() {
        let bind = [0x30u8, 12, 0x02, 1, 1, 0x61, 7, 0x0a, 1, 0, 0x04, 0, 0x04, 0];
        let mut passed = Vec::new();
        let two = [bind, bind].concat();
        pass_answers(&mut two.as_slice(), &mut passed).await.unwrap();
        assert_eq!(passed, two);
        let mut bad = bind.to_vec();
        bad[6] = 30;
        for bytes in [bad, vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0]] {
            let mut passed = Vec::new();
            pass_answers(&mut bytes.as_slice(), &mut passed).await.unwrap_err();
            assert!(passed.is_empty());
        }
    }

    #[tokio::test]
    async fn a_server_that_gives_no_tls_is_told_from_one_that_talks_nonsense() {
        let (client, mut server) = tokio::io::duplex(1024);
        let asked = tokio::spawn(start_tls(client));
        server.write_all(&[0x30, 12, 0x02, 1, 1, 0x78, 7, 0x0a, 1, 52, 0x04, 0, 0x04, 0]).await.unwrap();
        assert!(matches!(asked.await.unwrap(), Err(ChannelError::StartTls(52))));
        let (client, mut server) = tokio::io::duplex(1024);
        let asked = tokio::spawn(start_tls(client));
        server.write_all(b"\x30\x84\x7f\xff\xff\xff").await.unwrap();
        assert!(matches!(asked.await.unwrap(), Err(ChannelError::Unsound(_))));
    }
}
