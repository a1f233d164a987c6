//! The gateway against real sensors, against clients that misbehave, and against strangers.

mod evidence;
mod identity;
mod raw;
mod seat;

use std::net::SocketAddr;

use tokio::task::JoinHandle;
use watchpost_agent::identity::Identity;
use watchpost_agent::transport::TransportError;
use watchpost_core::access_key::{AccessKey, AccessSecret};
use watchpost_core::facts::Measurements;
use watchpost_core::sync::Report;
use watchpost_core::time::Timestamp;
use watchpost_fleet_sim::SimSensor;
use watchpost_protocol::limits::REQUEST_BYTES;
use watchpost_protocol::{Code, SyncReply, SyncRequest, paths};

use self::raw::{Raw, Shown};
use self::seat::Seat;
use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

/// A gateway that serves on loopback.
struct Running {
    seat: Seat,
    at: SocketAddr,
    key: AccessKey,
    clock: Clock,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    async fn start_with(limits: Limits) -> Self {
        let seat = Seat::open(NOW).await;
        let folder = tempfile::tempdir().unwrap();
        for repository in ["image", "director"] {
            for part in ["metadata", "targets"] {
                std::fs::create_dir_all(folder.path().join("repositories").join(repository).join(part)).unwrap();
            }
        }
        let certificate = GatewayCertificate::generate(NOW).unwrap();
        let repositories = folder.path().join("repositories");
        let clock = Clock::fixed(NOW);
        let gateway = Gateway::new(seat.app(), clock.clone(), repositories, &certificate, limits).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let key = AccessKey {
            secret: AccessSecret::new(seat.secret()),
            server_key: certificate.key_hash().unwrap(),
            director_root: [0; 32],
        };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(gateway.serve(listener, stopped));
        Self { seat, at, key, clock, stop, serving, folder }
    }

    fn sensor(&self, name: &str) -> SimSensor {
        SimSensor::new(&self.at.to_string(), &self.key, name, NOW).unwrap()
    }

    async fn enrolled(&self, name: &str) -> SimSensor {
        let mut sensor = self.sensor(name);
        sensor.enroll().await.unwrap();
        sensor
    }

    /// A connection of an enrolled sensor that can send anything.
    async fn raw(&self, name: &str) -> Raw {
        Raw::sensor(self.at, self.enrolled(name).await.identity()).await
    }

    fn publish(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join("repositories").join(file), bytes).unwrap();
    }
}

fn check_in() -> Vec<u8> {
    SyncRequest::encode(&Report::default(), &Measurements::default())
}

#[tokio::test]
async fn a_sensor_enrols_and_checks_in_on_one_connection() {
    // One place: were the connection not kept alive, the second request would find the gateway full.
    let running = Running::start_with(Limits { connections: 1, ..Limits::default() }).await;
    let mut sensor = running.sensor("DC1");
    let first = sensor.enroll().await.unwrap();
    assert_eq!(first.server_time, NOW);
    let again = sensor.enroll().await.unwrap();
    assert_eq!(again.sensor_id, first.sensor_id, "a lost reply made a second sensor");
    let done = sensor.sync_times(20, Duration::ZERO).await.unwrap();
    assert_eq!((done.answered, done.last.server_time), (20, NOW));
}

#[tokio::test]
async fn an_unchanged_check_in_runs_no_sql() {
    let running = Running::start().await;
    let sensor = running.enrolled("DC1").await;
    sensor.sync().await.unwrap();
    let before = running.seat.app().statements();
    sensor.sync_times(10, Duration::ZERO).await.unwrap();
    assert_eq!(running.seat.app().statements(), before);
}

#[tokio::test]
async fn another_server_with_the_same_address_is_not_trusted() {
    let running = Running::start().await;
    let elsewhere = AccessKey { server_key: [7; 32], ..running.key.clone() };
    let mut sensor = SimSensor::new(&running.at.to_string(), &elsewhere, "DC1", NOW).unwrap();
    assert!(matches!(sensor.enroll().await, Err(TransportError::Untrusted { .. })));
}

