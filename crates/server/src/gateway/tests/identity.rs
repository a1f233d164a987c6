//! One certificate takes the place of another over real TLS: who may do what with which.

use watchpost_core::identity::{Pin, Role};
use watchpost_protocol::{ConfirmRequest, ProposeRequest, StandingReply};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A sensor that has proposed this second certificate, and a client that presents it.
async fn proposed(running: &Running) -> (SimSensor, Identity) {
    let sensor = running.enrolled("DC1").await;
    let next = Identity::generate(NOW).unwrap();
    let standing = sensor.client().propose(next.named()).await.unwrap();
    assert_eq!(standing.role(next.named()), Some(Role::Pending));
    assert_eq!(standing.role(sensor.identity().named()), Some(Role::Active));
    (sensor, next)
}

async fn sync(client: &watchpost_agent::transport::Client) -> Result<SyncReply, TransportError> {
    client.sync(&Report::default(), &Measurements::default()).await
}

#[tokio::test]
async fn a_certificate_is_proposed_confirmed_on_its_own_connection_and_the_one_before_goes_a_week_later() {
    let running = Running::start().await;
    let (sensor, next) = proposed(&running).await;
    let (old, new) = (sensor.client(), sensor.client().presenting(&next).unwrap());
    // Whoever does not present the key confirms nothing.
    assert_eq!(old.confirm().await.unwrap().role(next.named()), Some(Role::Pending));
    assert_eq!(sync(&new).await.unwrap_err().code(), Some(Code::CertificateUnconfirmed));
    assert_eq!(new.propose(Pin::from([9; 32])).await.unwrap_err().code(), Some(Code::CertificateUnconfirmed));
    assert_eq!(new.standing().await.unwrap(), old.standing().await.unwrap());
    for _ in 0..2 {
        assert_eq!(new.confirm().await.unwrap().role(next.named()), Some(Role::Active), "safe to repeat");
    }
    // Both are let in, as one sensor, and hear of each other.
    for client in [old, &new] {
        assert_eq!(sync(client).await.unwrap().standing.unwrap().pins.len(), 2);
    }
    running.clock.set(NOW + 8 * DAY);
    assert_eq!(sync(old).await.unwrap().standing.unwrap().pins.len(), 2, "the one before removes nothing");
    assert_eq!(sync(&new).await.unwrap().standing, None, "it is the only one");
    assert_eq!(sync(old).await.unwrap_err().code(), Some(Code::SensorUnknown));
    assert_eq!(running.seat.app().sensor_count(), 1);
}

#[tokio::test]
async fn a_client_presents_another_certificate_and_keeps_no_connection_of_the_one_before() {
    let running = Running::start().await;
    let (sensor, next) = proposed(&running).await;
    sensor.client().presenting(&next).unwrap().confirm().await.unwrap();
    sync(sensor.client()).await.unwrap();
    sensor.client().present(&next).unwrap();
    running.clock.set(NOW + 8 * DAY);
    assert_eq!(sync(sensor.client()).await.unwrap().standing, None, "the old connection would have been told of two");
}

#[tokio::test]
async fn one_that_expired_is_accepted_for_ninety_days_and_after_that_for_its_own_renewal() {
    let running = Running::start().await;
    let sensor = running.enrolled("DC1").await;
    running.clock.set(NOW + 819 * DAY);
    assert!(sync(sensor.client()).await.unwrap().standing.unwrap().renew);
    running.clock.set(NOW + 3_000 * DAY);
    assert_eq!(sync(sensor.client()).await.unwrap_err().code(), Some(Code::CertificateExpired));
    assert!(sensor.client().standing().await.unwrap().renew);
    let next = Identity::generate(NOW).unwrap();
    sensor.client().propose(next.named()).await.unwrap();
    let new = sensor.client().presenting(&next).unwrap();
    new.confirm().await.unwrap();
    sync(&new).await.unwrap();
}

#[tokio::test]
async fn another_sensors_certificate_strangers_and_nonsense_are_refused() {
    let running = Running::start().await;
    let (one, two) = (running.enrolled("DC1").await, running.enrolled("DC2").await);
    let refused = one.client().propose(two.identity().named()).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::CertificateInUse));
    let stranger = running.sensor("DC3");
    for refused in [
        stranger.client().standing().await.unwrap_err(),
        stranger.client().propose(Pin::from([9; 32])).await.unwrap_err(),
        stranger.client().confirm().await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Some(Code::SensorUnknown));
    }
    let mut raw = Raw::sensor(running.at, one.identity()).await;
    let proposal = ProposeRequest { pin: Pin::from([9; 32]) }.to_bytes();
    for (method, path, body, code) in [
        ("POST", paths::IDENTITY, &b""[..], Code::MethodNotAllowed),
        ("GET", paths::PROPOSE, b"", Code::MethodNotAllowed),
        ("GET", paths::CONFIRM, b"", Code::MethodNotAllowed),
        ("POST", paths::PROPOSE, b"\xff\xff", Code::Malformed),
        ("POST", paths::PROPOSE, &proposal[..proposal.len() - 1], Code::Malformed),
        ("POST", paths::PROPOSE, b"", Code::ProtocolUnsupported),
        ("POST", paths::CONFIRM, b"", Code::ProtocolUnsupported),
        ("POST", "/v1/identity/retire", b"", Code::NotFound),
        ("GET", "/v1/identityx", b"", Code::NotFound),
    ] {
        assert_eq!(raw.ask(method, path, "", body).await.code(), code, "{method} {path}");
    }
    let answer = raw.ask("POST", paths::CONFIRM, "", &ConfirmRequest.to_bytes()).await;
    assert_eq!(StandingReply::from_bytes(&answer.body).unwrap().0.pins, [(one.identity().named(), Role::Active)]);
}

#[tokio::test]
async fn a_lost_store_promises_nothing() {
    let running = Running::start().await;
    let (sensor, next) = proposed(&running).await;
    running.seat.lose_store().await;
    let new = sensor.client().presenting(&next).unwrap();
    assert_eq!(new.confirm().await.unwrap_err().code(), Some(Code::Unavailable));
    assert_eq!(sync(&new).await.unwrap_err().code(), Some(Code::CertificateUnconfirmed), "it is as it was");
}
