//! Downloading a package: from any offset, resumed where the connection broke, never slower than a floor.

use std::io;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::response::Parts;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::connection::within;
use super::{Client, TransportError};
use bytes::Bytes;

/// How often one call goes on where the connection broke; each time something must have arrived before.
const RESUMES: u32 = 8;

/// Takes what arrives, in order.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

impl Client {
    /// Downloads the rest of a file that is `length` bytes long, from `offset` on, into `sink`.
    ///
    /// Goes on by itself where the connection broke. After an error, what the sink got is good and the next call may
    /// start behind it. The caller checks the hash; nothing here knows it.
    ///
    /// # Errors
    /// When the server refuses, is too slow, names another length, or the sink fails.
    pub async fn download(
        &self,
        path: &str,
        offset: u64,
        length: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), TransportError> {
        let mut at = offset;
        let mut resumes = 0;
        while at < length {
            let before = at;
            match self.stretch(path, &mut at, length, sink).await {
                Ok(()) => {}
                Err(error) if error.is_interruption() && at > before && resumes < RESUMES => resumes += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn stretch(&self, path: &str, at: &mut u64, length: u64, sink: &mut Sink<'_>) -> Result<(), TransportError> {
        let request = self.request(Method::GET, path, Bytes::new(), Some(*at))?;
        let (response, sender) = self.0.exchange("downloading", || request.clone()).await?;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            return Err(self.refusal(head.status, &head.headers, &mut body, sender).await);
        }
        check_range(&head, *at, length)?;
        loop {
            let window = self.pull(&mut body, at, length, sink);
            if within("downloading at a useful speed", self.0.timeouts.window, window).await?? {
                break;
            }
        }
        if *at != length {
            return Err(TransportError::garbage("a download ended before the length that was announced"));
        }
        self.0.keep(sender);
        Ok(())
    }

    /// Takes at least the floor of one window, or the rest. `true`: that was the end.
    async fn pull(
        &self,
        body: &mut Incoming,
        at: &mut u64,
        length: u64,
        sink: &mut Sink<'_>,
    ) -> Result<bool, TransportError> {
        let enough = at.saturating_add(self.0.timeouts.slowest);
        while *at < enough {
            let Some(frame) = body.frame().await else { return Ok(true) };
            let frame = frame.map_err(|error| TransportError::exchange(&self.0.server, "downloading", error))?;
            let Ok(data) = frame.into_data() else { continue };
            let end = at.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            if end > length {
                return Err(TransportError::TooLarge { limit: length });
            }
            sink(&data).map_err(TransportError::Sink)?;
            *at = end;
        }
        Ok(false)
    }
}

/// Whether the answer is the rest of a file of `length` bytes from `at` on.
fn check_range(head: &Parts, at: u64, length: u64) -> Result<(), TransportError> {
    let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let wanted = format!("bytes {at}-{}/{length}", length.saturating_sub(1));
    let is_rest = head.status == StatusCode::PARTIAL_CONTENT && text(CONTENT_RANGE) == Some(wanted.as_str());
    let is_whole = head.status == StatusCode::OK && at == 0;
    let size_agrees = text(CONTENT_LENGTH) == Some((length - at).to_string().as_str());
    if (is_rest || is_whole) && size_agrees {
        Ok(())
    } else {
        Err(TransportError::garbage("the file has another length, or another part of it was sent"))
    }
}
