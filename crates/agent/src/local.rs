//! What the updater and the sensor of one host say to each other: JSON lines over `state/sensor.sock`.
//!
//! The updater asks, the sensor answers with its status, at once and again on every change. No line is longer than
//! [`LINE_LIMIT`], in either direction.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use watchpost_core::content::RulesReport;
use watchpost_core::facts::{Facts, Measurements};
use watchpost_core::settings::SensorSettings;
use watchpost_core::sync::DetectionProof;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

/// The longest line either side writes or reads.
pub const LINE_LIMIT: usize = 256 * 1024;

/// The longest path that fits a socket address; a longer one is reached through its folder's descriptor.
const SOCKET_PATH_LIMIT: usize = 107;

/// What the updater asks of the sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase")]
pub enum Ask {
    /// Send the status, at once and on every change.
    Watch,
    /// Run a canary marked with this desired generation through the engine. The answer is a status that carries the
    /// proof, or none if the canary was not detected.
    Prove {
        /// The mark.
        generation: u64,
    },
    /// Have these settings in effect. The answer is a status with their generation, once they are.
    Configure {
        /// Their generation.
        generation: u64,
        /// The whole of them.
        settings: SensorSettings,
    },
    /// Load the verified rule package in this folder, beside the rules of the release. The answer is a status.
    LoadRules {
        /// Its build date.
        build: Timestamp,
        /// Where its files are.
        folder: PathBuf,
    },
    /// Load the rules of the release alone. The answer is a status.
    DropRules,
    /// Show what is kept, newest first.
    Show {
        /// Of which kind.
        kind: Kept,
        /// At most so many, and never more than [`SHOWN_LIMIT`].
        limit: u32,
    },
    /// Hand out the next batch of evidence that waits to be sent.
    Evidence,
    /// The control plane has everything up to there.
    EvidenceTaken {
        /// Of which stream.
        stream: String,
        /// Up to which number.
        through: u64,
    },
}

/// The most items that one answer shows.
pub const SHOWN_LIMIT: u32 = 100;

/// What a sensor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// Alerts.
    Alerts,
    /// Devices.
    Devices,
    /// Lines of the timeline.
    Timeline,
    /// Files of captured packets.
    Captures,
    /// Log files.
    Logs,
}

/// What the sensor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Say {
    /// The next batch of evidence, in the JSON form of [`watchpost_core::evidence::Batch`], which the updater passes on
    /// unread; empty when nothing waits.
    Evidence {
        /// The batch.
        evidence: String,
    },
    /// What it keeps.
    Shown {
        /// The items, in the JSON form of their kind.
        shown: Vec<serde_json::Value>,
    },
    /// How it is.
    Status(Box<SensorStatus>),
}

/// What the sensor says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SensorStatus {
    /// The version of the release it runs from.
    pub version: Version,
    /// Its process id.
    pub pid: u32,
    /// Drawn anew at every start, so that a process with the same id is not taken for this one after a power cut; 0: an
    /// older sensor, which draws none.
    #[serde(default)]
    pub run: u64,
    /// Whether the rules are loaded and the audit log is being followed.
    pub ready: bool,
    /// How many rules the engine has loaded.
    pub rules_loaded: u32,
    /// How many rules the engine refused.
    pub rules_failed: u32,
    /// SHA-256 (hex) over the rule files, so that two hosts can be compared.
    #[serde(default)]
    pub rules_sha256: String,
    /// The newest proof of detection of this run.
    pub proof: Option<DetectionProof>,
    /// Alerts raised since the sensor was installed, canaries left out.
    pub alert_count: u64,
    /// Health conditions it sees, by issue type word.
    #[serde(default)]
    pub conditions: BTreeSet<String>,
    /// Generation of the settings in effect.
    #[serde(default)]
    pub settings_generation: u64,
    /// What it has observed: interfaces, engines, events, settings and evidence.
    #[serde(default)]
    pub facts: Facts,
    /// How it stands with rule packages.
    #[serde(default)]
    pub rules: RulesReport,
    /// What it measures.
    #[serde(default)]
    pub measurements: Measurements,
}

