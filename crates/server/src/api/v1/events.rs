//! `GET /events`: which rows changed, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::Stream;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::api::problem::Problem;
use crate::auth::browser::{Caller, Web};
use crate::events::Event;

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Streams open at the same time.
const MAX_STREAMS: usize = 200;
/// A stream ends after so long; a browser opens another, and is asked again who it is.
const MAX_STREAM_LIFE: Duration = Duration::from_secs(15 * 60);

static STREAMS: AtomicUsize = AtomicUsize::new(0);

/// One open stream, counted until it is dropped.
struct Open;

impl Open {
    fn new() -> Option<Self> {
        let taken = STREAMS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < MAX_STREAMS).then_some(n + 1));
        taken.is_ok().then_some(Self)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) async fn stream(
    State(web): State<Web>,
    Extension(_): Extension<Caller>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let Some(open) = Open::new() else {
        let why = format!("{MAX_STREAMS} event streams are open already; close one, or ask again later");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tooManyStreams", why).retry_after(30));
    };
    let ends_at = tokio::time::Instant::now() + MAX_STREAM_LIFE;
    let start = (Arc::new(open), web.app.listen());
    let events = futures_util::stream::unfold(start, move |(open, mut bus)| async move {
        let (name, data) = match tokio::time::timeout_at(ends_at, bus.recv()).await {
            Ok(Ok(event)) => describe(&event),
            Ok(Err(RecvError::Lagged(missed))) => ("reload", json!({ "missed": missed })),
            Ok(Err(RecvError::Closed)) | Err(_) => return None,
        };
        let event = sse::Event::default().event(name).data(data.to_string());
        Some((Ok(event), (open, bus)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn describe(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Sensor(id) => ("sensor", json!({ "id": id })),
        Event::Health => ("health", json!({})),
        Event::Rollout(version) => ("rollout", json!({ "version": version })),
        Event::Release(version) => ("release", json!({ "version": version })),
        Event::Settings => ("settings", json!({})),
    }
}
