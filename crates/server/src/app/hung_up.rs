//! Who asked for a change hangs up, at every point where it may: what the store took, the memory has too.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::alerts::AlertQuery;
use crate::auth::browser::Web;
use crate::testing::{A, House, T0, batch, running};

/// Points at which a change may be left; every change under test has fewer.
const POINTS: usize = 60;

/// Follows `work` until it would wait for the `point`-th time, and drops it there; whether it was done before.
async fn leave_at(point: usize, work: impl Future) -> bool {
    let (mut work, mut polled) = (pin!(work), 0);
    poll_fn(|cx| {
        if polled == point {
            return Poll::Ready(false);
        }
        polled += 1;
        work.as_mut().poll(cx).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_host_that_hangs_up_in_the_middle_of_a_check_in_is_heard_the_next_time() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    let id = house.host(&app, 1, false, A).await;
    let mut is_done = false;
    for point in 0..POINTS {
        let mut report = running(A);
        report.alert_count = 2 * point as u64 + 1;
        is_done = leave_at(point, app.check_in(id, report.clone(), T0)).await;
        report.alert_count += 1;
        app.check_in(id, report, T0).await.unwrap_or_else(|error| panic!("left at {point}: {error}"));
    }
    assert!(is_done, "a check-in has more than {POINTS} points");
}

#[tokio::test]
async fn a_host_that_hangs_up_in_the_middle_of_a_batch_sends_it_again_and_it_is_there_once() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    let id = house.host(&app, 1, false, A).await;
    let mut is_done = false;
    for point in 0..POINTS {
        let batch = batch(&[point as u64 + 1], &[], "a", point as u64 + 1);
        is_done = leave_at(point, app.take_evidence(id, batch.clone(), T0)).await;
        let taken = app.take_evidence(id, batch, T0).await;
        assert_eq!(taken.unwrap_or_else(|error| panic!("left at {point}: {error}")), point as u64 + 1);
    }
    assert!(is_done, "a batch has more than {POINTS} points");
    assert_eq!(app.count_alerts(&AlertQuery::default()).await.unwrap(), POINTS as u64);
}

#[tokio::test]
async fn a_host_that_hangs_up_in_the_middle_of_its_enrolment_enrols_again_as_the_same() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app().clone();
    let mut is_done = false;
    for point in 0..POINTS {
        let (name, pin) = (format!("DC{point}"), [u8::try_from(point).unwrap() + 1; 32]);
        is_done = leave_at(point, app.enroll(house.enrolment(&name, false), pin, T0)).await;
        let again = app.enroll(house.enrolment(&name, false), pin, T0).await;
        again.unwrap_or_else(|error| panic!("left at {point}: {error}"));
    }
    assert!(is_done, "an enrolment has more than {POINTS} points");
    assert_eq!(app.sensor_count(), POINTS);
}

#[tokio::test]
async fn a_person_who_hangs_up_in_the_middle_of_a_change_finds_it_done_or_not_begun() {
    let mut house = House::new().await;
    let server = house.start().await;
    assert_eq!(house.publish(&server, A).await.status, StatusCode::CREATED);
    let pages = TowerToHyperService::new(crate::pages::router(&Web { app: server.app().clone(), is_secure: false }));
    let bearer = format!("Bearer {}", house.founded.api_token.reveal());
    let post = |action: &str| {
        let request = Request::builder().method(Method::POST).uri(format!("/api/v1/rollouts/{A}/{action}"));
        pages.call(request.header("authorization", &bearer).body(Body::empty()).unwrap())
    };
    let mut is_done = false;
    for point in 0..POINTS {
        for action in ["pause", "resume"] {
            is_done = leave_at(point, post(action)).await;
            // Done already, or done now; never “somebody else changed it meanwhile”.
            let again = post(action).await.unwrap();
            let (status, body) = (again.status(), axum::body::to_bytes(again.into_body(), 65_536).await.unwrap());
            let body: Value = serde_json::from_slice(&body).unwrap();
            let is_fine = status == StatusCode::OK || body["code"] == "wrongState";
            assert!(is_fine, "{action} left at {point}: {body}");
        }
    }
    assert!(is_done, "a change has more than {POINTS} points");
}
