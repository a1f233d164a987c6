//! A client against servers that lie, break off, stall, or are somebody else.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use watchpost_core::time::Timestamp;
use watchpost_protocol::wire;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const LENGTH: u64 = 1000;

/// What the server does on one connection: these answers, one per request, and then this end.
pub(crate) struct Script {
    pub(crate) answers: Vec<Vec<u8>>,
    pub(crate) then: End,
}

pub(crate) enum End {
    Close,
    Hang,
}

/// A server that follows its scripts, one per connection, and remembers the requests.
pub(crate) struct Double {
    pub(crate) address: String,
    pub(crate) key_hash: [u8; 32],
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

fn certificate() -> (rcgen::CertifiedKey<rcgen::KeyPair>, [u8; 32]) {
    let made = rcgen::generate_simple_self_signed(vec!["any.test".to_owned()]).unwrap();
    let spki = ParsedCertificate::try_from(made.cert.der()).unwrap().subject_public_key_info();
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki).as_ref());
    (made, hash)
}

pub(crate) async fn double(versions: &[&'static rustls::SupportedProtocolVersion], scripts: Vec<Script>) -> Double {
    let (made, key_hash) = certificate();
    serve(versions, (made.cert.der().clone(), made.signing_key.serialize_der()), key_hash, scripts).await
}

pub(crate) async fn serve(
    versions: &[&'static rustls::SupportedProtocolVersion],
    (certificate, key): (CertificateDer<'static>, Vec<u8>),
    key_hash: [u8; 32],
    scripts: Vec<Script>,
) -> Double {
    let signer = any_supported_type(&PrivatePkcs8KeyDer::from(key).into()).unwrap();
    let certified = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], signer));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certified));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (requests, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (heard, counted) = (Arc::clone(&requests), Arc::clone(&connections));
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        for script in scripts {
            let (stream, _) = listener.accept().await.unwrap();
            *counted.lock().unwrap() += 1;
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            follow(stream, script, &heard).await;
        }
    });
    Double { address, key_hash, requests, connections }
}

