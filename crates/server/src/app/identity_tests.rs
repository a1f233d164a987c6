//! Certificates on the control plane: durable, audited, ordered by people, and never another sensor's.

use std::time::Duration;

use http::{Method, StatusCode};
use watchpost_core::identity::{Admission, Pin, Role};

use super::identity::{CertificateState, RotationRefused};
use super::*;
use crate::testing::{A, House, T0, running};

const DAY: Duration = Duration::from_secs(86_400);

fn pin(number: u8) -> Pin {
    Pin::from([number; 32])
}

async fn actions(app: &App) -> Vec<String> {
    let rows = app.audit_log(0, 50).await.unwrap().into_iter().map(|row| row.entry.action);
    let mut rows: Vec<_> = rows.filter(|action| action.starts_with("certificate.")).collect();
    rows.reverse();
    rows
}

#[tokio::test]
async fn a_rotation_is_durable_audited_and_survives_a_restart_at_every_step() {
    let house = House::new().await;
    let mut server = house.start().await;
    let id = house.host(server.app(), 1, false, A).await;
    let order = [("propose", 1), ("confirm", 2), ("retire", 2)];
    for (turn, (what, by)) in order.into_iter().enumerate() {
        let app = server.app().clone();
        let now = if what == "retire" { T0 + 8 * DAY } else { T0 };
        house.clock.set(now);
        match what {
            "propose" => drop(app.propose_certificate(id, [by; 32], pin(2), now).await.unwrap()),
            "confirm" => drop(app.confirm_certificate(id, [by; 32], now).await.unwrap()),
            _ => {
                assert!(!app.may_remove_previous(id, &[1; 32], now), "the one before may be all the host has");
                assert!(app.may_remove_previous(id, &[by; 32], now));
                app.remove_previous(id, [by; 32], now).await;
            }
        }
        let before = app.standing(id, now).unwrap();
        drop(app);
        server.stop().await.unwrap();
        server = house.start().await;
        let after = server.app().standing(id, now).unwrap();
        assert_eq!(after, before, "after step {turn}");
        assert!(server.app().admit(&[by; 32], now).is_some());
    }
    let app = server.app();
    assert_eq!(app.admit(&[1; 32], T0 + 8 * DAY), None);
    assert_eq!(app.admit(&[2; 32], T0 + 8 * DAY), Some((id, Admission::Full)));
    assert_eq!(app.certificate(id, T0 + 8 * DAY).unwrap().state, CertificateState::Settled);
    assert_eq!(actions(app).await, ["certificate.propose", "certificate.confirm", "certificate.retire"]);
}

#[tokio::test]
async fn a_certificate_of_another_sensor_is_not_taken_and_a_repetition_is_not_audited() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let (one, two) = (house.host(app, 1, false, A).await, house.host(app, 2, false, A).await);
    let refused = app.propose_certificate(one, [1; 32], pin(2), T0).await.unwrap_err();
    assert!(matches!(refused, RotationRefused::InUse), "{refused}");
    for _ in 0..2 {
        let standing = app.propose_certificate(one, [1; 32], pin(3), T0).await.unwrap();
        assert_eq!(standing.role(pin(3)), Some(Role::Pending));
    }
    assert_eq!(actions(app).await, ["certificate.propose"]);
    assert_eq!(app.admit(&[3; 32], T0), Some((one, Admission::ConfirmOnly)));
    let refused = app.propose_certificate(two, [2; 32], pin(3), T0).await.unwrap_err();
    assert!(matches!(refused, RotationRefused::InUse), "{refused}");
}

#[tokio::test]
async fn setup_that_is_run_again_after_a_rotation_is_the_same_sensor() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let id = house.host(app, 1, false, A).await;
    app.propose_certificate(id, [1; 32], pin(2), T0).await.unwrap();
    app.confirm_certificate(id, [2; 32], T0).await.unwrap();
    let mut again = house.enrolment("DC01", false);
    again.enrolment_id = "enr-of-the-second-certificate".to_owned();
    assert_eq!(app.enroll(again.clone(), [2; 32], T0).await.unwrap().sensor, id);
    again.host_id = "another-host".to_owned();
    assert!(app.enroll(again, [2; 32], T0).await.is_err(), "a copy on another host is not");
    assert_eq!(app.sensor_count(), 1);
}

#[tokio::test]
async fn an_administrator_orders_a_rotation_and_sees_what_came_of_it() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let id = house.host(app, 1, false, A).await;
    assert_eq!(app.standing_at_check_in(id, T0), None, "a settled certificate is not worth a word");
    house.clock.set(T0 + DAY);
    let path = "/api/v1/sensors/DC01/rotateCertificate";
    let answer = house.call(&server, Method::POST, path, br#"{"reason":"a backup was stolen"}"#).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let shown = answer.json()["certificate"].clone();
    assert_eq!((shown["state"].as_str(), shown["previousCount"].as_u64()), (Some("renewalDue"), Some(0)));
    assert_eq!(shown["expiresDateTime"], serde_json::json!(T0 + 730 * DAY));
    assert!(app.standing_at_check_in(id, T0 + DAY).unwrap().renew);
    app.propose_certificate(id, [1; 32], pin(2), T0 + DAY).await.unwrap();
    assert_eq!(app.certificate(id, T0 + DAY).unwrap().state, CertificateState::Proposed);
    app.confirm_certificate(id, [2; 32], T0 + 2 * DAY).await.unwrap();
    let view = app.certificate(id, T0 + 2 * DAY).unwrap();
    assert_eq!((view.state, view.expires_at), (CertificateState::PreviousKept, T0 + 731 * DAY));
    assert!(!app.standing(id, T0 + 2 * DAY).unwrap().renew, "the order was carried out");
    assert_eq!(actions(app).await, ["certificate.order", "certificate.propose", "certificate.confirm"]);
    assert_eq!(house.call(&server, Method::POST, "/api/v1/sensors/DC9/rotateCertificate", b"").await.status, 404);
}

#[tokio::test]
async fn a_certificate_that_nears_its_end_opens_an_issue_and_another_one_closes_it() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let id = house.host(app, 1, false, A).await;
    let issues = || -> Vec<_> {
        let rows = app.issues_of(id).into_iter().filter(|row| row.issue.is_open()).map(|row| row.kind.word());
        rows.filter(|word| word.starts_with("certificate")).collect()
    };
    let late = T0 + 720 * DAY;
    house.clock.set(late);
    app.check_in(id, running(A), late).await.unwrap();
    crate::testing::until("it is told", || issues() == ["certificateExpiring"]).await;
    assert!(app.standing(id, late).unwrap().renew);
    app.propose_certificate(id, [1; 32], pin(2), late).await.unwrap();
    app.confirm_certificate(id, [2; 32], late).await.unwrap();
    crate::testing::until("it is over", || issues().is_empty()).await;
}
