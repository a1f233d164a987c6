//! Refusals that arrive: whoever is cut off while still sending never sees the answer that says why.
//!
//! A handler that refuses early (no right, no room) leaves the rest of the body unread. Closing on it resets the
//! connection, and the sender is told “broken pipe” instead of the reason. So the rest is read first, within limits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use http::header::EXPECT;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// How long the rest of a refused body is read at most.
const LINGER: Duration = Duration::from_secs(10);
/// How long a sender may pause meanwhile.
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

/// The body of a request, kept where it can be had back after the handler has dropped its end.
struct Kept(Arc<Mutex<Option<Body>>>);

impl Kept {
    fn with<T>(&self, look: impl FnOnce(&mut Body) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(look)
    }
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.with(|body| Pin::new(body).poll_frame(cx)).unwrap_or(Poll::Ready(None))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream()).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint()).unwrap_or_default()
    }
}

/// Reads what is left of the body of a request that was refused.
pub(crate) async fn linger(State(pause): State<Duration>, request: Request, next: Next) -> Response {
    // Whoever asks before sending has sent nothing that would have to be read.
    let asks_first = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let kept = Arc::new(Mutex::new(Some(body)));
    let response = next.run(Request::from_parts(head, Body::new(Kept(Arc::clone(&kept))))).await;
    let status = response.status();
    let is_refused = status.is_client_error() || status.is_server_error();
    // A sender that was too slow for us has had its time.
    if is_refused && !asks_first && status != StatusCode::REQUEST_TIMEOUT {
        let rest = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rest) = rest.filter(|rest| !rest.is_end_stream()) {
            discard(rest, pause).await;
        }
    }
    response
}

async fn discard(mut rest: Body, pause: Duration) {
    let all = async { while let Ok(Some(Ok(_))) = tokio::time::timeout(pause, rest.frame()).await {} };
    // Whoever takes longer is cut off after all.
    let _ = tokio::time::timeout(LINGER, all).await;
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use futures_util::StreamExt as _;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PARTS: usize = 100;

    /// Sends a body of `PARTS` parts, then what follows; says what was answered and how many parts were taken.
    async fn send(request: http::request::Builder, then_waits: bool) -> (StatusCode, usize) {
        let refuses = async |body: Body| {
            let first = body.into_data_stream().next().await;
            if first.is_some() { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::OK }
        };
        let app = Router::new()
            .route("/refuses", post(refuses))
            .route("/looks-away", post(async || StatusCode::UNAUTHORIZED))
            .route("/takes", post(async || StatusCode::OK))
            .layer(from_fn_with_state(Duration::from_millis(50), linger));
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let parts = futures_util::stream::iter(0..PARTS).map(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, axum::Error>(Bytes::from_static(b"part"))
        });
        let body = if then_waits {
            Body::from_stream(parts.chain(futures_util::stream::pending()))
        } else {
            Body::from_stream(parts)
        };
        let status = TowerToHyperService::new(app).call(request.body(body).unwrap()).await.unwrap().status();
        (status, taken.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn the_rest_of_a_refused_body_is_read_before_the_refusal_is_sent() {
        let refused = send(Request::post("/refuses"), false).await;
        assert_eq!(refused, (StatusCode::INSUFFICIENT_STORAGE, PARTS));
        assert_eq!(send(Request::post("/looks-away"), false).await, (StatusCode::UNAUTHORIZED, PARTS));
        assert_eq!(send(Request::post("/nowhere"), false).await, (StatusCode::NOT_FOUND, PARTS));
        // What was taken in is nobody's to wait for.
        assert_eq!(send(Request::post("/takes"), false).await, (StatusCode::OK, 0));
    }

    #[tokio::test]
    async fn a_sender_that_pauses_or_asks_first_is_not_waited_for() {
        assert_eq!(send(Request::post("/refuses"), true).await, (StatusCode::INSUFFICIENT_STORAGE, PARTS));
        let asks = Request::post("/looks-away").header(EXPECT, "100-continue");
        assert_eq!(send(asks, false).await, (StatusCode::UNAUTHORIZED, 0));
    }
}