#[tokio::test]
async fn only_tls_1_3_with_one_held_certificate_is_let_in() {
    let running = Running::start().await;
    let identity = Identity::generate(NOW).unwrap();
    let other = Identity::generate(NOW).unwrap();
    assert!(
        Raw::connect(running.at, &rustls::version::TLS12, Shown::Certificate(&identity)).await.is_err(),
        "TLS 1.2 was let in"
    );
    let two = vec![identity.certificate().to_vec(), other.certificate().to_vec()];
    let mut large = rcgen::CertificateParams::new(vec!["x".repeat(60); 60]).unwrap();
    large.not_before = rcgen::date_time_ymd(2025, 1, 1);
    let large_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let large = vec![large.self_signed(&large_key).unwrap().der().to_vec()];
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let foreign = vec![rcgen::CertificateParams::default().self_signed(&p384).unwrap().der().to_vec()];
    for (why, shown) in [
        ("no certificate", Shown::Nothing),
        ("a stolen certificate", Shown::Chain(vec![identity.certificate().to_vec()], other.key().to_vec())),
        ("two certificates", Shown::Chain(two, identity.key().to_vec())),
        ("a large certificate", Shown::Chain(large, large_key.serialize_der())),
        ("a P-384 key", Shown::Chain(foreign, p384.serialize_der())),
    ] {
        // With TLS 1.3 the client's side may look finished before the server refuses.
        let Ok(mut raw) = Raw::connect(running.at, &rustls::version::TLS13, shown).await else { continue };
        raw.send(b"GET /v1/image/metadata/timestamp.json HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(raw.answer().await.is_err(), "{why} was let in");
    }
}

#[tokio::test]
async fn any_dates_and_either_key_kind_are_let_in() {
    let running = Running::start().await;
    let mut params = rcgen::CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(1971, 1, 1);
    params.not_after = rcgen::date_time_ymd(1972, 1, 1);
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let chain = vec![params.self_signed(&p256).unwrap().der().to_vec()];
    let shown = Shown::Chain(chain, p256.serialize_der());
    let mut raw = Raw::connect(running.at, &rustls::version::TLS13, shown).await.unwrap();
    assert_eq!(raw.ask("POST", paths::SYNC, "", &check_in()).await.code(), Code::SensorUnknown);
}

#[tokio::test]
async fn a_stranger_gets_a_typed_no_for_everything_but_enrolment() {
    let running = Running::start().await;
    running.publish("image/metadata/1.root.json", b"{}");
    let stranger = running.sensor("DC1");
    assert_eq!(stranger.sync().await.unwrap_err().code(), Some(Code::SensorUnknown));
    for path in ["/v1/image/metadata/1.root.json", "/v1/director/metadata/1.root.json", "/v1/targets/x", "/", "/v2"] {
        let error = stranger.client().fetch(path, 100).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::SensorUnknown), "{path}");
    }
}

#[tokio::test]
async fn a_revoked_pin_ends_on_a_live_connection() {
    let running = Running::start_with(Limits { connections: 1, ..Limits::default() }).await;
    let sensor = running.enrolled("DC1").await;
    sensor.sync().await.unwrap();
    running.seat.revoke(sensor.id.unwrap());
    assert_eq!(sensor.sync().await.unwrap_err().code(), Some(Code::SensorUnknown));
}

#[tokio::test]
async fn nonsense_is_refused_and_the_connection_goes_on() {
    let running = Running::start().await;
    let mut raw = running.raw("DC1").await;
    let too_large = vec![0; REQUEST_BYTES + 1];
    let larger = vec![0; 3 * REQUEST_BYTES];
    for (body, code) in [
        (b"\xff\xff\xff".as_slice(), Code::Malformed),
        (b"{\"json\": true}", Code::Malformed),
        (b"", Code::ProtocolUnsupported),
        (&[8, 2], Code::ProtocolUnsupported),
        (&[8, 1], Code::Malformed),
        (&too_large, Code::TooLarge),
        (&larger, Code::TooLarge),
    ] {
        assert_eq!(raw.ask("POST", paths::SYNC, "", body).await.code(), code, "{} bytes", body.len());
        assert_eq!(raw.ask("POST", paths::ENROLL, "", body).await.code(), code, "{} bytes", body.len());
        let good = raw.ask("POST", paths::SYNC, "", &check_in()).await;
        assert_eq!(SyncReply::from_bytes(&good.body).unwrap().server_time, NOW);
    }
    assert_eq!(raw.get(paths::SYNC).await.code(), Code::MethodNotAllowed);
    assert_eq!(raw.get(paths::ENROLL).await.code(), Code::MethodNotAllowed);
    assert_eq!(raw.ask("DELETE", "/v1/image/metadata/1.root.json", "", b"").await.code(), Code::MethodNotAllowed);
}

