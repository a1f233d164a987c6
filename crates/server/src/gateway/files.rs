//! Files of the two repositories: flat names only, streamed in pieces, any one range.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use watchpost_protocol::Code;

use super::reply::{Body, Refusal, whole};

/// How much of a file is read at once, and thus held in memory for one download.
const PIECE_BYTES: usize = 64 * 1024;

/// Answers with the file at `path`, or the range of it that was asked for. The caller has checked the name.
pub(super) async fn serve(path: PathBuf, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let (file, length) = match read_off_thread(move || open(&path)).await {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => {
            tracing::error!(%error, "a file of the repositories cannot be read");
            return Err(Refusal::new(Code::Internal, "the server cannot read this file; its log says why"));
        }
    };
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok()).and_then(parse_range);
    let (status, start, end) = match range {
        None => (StatusCode::OK, 0, length),
        Some((start, last)) if start < length && last.is_none_or(|last| last >= start) => {
            (StatusCode::PARTIAL_CONTENT, start, last.map_or(length, |last| last.saturating_add(1).min(length)))
        }
        Some(_) => {
            let message =
                format!("the file has {length} bytes, the range lies outside; start again from its beginning");
            return Err(Refusal::new(Code::RangeNotSatisfiable, message));
        }
    };
    let mut response = Response::new(if start == end { whole(Bytes::new()) } else { pieces(file, start, end) });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{length}", end - 1);
        headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).unwrap_or(HeaderValue::from_static("")));
    }
    Ok(response)
}

/// The refusal of a file that is not there, or whose name may not be asked for.
pub(super) fn missing() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such file here")
}

fn open(path: &PathBuf) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata.len())) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// One range `bytes=start-` or `bytes=start-last`. Any other is ignored, as HTTP allows, and gets the whole file.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((number(start)?, if last.is_empty() { None } else { Some(number(last)?) }))
}

/// The bytes from `start` to before `end`, one piece at a time.
fn pieces(file: File, start: u64, end: u64) -> Body {
    let file = Arc::new(file);
    let pieces = stream::try_unfold(start, move |at| {
        let file = Arc::clone(&file);
        async move {
            if at >= end {
                return Ok(None);
            }
            let size = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let piece = read_off_thread(move || {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, at).map(|()| piece)
            });
            let piece = Bytes::from(piece.await?);
            let next = at.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
            Ok::<_, io::Error>(Some((Frame::data(piece), next)))
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Reads where blocking is allowed.
async fn read_off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plain_range_is_understood_and_any_other_ignored() {
        assert_eq!(parse_range("bytes=0-"), Some((0, None)));
        assert_eq!(parse_range("bytes=5-9"), Some((5, Some(9))));
        for other in ["", "bytes", "bytes=", "bytes=-5", "bytes=+1-", "bytes=0-1,4-5", "items=0-1", "bytes=1 -2"] {
            assert_eq!(parse_range(other), None, "{other}");
        }
        assert_eq!(parse_range("bytes=99999999999999999999-"), None);
    }
}