async fn follow(mut stream: TlsStream<TcpStream>, script: Script, heard: &Mutex<Vec<String>>) {
    for answer in script.answers {
        let Some(head) = read_request(&mut stream).await else { return };
        heard.lock().unwrap().push(head);
        stream.write_all(&answer).await.unwrap();
        stream.flush().await.unwrap();
    }
    match script.then {
        End::Close => stream.shutdown().await.unwrap_or(()),
        End::Hang => {
            // Held until the client goes: reading returns only then.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

/// The head of a request; its body is read and dropped.
async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0").parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(head)
}

/// Patience for tests in which it must run out; all others have the patience of a product.
fn impatient() -> Timeouts {
    let reply = Duration::from_millis(300);
    Timeouts { reply, ..Timeouts::default() }
}

fn client_of(address: &str, key_hash: [u8; 32], timeouts: Timeouts) -> Client {
    Client::new(address, [key_hash.into()].into(), &Identity::generate(NOW).unwrap(), timeouts).unwrap()
}

/// A client and a server that speaks TLS 1.3 and follows these scripts.
async fn pair(scripts: Vec<Script>, timeouts: Timeouts) -> (Client, Double) {
    let double = double(&[&rustls::version::TLS13], scripts).await;
    (client_of(&double.address, double.key_hash, timeouts), double)
}

/// What a check-in comes to when this is all the server answers.
async fn sync_against(answer: Vec<u8>, then: End) -> Result<SyncReply, TransportError> {
    let (client, _double) = pair(vec![Script { answers: vec![answer], then }], Timeouts::default()).await;
    client.sync(&Report::default(), &Measurements::default()).await
}

pub(crate) fn http(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

fn good() -> Vec<u8> {
    let reply = SyncReply {
        server_time: NOW,
        come_back_after: Duration::from_secs(60),
        desired: watchpost_core::sync::Desired::default(),
        standing: None,
        learn_server_keys: false,
        asked: None,
    };
    http(200, PROTOBUF, &reply.to_bytes())
}

#[tokio::test]
async fn a_key_that_is_learnt_is_trusted_beside_the_other_and_one_that_is_dropped_no_more() {
    let answers = || Script { answers: vec![good()], then: End::Close };
    let double = double(&[&rustls::version::TLS13], vec![answers(), answers(), answers()]).await;
    let client = client_of(&double.address, [9; 32], Timeouts::default());
    let presenting = client.presenting(&Identity::generate(NOW).unwrap()).unwrap();
    let sync = async |client: &Client| client.sync(&Report::default(), &Measurements::default()).await;
    client.trust([[9; 32].into(), double.key_hash.into()].into());
    sync(&client).await.unwrap();
    sync(&presenting).await.unwrap();
    client.trust([[9; 32].into()].into());
    let refused = sync(&presenting).await.unwrap_err();
    assert!(matches!(refused, TransportError::Untrusted { .. }), "{refused:?}");
}

#[tokio::test]
async fn another_key_is_refused_as_untrusted_before_anything_is_said() {
    let double = double(&[&rustls::version::TLS13], vec![Script { answers: vec![good()], then: End::Close }]).await;
    let error = client_of(&double.address, [9; 32], Timeouts::default())
        .sync(&Report::default(), &Measurements::default())
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Untrusted { .. }), "{error:?}");
    assert!(double.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_right_certificate_without_its_key_is_refused_as_untrusted() {
    let (right, key_hash) = certificate();
    let (wrong, _) = certificate();
    let stolen = (right.cert.der().clone(), wrong.signing_key.serialize_der());
    let scripts = vec![Script { answers: vec![good()], then: End::Close }];
    let double = serve(&[&rustls::version::TLS13], stolen, key_hash, scripts).await;
    let client = client_of(&double.address, key_hash, Timeouts::default());
    let error = client.sync(&Report::default(), &Measurements::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::Untrusted { .. }), "{error:?}");
    assert!(double.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_old_tls_no_tls_and_no_server_are_told_apart() {
    let old = double(&[&rustls::version::TLS12], vec![Script { answers: vec![], then: End::Close }]).await;
    let error = client_of(&old.address, old.key_hash, Timeouts::default())
        .sync(&Report::default(), &Measurements::default())
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::TlsTooOld { .. }), "{error:?}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = client_of(&address, [0; 32], Timeouts::default())
        .sync(&Report::default(), &Measurements::default())
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Tls { .. }), "{error:?}");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = client_of(&closed, [0; 32], Timeouts::default())
        .sync(&Report::default(), &Measurements::default())
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error:?}");

    let error = client_of("no-such-host.invalid:1", [0; 32], Timeouts::default())
        .sync(&Report::default(), &Measurements::default())
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Dns { .. }), "{error:?}");

    let identity = Identity::generate(NOW).unwrap();
    for bad in ["", "host", "host:", "host:99999", ":1", "a b:1"] {
        assert!(
            matches!(
                Client::new(bad, [[0; 32].into()].into(), &identity, Timeouts::default()),
                Err(TransportError::Address(_))
            ),
            "{bad}"
        );
    }
    Client::new("[::1]:8443", [[0; 32].into()].into(), &identity, Timeouts::default()).unwrap();
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_wherever_it_falls_silent() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let short = Timeouts { handshake: Duration::from_millis(100), ..Timeouts::default() };
    let error =
        client_of(&address, [0; 32], short).sync(&Report::default(), &Measurements::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout { doing: "the TLS handshake", .. }), "{error:?}");
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 1].to_vec();
    for answer in [Vec::new(), b"HTTP/1.1 200 OK\r\n".to_vec(), cut(good())] {
        let (client, _double) = pair(vec![Script { answers: vec![answer], then: End::Hang }], impatient()).await;
        let error = client.sync(&Report::default(), &Measurements::default()).await.unwrap_err();
        assert!(matches!(error, TransportError::Timeout { doing: "checking in", .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_lost() {
    let whole = good();
    for end in [0, 10, whole.len() - 1] {
        let error = sync_against(whole[..end].to_vec(), End::Close).await.unwrap_err();
        assert!(matches!(error, TransportError::Lost { .. }), "{end}: {error:?}");
        assert!(error.is_interruption());
    }
}

#[tokio::test]
async fn nonsense_is_garbage() {
    let endless_head = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 200_000]].concat();
    let many_lines = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".repeat(100), b"\r\n".to_vec()].concat();
    let newer_words = wire::SyncReply { desired: None, ..Default::default() };
    for answer in [
        b"\x00\xff\x13 nonsense\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH\r\n".to_vec(),
        endless_head,
        many_lines,
        http(200, "content-type: text/html\r\n", b"<html>captive portal</html>"),
        http(200, PROTOBUF, b"\xff\xff\xff"),
        http(200, PROTOBUF, &prost::Message::encode_to_vec(&newer_words)),
        http(302, "location: http://elsewhere.test/\r\n", b""),
        http(502, "content-type: text/html\r\n", b"bad gateway"),
        http(403, PROTOBUF, b"\xff\xff"),
        http(403, PROTOBUF, b""),
    ] {
        let text = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let error = sync_against(answer, End::Hang).await.unwrap_err();
        assert!(matches!(error, TransportError::Garbage { .. }), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn a_large_answer_is_not_read() {
    let error = sync_against(http(200, PROTOBUF, &vec![0; REPLY_BYTES + 1]), End::Hang).await.unwrap_err();
    assert!(matches!(error, TransportError::TooLarge { limit: 65_536 }), "{error:?}");
    let (client, _double) =
        pair(vec![Script { answers: vec![http(200, "", &[7; 101])], then: End::Hang }], Timeouts::default()).await;
    let error = client.fetch("/v1/image/metadata/1.root.json", 100).await.unwrap_err();
    assert!(matches!(error, TransportError::TooLarge { limit: 100 }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_keeps_its_word_known_or_not() {
    let known = ErrorReply::new(Code::TooManyRequests, "wait").to_bytes();
    let later = format!("{PROTOBUF}retry-after: 7\r\n");
    let error = sync_against(http(429, &later, &known), End::Hang).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::TooManyRequests));
    let TransportError::Refused { retry_after, .. } = error else { panic!("no refusal") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));

    let newer = ErrorReply { code: "from_the_future".into(), message: "who knows".into() }.to_bytes();
    let error = sync_against(http(418, PROTOBUF, &newer), End::Hang).await.unwrap_err();
    assert_eq!(error.to_string(), "the server refused (from_the_future): who knows");
    assert_eq!(error.code(), None);
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_a_closed_one_is_replaced() {
    let refused = http(404, PROTOBUF, &ErrorReply::new(Code::NotFound, "no").to_bytes());
    let scripts = vec![
        Script { answers: vec![good(), refused, good()], then: End::Close },
        Script { answers: vec![good()], then: End::Hang },
    ];
    let (client, double) = pair(scripts, Timeouts::default()).await;
    client.sync(&Report::default(), &Measurements::default()).await.unwrap();
    assert_eq!(client.fetch("/v1/image/metadata/9.root.json", 100).await.unwrap(), None);
    client.sync(&Report::default(), &Measurements::default()).await.unwrap();
    assert_eq!(*double.connections.lock().unwrap(), 1);
    client.sync(&Report::default(), &Measurements::default()).await.unwrap();
    assert_eq!(*double.connections.lock().unwrap(), 2);
}

/// The file that is downloaded.
fn file() -> Vec<u8> {
    (0..LENGTH).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// An answer with the rest of the file from `at` on, of which only `sent` bytes are there.
fn rest(at: usize, sent: usize) -> Vec<u8> {
    let headers = format!("content-range: bytes {at}-{}/{LENGTH}\r\n", LENGTH - 1);
    let mut answer = http(206, &headers, &file()[at..]);
    answer.truncate(answer.len() - (file().len() - at - sent));
    answer
}

async fn download_by(scripts: Vec<Script>, offset: u64) -> (Result<(), TransportError>, Vec<u8>, Double) {
    let timeouts = Timeouts { window: Duration::from_secs(1), slowest: 500, ..Timeouts::default() };
    let (client, double) = pair(scripts, timeouts).await;
    let mut got = Vec::new();
    let mut sink = |data: &[u8]| {
        got.extend_from_slice(data);
        Ok(())
    };
    let result = client.download("/v1/targets/x", offset, LENGTH, &mut sink).await;
    (result, got, double)
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let scripts = vec![
        Script { answers: vec![rest(100, 300)], then: End::Close },
        Script { answers: vec![rest(400, 600)], then: End::Close },
    ];
    let (result, got, double) = download_by(scripts, 100).await;
    result.unwrap();
    assert_eq!(got, file()[100..]);
    let asked = double.requests.lock().unwrap().clone();
    assert!(asked[0].contains("range: bytes=100-\r\n") && asked[1].contains("range: bytes=400-\r\n"), "{asked:?}");
}

#[tokio::test]
async fn a_download_without_progress_is_given_up() {
    let scripts = (0..3).map(|_| Script { answers: vec![rest(0, 0)], then: End::Close }).collect();
    let (result, got, double) = download_by(scripts, 0).await;
    assert!(matches!(result, Err(TransportError::Lost { .. })), "{result:?}");
    assert!(got.is_empty());
    assert_eq!(*double.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_download_below_the_floor_of_speed_is_a_timeout() {
    // 499 bytes and then silence: one less than the floor of a window.
    let scripts = vec![
        Script { answers: vec![rest(0, 499)], then: End::Hang },
        Script { answers: vec![rest(499, 0)], then: End::Hang },
    ];
    let (result, got, _double) = download_by(scripts, 0).await;
    assert!(matches!(result, Err(TransportError::Timeout { .. }) | Err(TransportError::Connect { .. })), "{result:?}");
    assert_eq!(got, file()[..499], "what arrived is good");
}

#[tokio::test]
async fn a_download_of_another_file_is_refused() {
    let headers = |range: &str| format!("content-range: {range}\r\n");
    for (answer, offset) in [
        (http(206, &headers("bytes 0-1000/1001"), &[0; 1001]), 0),
        (http(206, &headers("bytes 1-999/1000"), &[0; 999]), 0),
        (http(206, "", &file()), 0),
        (http(200, "", &[0; 999]), 0),
        (http(200, "", &[0; 1001]), 0),
        (http(200, "", &file()), 10),
        (http(204, "", b""), 0),
    ] {
        let text = String::from_utf8_lossy(&answer[..70.min(answer.len())]).into_owned();
        let (result, got, _double) = download_by(vec![Script { answers: vec![answer], then: End::Hang }], offset).await;
        assert!(matches!(result, Err(TransportError::Garbage { .. })), "{text}: {result:?}");
        assert!(got.is_empty(), "{text}");
    }
}

#[tokio::test]
async fn a_full_disk_ends_a_download() {
    let (client, _double) =
        pair(vec![Script { answers: vec![rest(0, 1000)], then: End::Hang }], Timeouts::default()).await;
    let mut full = |_: &[u8]| Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    let error = client.download("/v1/targets/x", 0, LENGTH, &mut full).await.unwrap_err();
    assert!(matches!(error, TransportError::Sink(_)), "{error:?}");
}