#[tokio::test]
async fn a_body_without_end_or_without_haste_ends_the_connection() {
    let running = Running::start_with(Limits { body: Duration::from_millis(100), ..Limits::default() }).await;
    let name = "DC1";
    let sensor = running.enrolled(name).await;

    let mut announced = Raw::sensor(running.at, sensor.identity()).await;
    announced.send(b"POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n").await;
    assert_eq!(announced.answer().await.unwrap().code(), Code::TooLarge);
    assert!(announced.ends().await);

    let mut slow = Raw::sensor(running.at, sensor.identity()).await;
    slow.send(b"POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc").await;
    assert_eq!(slow.answer().await.unwrap().code(), Code::TooSlow);
    assert!(slow.ends().await);

    for bytes in [b"\x16\x03\x01 not HTTP\r\n\r\n".to_vec(), [b"GET /".to_vec(), vec![b'a'; 20_000]].concat()] {
        let mut garbage = Raw::sensor(running.at, sensor.identity()).await;
        garbage.send(&bytes).await;
        assert!((400..500).contains(&garbage.answer().await.unwrap().status));
        assert!(garbage.ends().await);
    }
    sensor.sync().await.unwrap();
}

#[tokio::test]
async fn files_are_served_by_flat_names_and_by_nothing_else() {
    let running = Running::start().await;
    let hash = "0a".repeat(32);
    running.publish("image/metadata/1.root.json", b"image root");
    running.publish("director/metadata/timestamp.json", b"director time");
    running.publish(&format!("director/targets/{hash}.x.cab"), b"package");
    running.publish("image/metadata/.hidden.json", b"secret");
    running.publish("secret.json", b"secret");
    std::fs::create_dir(running.folder.path().join("repositories/image/metadata/folder.json")).unwrap();
    let mut raw = running.raw("DC1").await;
    assert_eq!(raw.get("/v1/image/metadata/1.root.json").await.body, b"image root");
    assert_eq!(raw.get("/v1/director/metadata/timestamp.json").await.body, b"director time");
    assert_eq!(raw.get(&format!("/v1/targets/{hash}.x.cab")).await.body, b"package");
    for path in [
        "/v1/image/metadata/2.root.json",
        "/v1/image/metadata/",
        "/v1/image/metadata",
        "/v1/image/metadata/../../secret.json",
        "/v1/image/metadata/..%2f..%2fsecret.json",
        "/v1/image/metadata/%2e%2e/%2e%2e/secret.json",
        "/v1/image/metadata/..\\..\\secret.json",
        "/v1/image/metadata//etc/passwd",
        "/v1/image/metadata/.hidden.json",
        "/v1/image/metadata/folder.json",
        "/v1/image/metadata/1.ROOT.json",
        "/v1/image/metadata/1.root.json/",
        "/v1/image/metadata/1.root.json%00",
        "/v1/image/metadata/1.root.txt",
        "/v1/image/targets/x.cab",
        "/v1/../secret.json",
        "/../../../../etc/passwd",
        "/v1/targets/x.cab",
        "/v1/targets/../../secret.json",
    ] {
        assert_eq!(raw.get(path).await.code(), Code::NotFound, "{path}");
    }
    for path in
        [format!("/v1/targets/{hash}.../x"), format!("/v1/targets/{hash}.%2e%2e"), format!("/v1/targets/{hash}.X")]
    {
        assert_eq!(raw.get(&path).await.code(), Code::NotFound, "{path}");
    }
}

