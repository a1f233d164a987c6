//! Every obstacle on the way, made for real where a socket can make it, and the word it gets.

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use watchpost_protocol::ErrorReply;

use super::*;
use crate::host_config::sample;
use crate::proxy_config::ProxyConfig;
use crate::transport::tests::{End, PROTOBUF, Script, double, http, serve};

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

/// A host that is told to call `server`, through `proxy` if there is one.
fn host(server: &str, key_hash: [u8; 32], proxy: Option<&str>) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let proxy = proxy.map(|url| ProxyConfig { url: url.to_owned(), user_name: None });
    let config = HostConfig { server: server.to_owned(), server_key_sha256: hex::encode(key_hash), proxy, ..sample() };
    config.write(root.path()).unwrap();
    Keyring::of_host(root.path()).read_or_make(NOW).unwrap();
    root
}

async fn found(root: &tempfile::TempDir) -> Finding {
    let timeouts = Timeouts { reply: Duration::from_millis(300), ..Timeouts::default() };
    check(root.path(), &Clock::fixed(NOW), timeouts).await.unwrap()
}

/// What is found of a server that owns the right key and answers this.
async fn answered(answer: Vec<u8>) -> Finding {
    let double = double(&[&TLS13], vec![Script { answers: vec![answer], then: End::Hang }]).await;
    found(&host(&double.address, double.key_hash, None)).await
}

fn ping(is_enrolled: bool, server_time: Timestamp) -> Vec<u8> {
    http(200, PROTOBUF, &PingReply { server_time, is_enrolled }.to_bytes())
}

/// Something that answers the first connection with `answer`, whatever is said to it, and then waits.
async fn plain(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 1024];
        let _ = stream.read(&mut first).await.unwrap();
        stream.write_all(answer).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    address
}

async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn what_a_server_says_is_told_apart() {
    let fine = answered(ping(true, NOW)).await;
    assert_eq!((fine.verdict, fine.clock_ahead_seconds), (Verdict::Ok, Some(0)));
    assert_eq!(answered(ping(false, NOW)).await.verdict, Verdict::UnknownKey);
    let refused = |code: Code| http(code.status(), PROTOBUF, &ErrorReply::new(code, "no").to_bytes());
    assert_eq!(answered(refused(Code::TooManyRequests)).await.verdict, Verdict::RateLimited);
    assert_eq!(answered(refused(Code::Unavailable)).await.verdict, Verdict::Unavailable);
    // A server of an older build refuses a stranger before it looks at the address, and does not know the address.
    assert_eq!(answered(refused(Code::SensorUnknown)).await.verdict, Verdict::UnknownKey);
    assert_eq!(answered(refused(Code::NotFound)).await.verdict, Verdict::NoGateway);
    assert_eq!(answered(http(200, "content-type: text/html\r\n", b"hello")).await.verdict, Verdict::NoGateway);
    assert_eq!(answered(Vec::new()).await.verdict, Verdict::NoAnswer);
}

#[tokio::test]
async fn a_clock_more_than_five_minutes_off_is_told_to_the_second() {
    for (ahead, verdict) in [
        (300, Verdict::Ok),
        (301, Verdict::ClockWrong),
        (-300, Verdict::Ok),
        (-301, Verdict::ClockWrong),
        (50 * 365 * 86_400, Verdict::ClockWrong),
    ] {
        let server_time = Timestamp::from_millis(NOW.millis() - ahead * 1000);
        let finding = answered(ping(true, server_time)).await;
        assert_eq!((finding.verdict, finding.clock_ahead_seconds), (verdict, Some(ahead)), "{}", finding.message);
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_tls_is_told_apart() {
    let script = || vec![Script { answers: vec![ping(true, NOW)], then: End::Close }];
    let other = double(&[&TLS13], script()).await;
    assert_eq!(found(&host(&other.address, [7; 32], None)).await.verdict, Verdict::Untrusted);
    let old = double(&[&TLS12], script()).await;
    assert_eq!(found(&host(&old.address, old.key_hash, None)).await.verdict, Verdict::TlsTooOld);
    let mail = plain(b"220 mail.test ESMTP\r\n").await;
    assert_eq!(found(&host(&mail, [7; 32], None)).await.verdict, Verdict::TlsFailed);
    assert_eq!(found(&host(&nobody().await, [7; 32], None)).await.verdict, Verdict::NoConnection);
    assert_eq!(found(&host("no-such-host.invalid:1", [7; 32], None)).await.verdict, Verdict::NameNotResolved);
}

#[tokio::test]
async fn something_that_opens_tls_is_named_by_the_authority_that_signed_its_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Corp Inspection\u{7} CA");
    let issuer = rcgen::Issuer::new(authority, &key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["gateway.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let scripts = vec![Script { answers: Vec::new(), then: End::Close }];
    let opens = serve(&[&TLS13], (leaf.der().clone(), leaf_key.serialize_der()), [0; 32], scripts).await;
    let finding = found(&host(&opens.address, [7; 32], None)).await;
    assert_eq!(finding.verdict, Verdict::Intercepted);
    assert!(finding.message.contains("“CN=Corp Inspection CA”"), "{}", finding.message);
}

#[tokio::test]
async fn what_a_proxy_does_is_told_apart() {
    let server = nobody().await;
    let through = async |proxy: &str| found(&host(&server, [7; 32], Some(proxy))).await;
    let finding = through(&nobody().await).await;
    assert_eq!(finding.verdict, Verdict::ProxyUnreachable);
    assert!(finding.proxy.is_some());
    let no_name = through("http://no-such-proxy.invalid:3128").await;
    assert_eq!(no_name.verdict, Verdict::NameNotResolved);
    assert!(no_name.message.contains("no-such-proxy.invalid"), "{}", no_name.message);
    for (answer, verdict) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n"[..],
            Verdict::ProxyAuthentication,
        ),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", Verdict::ProxyAuthentication),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Verdict::ProxyRefused),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Verdict::ProxyRefused),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Verdict::NoProxy),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP before TLS", Verdict::NoProxy),
    ] {
        let proxy = plain(answer).await;
        let finding = through(&proxy).await;
        assert_eq!(finding.verdict, verdict, "{}", finding.message);
    }
}

#[tokio::test]
async fn a_host_that_is_not_set_up_is_an_error_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let asked = check(root.path(), &Clock::fixed(NOW), Timeouts::default()).await;
    assert!(matches!(asked, Err(CheckError::Config(_))));
    sample().write(root.path()).unwrap();
    let asked = check(root.path(), &Clock::fixed(NOW), Timeouts::default()).await;
    assert!(matches!(asked, Err(CheckError::NotEnrolled)));
}
