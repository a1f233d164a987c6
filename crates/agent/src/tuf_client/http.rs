//! Plain HTTP to this very machine: one request per connection, every read within a limit and a deadline.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long connecting, the head of an answer, and each further piece of it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes what arrives, in order.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not an address that is asked.
    #[error("“{0}” is no address that is asked: give one like http://127.0.0.1:8000/metadata/, on this machine")]
    Address(String),
    /// The connection failed.
    #[error("{url} could not be fetched; is the repository served?")]
    Connection {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is neither the file nor that there is none.
    #[error("{url} was answered with {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// More came than may.
    #[error("{url} has more than the {limit} bytes allowed")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most that may come.
        limit: u64,
    },
    /// Nothing came for too long.
    #[error("{url}: nothing came within {} s", PATIENCE.as_secs())]
    Silence {
        /// What was asked for.
        url: String,
    },
    /// What came could not be put down.
    #[error("what came could not be written")]
    Sink(#[source] io::Error),
}

/// The address below which files are asked for.
#[derive(Clone, Debug)]
pub(super) struct Base {
    authority: String,
    folder: String,
}

impl Base {
    /// An address of this machine.
    ///
    /// # Errors
    /// When it is another one, or no HTTP address.
    pub(super) fn new(url: &str) -> Result<Self, HttpError> {
        let wrong = || HttpError::Address(url.chars().take(200).collect());
        let parsed: Uri = url.parse().map_err(|_| wrong())?;
        let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let port = parsed.port_u16().unwrap_or(80);
        if parsed.scheme_str() != Some("http") || !is_here || parsed.query().is_some() {
            return Err(wrong());
        }
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Ok(Self { authority, folder: parsed.path().trim_end_matches('/').to_owned() })
    }

    /// Fetches the file at the path `path`, whatever it is called; `false`: there is none.
    pub(super) async fn get(&self, path: &str, limit: u64, sink: &mut Sink<'_>) -> Result<bool, HttpError> {
        self.get_quoted(&quoted(path, true), limit, sink).await
    }

    /// The same for a path that stands as it is to be asked for.
    pub(super) async fn get_quoted(&self, path: &str, limit: u64, sink: &mut Sink<'_>) -> Result<bool, HttpError> {
        let url = format!("http://{}{}/{path}", self.authority, self.folder);
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| HttpError::Connection { url: url.clone(), source };
        let asking = async {
            let request = Request::get(format!("{}/{path}", self.folder)).header(HOST, &self.authority);
            let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(error.into()))?;
            let stream = TcpStream::connect(&self.authority).await.map_err(|error| failed(error.into()))?;
            let handshake = http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.map_err(|error| failed(error.into()))?;
            // It ends with the answer; errors reach whoever reads that.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            let response = sender.send_request(request).await.map_err(|error| failed(error.into()))?;
            Ok((response, sender))
        };
        let silence = |_| HttpError::Silence { url: url.clone() };
        let (response, _sender) = tokio::time::timeout(PATIENCE, asking).await.map_err(silence)??;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(false),
            status => return Err(HttpError::Status { url, status }),
        }
        let (mut body, mut length) = (response.into_body(), 0_u64);
        while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await.map_err(silence)? {
            let Ok(data) = frame.map_err(|error| failed(error.into()))?.into_data() else { continue };
            length = length.saturating_add(data.len() as u64);
            if length > limit {
                return Err(HttpError::TooLarge { url, limit });
            }
            sink(&data).map_err(HttpError::Sink)?;
        }
        Ok(true)
    }
}

/// A name as it may stand in an address or be that of a file; with `keep_slashes` it stays a path.
pub(super) fn quoted(name: &str, keep_slashes: bool) -> String {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~') || (b == b'/' && keep_slashes);
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    name.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked() {
        for good in ["http://127.0.0.1:8000/0/metadata/", "http://localhost", "http://[::1]:80/a"] {
            assert!(Base::new(good).is_ok(), "{good}");
        }
        for bad in
            ["https://127.0.0.1/", "http://192.0.2.1/", "http://example.org/", "file:///etc", "", "http://127.0.0.1/?a"]
        {
            assert!(matches!(Base::new(bad), Err(HttpError::Address(_))), "{bad}");
        }
    }

    #[test]
    fn names_are_quoted_byte_by_byte() {
        assert_eq!(quoted("a b/ü?#%.txt", true), "a%20b/%C3%BC%3F%23%25.txt");
        assert_eq!(quoted("../x", false), "..%2Fx");
    }
}