#[tokio::test]
async fn a_download_in_ranges_gives_the_same_bytes() {
    let running = Running::start().await;
    let file: Vec<u8> = (0..300_001_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let path = format!("{}{}.x.cab", paths::TARGETS, "0a".repeat(32));
    running.publish(&format!("director/targets/{}.x.cab", "0a".repeat(32)), &file);
    let sensor = running.enrolled("DC1").await;
    for offset in [0, 1, 65_535, 65_536, 65_537, 300_000, 300_001] {
        let mut got = file[..offset].to_vec();
        let mut sink = |data: &[u8]| {
            got.extend_from_slice(data);
            Ok(())
        };
        let (from, length) = (u64::try_from(offset).unwrap(), u64::try_from(file.len()).unwrap());
        sensor.client().download(&path, from, length, &mut sink).await.unwrap();
        assert!(got == file, "from {offset}");
    }
    let mut raw = Raw::sensor(running.at, sensor.identity()).await;
    for (range, status, expected) in [
        ("bytes=0-0", 206, &file[..1]),
        ("bytes=10-19", 206, &file[10..20]),
        ("bytes=300000-999999", 206, &file[300_000..]),
        ("bytes=0-1,5-6", 200, &file[..]),
        ("bytes=-5", 200, &file[..]),
        ("nonsense", 200, &file[..]),
    ] {
        let answer = raw.ask("GET", &path, &format!("range: {range}\r\n"), b"").await;
        assert!(answer.status == status && answer.body == expected, "{range}: {}", answer.head);
    }
    for range in ["bytes=300001-", "bytes=5-4", "bytes=18446744073709551615-"] {
        let answer = raw.ask("GET", &path, &format!("range: {range}\r\n"), b"").await;
        assert_eq!(answer.code(), Code::RangeNotSatisfiable, "{range}");
    }
}

#[tokio::test]
async fn a_replayed_enrolment_is_refused() {
    let running = Running::start().await;
    let first = running.enrolled("DC1").await;
    let mut replay = running.sensor("DC2");
    replay.enrolment.enrolment_id = first.enrolment.enrolment_id.clone();
    assert_eq!(replay.enroll().await.unwrap_err().code(), Some(Code::EnrolmentReplayed));
    assert_eq!(replay.sync().await.unwrap_err().code(), Some(Code::SensorUnknown));
    first.sync().await.unwrap();
}

#[tokio::test]
async fn the_same_host_with_another_certificate_is_held_in_quarantine_and_told_when_to_ask_again() {
    let running = Running::start().await;
    let first = running.enrolled("DC1").await;
    let mut clone = running.sensor("DC1");
    let held = clone.enroll().await.unwrap_err();
    assert_eq!(held.code(), Some(Code::EnrolmentQuarantined));
    // Ten seconds, rounded up.
    let asked = |error: &TransportError| matches!(error, TransportError::Refused { retry_after: Some(after), .. } if after.as_secs() == 11);
    assert!(asked(&held), "{held:?}");
    assert_eq!(clone.sync().await.unwrap_err().code(), Some(Code::SensorUnknown));
    first.sync().await.unwrap();
}

#[tokio::test]
async fn facts_that_may_not_be_are_refused() {
    let running = Running::start().await;
    let mut sensor = running.sensor("DC1");
    sensor.enrolment.sensor_type = "toaster".into();
    assert_eq!(sensor.enroll().await.unwrap_err().code(), Some(Code::EnrolmentInvalid));
    sensor.enrolment.sensor_type = "domain controller".into();
    assert_eq!(sensor.enroll().await.unwrap_err().code(), Some(Code::Malformed));
}

#[tokio::test]
async fn unknown_keys_are_refused_and_their_address_made_to_wait() {
    let running = Running::start_with(Limits { attempts: 2, ..Limits::default() }).await;
    let early = running.enrolled("DC1").await;
    let mut guess = running.sensor("DC2");
    guess.enrolment.secret = [1; 32];
    for _ in 0..2 {
        assert_eq!(guess.enroll().await.unwrap_err().code(), Some(Code::AccessKeyUnknown));
    }
    let error = guess.enroll().await.unwrap_err();
    assert_eq!(error.code(), Some(Code::TooManyRequests));
    let TransportError::Refused { retry_after: Some(wait), .. } = error else { panic!("no time to wait") };
    assert!(wait <= Duration::from_secs(61) && wait > Duration::from_secs(1));
    assert_eq!(running.sensor("DC3").enroll().await.unwrap_err().code(), Some(Code::TooManyRequests));
    early.sync().await.unwrap();
}

#[tokio::test]
async fn a_full_gateway_closes_what_is_one_too_many() {
    let running = Running::start_with(Limits { connections: 1, ..Limits::default() }).await;
    let inside = running.enrolled("DC1").await;
    assert!(Raw::connect(running.at, &rustls::version::TLS13, Shown::Certificate(inside.identity())).await.is_err());
    inside.sync().await.unwrap();
}

#[tokio::test]
async fn strangers_have_few_places_and_keep_no_sensor_out() {
    let running = Running::start_with(Limits { strangers: 1, ..Limits::default() }).await;
    let sensor = running.enrolled("DC1").await;
    // It enrolled as a stranger, on a connection that ends with its client.
    let identity = sensor.identity().clone();
    drop(sensor);
    let somewhere = b"GET /v1/targets/x HTTP/1.1\r\nhost: x\r\n\r\n";
    let _first = loop {
        let mut first = Raw::sensor(running.at, &Identity::generate(NOW).unwrap()).await;
        first.send(somewhere).await;
        if first.answer().await.is_ok() {
            break first;
        }
    };
    let mut second = Raw::sensor(running.at, &Identity::generate(NOW).unwrap()).await;
    second.send(somewhere).await;
    assert!(second.answer().await.is_err(), "a second stranger found a place");
    let mut known = Raw::sensor(running.at, &identity).await;
    assert_eq!(known.ask("POST", paths::SYNC, "", &check_in()).await.status, 200);
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_let_go_long_before_a_sensor() {
    let running = Running::start_with(Limits { stranger_idle: Duration::from_millis(100), ..Limits::default() }).await;
    let mut known = running.raw("DC1").await;
    let mut stranger = Raw::sensor(running.at, &Identity::generate(NOW).unwrap()).await;
    assert!(stranger.ends().await);
    assert_eq!(known.ask("POST", paths::SYNC, "", &check_in()).await.status, 200);
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let short = Duration::from_millis(100);
    let running = Running::start_with(Limits { idle: short, handshake: short, ..Limits::default() }).await;
    let mut mute = TcpStream::connect(running.at).await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut mute, &mut rest).await.unwrap();
    assert!(rest.is_empty());
    let mut idle = Raw::sensor(running.at, &Identity::generate(NOW).unwrap()).await;
    assert!(idle.ends().await);
    // A sensor whose kept-alive connection was let go checks in on another one.
    let sensor = running.enrolled("DC1").await;
    sensor.sync_times(2, short * 2).await.unwrap();
}

#[tokio::test]
async fn a_reader_who_does_not_read_is_let_go() {
    let limits = Limits { connections: 2, stall: Duration::from_millis(100), ..Limits::default() };
    let running = Running::start_with(limits).await;
    let hash = "0a".repeat(32);
    // More than the buffers of both sockets hold.
    running.publish(&format!("director/targets/{hash}.x.cab"), &vec![7; 32 << 20]);
    let sensor = running.enrolled("DC1").await;
    let mut stalled = Raw::sensor(running.at, sensor.identity()).await;
    stalled.send(format!("GET /v1/targets/{hash}.x.cab HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    // Its place is free again only once the gateway has given it up.
    while Raw::connect(running.at, &rustls::version::TLS13, Shown::Certificate(sensor.identity())).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(stalled.answer().await.is_err(), "the whole file came");
}

#[tokio::test]
async fn the_gateway_stops_when_told_and_hosts_see_a_closed_door() {
    let running = Running::start().await;
    let sensor = running.enrolled("DC1").await;
    running.stop.send(true).unwrap();
    running.serving.await.unwrap();
    assert!(matches!(sensor.sync().await, Err(TransportError::Connect { .. })));
}