impl SensorStatus {
    /// What a sensor says before it has looked at anything.
    #[must_use]
    pub fn starting(version: Version, pid: u32) -> Self {
        Self {
            version,
            pid,
            run: 0,
            ready: false,
            rules_loaded: 0,
            rules_failed: 0,
            rules_sha256: String::new(),
            proof: None,
            alert_count: 0,
            conditions: BTreeSet::new(),
            settings_generation: 0,
            facts: Facts::default(),
            rules: RulesReport::default(),
            measurements: Measurements::default(),
        }
    }
}

/// Why a line could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The socket failed; connect again.
    #[error("the sensor's local socket failed")]
    Io(#[from] std::io::Error),
    /// A line longer than [`LINE_LIMIT`]; the connection is of no further use.
    #[error("a line on the sensor's local socket is longer than {LINE_LIMIT} bytes; the other side is not a Watchpost")]
    LineTooLong,
    /// A line that is not what was expected.
    #[error("a line on the sensor's local socket is not understood")]
    NotUnderstood(#[source] serde_json::Error),
}

/// Where the sensor of the host folder `root` listens.
#[must_use]
pub fn socket_path(root: &Path) -> PathBuf {
    root.join("state").join("sensor.sock")
}

/// The updater's end of the socket.
pub struct SensorLink {
    lines: LineReader<OwnedReadHalf>,
    asks: OwnedWriteHalf,
    pid: Option<u32>,
}

impl SensorLink {
    /// Connects to the sensor of the host folder `root`. Not found or refused: no sensor listens there.
    ///
    /// # Errors
    /// When nothing listens at the socket.
    pub async fn connect(root: &Path) -> Result<Self, LocalError> {
        let stream = connect_at(&socket_path(root)).await?;
        let pid = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
        let (read, asks) = stream.into_split();
        Ok(Self { lines: LineReader::new(read), asks, pid })
    }

    /// The process at the other end, as the kernel knows it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Asks something; the answers come from [`Self::next_status`].
    ///
    /// # Errors
    /// When the sensor has gone.
    pub async fn ask(&mut self, ask: &Ask) -> Result<(), LocalError> {
        write_line(&mut self.asks, ask).await
    }

    /// The next status; `None` when the sensor has closed the socket. Safe to cancel.
    ///
    /// # Errors
    /// When the socket fails or the line is not a status.
    pub async fn next_status(&mut self) -> Result<Option<SensorStatus>, LocalError> {
        while let Some(said) = self.next().await? {
            if let Say::Status(status) = said {
                return Ok(Some(*status));
            }
        }
        Ok(None)
    }

    /// What the sensor says next; `None` when it has closed the socket. Safe to cancel.
    ///
    /// # Errors
    /// When the socket fails or the line is nothing that a sensor says.
    pub async fn next(&mut self) -> Result<Option<Say>, LocalError> {
        self.lines.next().await
    }
}

/// Listens for the updater. The caller holds the sensor's lock, so whatever lies at the path is left over.
///
/// # Errors
/// When the path cannot be bound.
pub fn listen(root: &Path) -> Result<UnixListener, LocalError> {
    listen_at(&socket_path(root))
}

/// Connects to whoever listens at this path, however long it is.
pub(crate) async fn connect_at(path: &Path) -> Result<UnixStream, LocalError> {
    let address = Address::of(path)?;
    Ok(UnixStream::connect(&address.path).await?)
}

/// Listens at this path, for this user alone. The caller holds a lock, so whatever lies there is left over.
pub(crate) fn listen_at(path: &Path) -> Result<UnixListener, LocalError> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let address = Address::of(path)?;
    let listener = UnixListener::bind(&address.path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A socket path short enough for the kernel, and what keeps it valid.
struct Address {
    path: PathBuf,
    _folder: Option<std::fs::File>,
}

impl Address {
    fn of(path: &Path) -> std::io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH_LIMIT {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
        };
        let folder = std::fs::File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// Reads JSON values, one a line, and keeps what has arrived of the next one: cancelling a read loses nothing.
pub struct LineReader<R> {
    inner: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// A reader of `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new() }
    }

    /// The next value; `None` at the end. A last line without its end is dropped. Safe to cancel.
    ///
    /// # Errors
    /// When reading fails, a line is too long or is not a `T`.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LocalError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(LocalError::NotUnderstood);
            }
            if self.buffer.len() >= LINE_LIMIT {
                return Err(LocalError::LineTooLong);
            }
            let mut chunk = [0; 4096];
            let count = self.inner.read(&mut chunk).await?;
            if count == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

/// Writes one value as one line.
///
/// # Errors
/// When the value does not fit a line or the other side has gone.
pub async fn write_line<W: AsyncWrite + Unpin, T: Serialize>(to: &mut W, value: &T) -> Result<(), LocalError> {
    let mut line = serde_json::to_vec(value).map_err(LocalError::NotUnderstood)?;
    line.push(b'\n');
    if line.len() > LINE_LIMIT {
        return Err(LocalError::LineTooLong);
    }
    to.write_all(&line).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> SensorStatus {
        SensorStatus {
            ready: true,
            rules_loaded: 6,
            alert_count: 3,
            ..SensorStatus::starting(Version::new(2, 255, 1, 0), 123)
        }
    }

    #[test]
    fn asks_and_statuses_have_the_agreed_words() {
        assert_eq!(serde_json::to_string(&Ask::Watch).unwrap(), r#"{"ask":"watch"}"#);
        let prove: Ask = serde_json::from_str(r#"{"ask":"prove","generation":7}"#).unwrap();
        assert_eq!(prove, Ask::Prove { generation: 7 });
        let read: SensorStatus = serde_json::from_str(
            r#"{"version":"2.255.1.0","pid":123,"ready":true,"rulesLoaded":6,"rulesFailed":0,"proof":null,"alertCount":3,"conditions":[]}"#,
        )
        .unwrap();
        assert_eq!(read, status());
    }

    #[tokio::test]
    async fn both_ends_talk_even_where_the_path_is_too_long_for_a_socket_address() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a".repeat(120));
        std::fs::create_dir_all(root.join("state")).unwrap();
        drop(listen(&root).unwrap());
        let listener = listen(&root).unwrap();
        let mut link = SensorLink::connect(&root).await.unwrap();
        assert_eq!(link.pid(), Some(std::process::id()));
        link.ask(&Ask::Watch).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        assert_eq!(LineReader::new(read).next::<Ask>().await.unwrap(), Some(Ask::Watch));
        write_line(&mut write, &status()).await.unwrap();
        drop(write);
        assert_eq!(link.next_status().await.unwrap(), Some(status()));
        assert_eq!(link.next_status().await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_endless_or_garbled_line_is_refused() {
        let endless = vec![b' '; LINE_LIMIT + 1];
        assert!(matches!(LineReader::new(endless.as_slice()).next::<Ask>().await, Err(LocalError::LineTooLong)));
        let garbled = b"{\"ask\":\"format\"}\n".as_slice();
        assert!(matches!(LineReader::new(garbled).next::<Ask>().await, Err(LocalError::NotUnderstood(_))));
        let cut = b"{\"ask\":\"wat".as_slice();
        assert!(LineReader::new(cut).next::<Ask>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_cancelled_read_loses_nothing() {
        let (mut to, from) = tokio::io::duplex(64);
        let mut reader = LineReader::new(from);
        to.write_all(b"{\"ask\":").await.unwrap();
        tokio::select! { biased; read = reader.next::<Ask>() => panic!("{read:?}"), () = tokio::task::yield_now() => {} }
        to.write_all(b"\"watch\"}\n").await.unwrap();
        assert_eq!(reader.next::<Ask>().await.unwrap(), Some(Ask::Watch));
    }
}
