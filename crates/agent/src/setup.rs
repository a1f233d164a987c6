//! Setup of a host: folders, identity, enrolment, settings. Safe to repeat; a second run with the same values changes
//! nothing, and one that was cut off goes on.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use watchpost_clock::Clock;
use watchpost_core::access_key::{AccessKey, AccessKeyParseError};
use watchpost_core::id::SensorId;
use watchpost_core::sensor::SensorKind;
use watchpost_protocol::{Code, EnrollReply, EnrollRequest};

use crate::host::disk::{Disk, read_limited};
use crate::host::facts;
use crate::host_config::{HostConfig, HostConfigError};
use crate::identity::{IdentityError, Keyring};
use crate::proxy_config::{ProxyConfig, ProxyConfigError, keep_password};
use crate::transport::{Client, Credentials, Proxy, Timeouts, TransportError};
use crate::updater::{Installation, LaunchError, Layout, SensorUser, VersionError};

mod handover;

/// The user that the packet engine runs as where setup may make one.
const ENGINE_USER: &str = "watchpost-engine";
/// The largest image root that is taken.
const IMAGE_ROOT_BYTES: u64 = 512 * 1024;
/// The largest file an access key is read from.
const KEY_FILE_BYTES: u64 = 4096;

/// How long setup asks a server that does not answer, in real time.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a host in quarantine waits when the server does not say.
const QUARANTINE_PAUSE: Duration = Duration::from_secs(60);
/// The pause between two such attempts.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where the access key comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The command line.
    Text(String),
    /// A file.
    File(PathBuf),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What setup is told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The host's folder.
    pub root: PathBuf,
    /// The gateway: `host:port`, with or without `https://`.
    pub server: String,
    /// The access key.
    pub key: KeySource,
    /// The first root of the image repository, as shipped.
    pub image_root: PathBuf,
    /// The sensor's name.
    pub name: String,
    /// The sensor type as its API word.
    pub sensor_type: String,
    /// The domain it watches.
    pub domain: Option<String>,
    /// The domain controllers a sensor on another kind of server watches, by DNS name.
    pub domain_controllers: Vec<String>,
    /// Its site.
    pub site: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// The audit log it watches; needed by identity sensors that stand on what they watch.
    pub audit_log: Option<PathBuf>,
    /// Where the sensor writes its logs.
    pub logs_path: Option<PathBuf>,
    /// The user that engines run as.
    pub engine_user: Option<String>,
    /// The user that the sensor runs as.
    pub sensor_user: Option<String>,
    /// The unit of systemd that runs the sensor.
    pub sensor_unit: Option<String>,
    /// The unit of systemd whose service is watched.
    pub watched_unit: Option<String>,
    /// Whether it asks for the delayed ring.
    pub delayed: bool,
    /// Whether setup waits for the decision when this host is held in quarantine.
    pub waits: bool,
    /// The proxy on the way to the server, `http://host:port`.
    pub proxy_url: Option<String>,
    /// Who this host is to the proxy.
    pub proxy_credentials: Option<Credentials>,
}

/// Why a host is not set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of the command line cannot be read.
    #[error("{what} {path} cannot be read; check the path and that this service may read it")]
    Read {
        /// Which file.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The access key is not one.
    #[error("the access key is not one")]
    Key(#[source] AccessKeyParseError),
    /// The address is not one.
    #[error("“{0}” is no address of a server: write https://host:port")]
    Server(String),
    /// A sensor that stands on what it watches has no audit log.
    #[error("a sensor of type {0} follows an audit log: name it with --audit-log")]
    NoAuditLog(String),
    /// The proxy cannot be used, or its password not kept.
    #[error("the proxy is not set")]
    Proxy(#[from] ProxyConfigError),
    /// The host's folders cannot be made.
    #[error("the host's folders cannot be made")]
    Folders(#[from] VersionError),
    /// A file below the host's folder cannot be written.
    #[error("{path} cannot be written; check that the folder belongs to this service")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The identity cannot be made.
    #[error("the host's identity cannot be made")]
    Identity(#[from] IdentityError),
    /// The server refused this host.
    #[error("the server refused the enrolment")]
    Refused(#[source] TransportError),
    /// The server could not be reached or made no sense.
    #[error("the host could not be enrolled")]
    Enroll(#[source] TransportError),
    /// The settings cannot be written.
    #[error("the host's settings cannot be written")]
    Config(#[from] HostConfigError),
    /// The sensor cannot run as that user.
    #[error("the sensor cannot run as the user that was named")]
    SensorUser(#[from] LaunchError),
}

impl SetupError {
    /// Whether the server or the proxy said no, as opposed to something having failed.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_)) || matches!(self, Self::Enroll(error) if error.is_refusal_of_proxy())
    }
}

/// Sets the host up and enrols it.
///
/// # Errors
/// When a value is wrong, the disk fails, or the server refuses. Nothing is half done: run it again.
pub async fn set_up(setup: &Setup, clock: &Clock) -> Result<SensorId, SetupError> {
    let kind = SensorKind::from_word(&setup.sensor_type);
    if setup.audit_log.is_none() && kind.is_some_and(SensorKind::follows_audit_log) {
        return Err(SetupError::NoAuditLog(setup.sensor_type.clone()));
    }
    let user = setup.sensor_user.as_deref().map(SensorUser::find).transpose()?;
    let key = read_key(&setup.key)?;
    let server = server_address(&setup.server)?;
    let proxy_url = setup.proxy_url.as_deref();
    let proxy = proxy_url.map(|url| Proxy::new(url, setup.proxy_credentials.as_ref())).transpose();
    let proxy = proxy.map_err(ProxyConfigError::Proxy)?;
    let image_root = read_needed("the image root", &setup.image_root, IMAGE_ROOT_BYTES)?;
    let layout = Layout::new(&absolute(&setup.root)?);
    let disk = Disk::default();
    Installation::new(&layout, disk.clone()).versions.make_folders()?;
    let_engine_pass(layout.root())?;
    let identity = Keyring::of_host(layout.root()).read_or_make(clock.now())?;
    let client = Client::through(proxy, &server, [key.server_key.into()].into(), &identity, Timeouts::default());
    let client = client.map_err(SetupError::Enroll)?;
    let request = EnrollRequest {
        enrolment_id: enrolment_id(&identity.pin()),
        secret: *key.secret.bytes(),
        host_id: facts::host_id(layout.root()),
        name: setup.name.clone(),
        sensor_type: setup.sensor_type.clone(),
        domain: setup.domain.clone(),
        site: setup.site.clone(),
        zone: setup.zone.clone(),
        delayed: setup.delayed,
        domain_controllers: setup.domain_controllers.clone(),
        version: None,
        operating_system: facts::operating_system(),
    };
    let reply = enroll(&client, &request, setup.waits, clock).await.map_err(refused_or_failed)?;
    // Only now: what a host trusts must not change by a setup that was refused.
    let shipped = layout.image_root();
    disk.replace(&shipped, &image_root).map_err(|source| SetupError::Write { path: shipped, source })?;
    let config = HostConfig {
        name: setup.name.clone(),
        sensor_type: setup.sensor_type.clone(),
        domain: setup.domain.clone(),
        site: setup.site.clone(),
        zone: setup.zone.clone(),
        server,
        server_key_sha256: hex::encode(key.server_key),
        director_root_sha256: hex::encode(key.director_root),
        audit_log: setup.audit_log.as_deref().map(absolute).transpose()?,
        logs_path: setup.logs_path.as_deref().map(absolute).transpose()?,
        engine_user: setup.engine_user.clone().or_else(own_engine_user),
        sensor_user: setup.sensor_user.clone(),
        sensor_unit: setup.sensor_unit.clone(),
        watched_unit: setup.watched_unit.clone(),
        delayed: setup.delayed,
        proxy: proxy_url.map(|url| ProxyConfig {
            url: url.to_owned(),
            user_name: setup.proxy_credentials.as_ref().map(|who| who.user_name.clone()),
        }),
    };
    keep_password(layout.root(), setup.proxy_credentials.as_ref())?;
    // Last: a host with settings is a host that is set up.
    config.write(layout.root())?;
    if let Some(user) = &user {
        handover::to_sensor(&layout, user).map_err(|(path, source)| SetupError::Write { path, source })?;
    }
    Ok(reply.sensor_id)
}

/// A user for the packet engine alone, made if it is not there: what runs as `nobody` beside it may not reach it. None
/// where this service may not make users; the sensor's own default holds then.
fn own_engine_user() -> Option<String> {
    let is_there = || nix::unistd::User::from_name(ENGINE_USER).ok().flatten().is_some();
    if !nix::unistd::Uid::effective().is_root() {
        return None;
    }
    if !is_there() {
        let mut add = std::process::Command::new("useradd");
        add.args(["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ENGINE_USER]);
        add.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Two setups at once may both try; only whether it is there counts.
        let _ = add.status();
    }
    is_there().then(|| ENGINE_USER.to_owned())
}

/// Lets everybody pass the host's folder, which shows nobody what is in it: the packet engine runs as somebody else.
fn let_engine_pass(root: &Path) -> Result<(), SetupError> {
    let failed = |source| SetupError::Write { path: root.to_owned(), source };
    let mut mode = fs::metadata(root).map_err(failed)?.permissions();
    mode.set_mode(mode.mode() | 0o001);
    fs::set_permissions(root, mode).map_err(failed)
}

/// Enrols, and asks again for a while when the server is just starting, stopping or out of reach: repeating is harmless.
async fn enroll(
    client: &Client,
    request: &EnrollRequest,
    waits: bool,
    clock: &Clock,
) -> Result<EnrollReply, TransportError> {
    let mut begun = clock.instant();
    loop {
        match client.enroll(request).await {
            Err(TransportError::Refused { code: Some(Code::EnrolmentQuarantined), retry_after, .. }) if waits => {
                tracing::info!("this host is held in quarantine and waits for a decision");
                tokio::time::sleep(retry_after.unwrap_or(QUARANTINE_PAUSE).max(ASK_AGAIN)).await;
                begun = clock.instant();
            }
            Err(error) if may_pass(&error) && clock.instant().saturating_duration_since(begun) < PATIENCE => {
                tracing::info!("enrolling is tried again: {error}");
                tokio::time::sleep(ASK_AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// Whether the same request may succeed a moment later.
fn may_pass(error: &TransportError) -> bool {
    let is_cut = |source: &io::Error| {
        matches!(
            source.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
        )
    };
    error.is_interruption()
        || matches!(error.code(), Some(Code::Unavailable | Code::TooManyRequests))
        || matches!(error, TransportError::Tls { source, .. } if is_cut(source))
}

/// The id of this enrolment, the same at every run with the same identity: repeating it is no second enrolment.
fn enrolment_id(pin: &[u8; 32]) -> String {
    let mut text = b"watchpost enrolment ".to_vec();
    text.extend_from_slice(pin);
    hex::encode(digest(&SHA256, &text).as_ref().get(..16).unwrap_or_default())
}

fn refused_or_failed(error: TransportError) -> SetupError {
    let is_passing = matches!(error.code(), Some(Code::Unavailable | Code::Internal | Code::TooManyRequests));
    let is_refusal = matches!(error, TransportError::Refused { .. }) && !is_passing;
    if is_refusal { SetupError::Refused(error) } else { SetupError::Enroll(error) }
}

fn read_key(source: &KeySource) -> Result<AccessKey, SetupError> {
    let text = match source {
        KeySource::Text(text) => text.clone(),
        KeySource::File(path) => {
            let bytes = read_needed("the access key file", path, KEY_FILE_BYTES)?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    text.parse().map_err(SetupError::Key)
}

fn read_needed(what: &'static str, path: &Path, limit: u64) -> Result<Vec<u8>, SetupError> {
    read_limited(path, limit)
        .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(|source| SetupError::Read { what, path: path.to_owned(), source })
}

fn absolute(path: &Path) -> Result<PathBuf, SetupError> {
    std::path::absolute(path).map_err(|source| SetupError::Write { path: path.to_owned(), source })
}

/// `host:port`, whatever way it was written.
fn server_address(text: &str) -> Result<String, SetupError> {
    let refuse = || SetupError::Server(text.to_owned());
    let plain = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = plain.rsplit_once(':').ok_or_else(refuse)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    if is_port && is_host { Ok(plain.to_owned()) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_with_and_without_their_scheme() {
        for good in ["https://gw.example:8443", "gw.example:8443", "https://gw.example:8443/"] {
            assert_eq!(server_address(good).unwrap(), "gw.example:8443");
        }
        assert_eq!(server_address("https://[::1]:1").unwrap(), "[::1]:1");
        for bad in
            ["", "gw.example", "http://gw.example:80", "gw:0", "gw:99999", "https://a@b:1", "https://gw/x:1", ":1"]
        {
            assert!(server_address(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn the_key_stays_out_of_debug_and_a_wrong_one_is_refused_before_anything_is_made() {
        assert_eq!(format!("{:?}", KeySource::Text("secret".into())), "Text(…)");
        assert!(matches!(read_key(&KeySource::Text("secret".into())), Err(SetupError::Key(_))));
        assert!(matches!(read_key(&KeySource::File("/nowhere/key".into())), Err(SetupError::Read { .. })));
    }

    #[test]
    fn an_enrolment_has_the_same_id_every_time() {
        assert_eq!(enrolment_id(&[1; 32]), enrolment_id(&[1; 32]));
        assert_ne!(enrolment_id(&[1; 32]), enrolment_id(&[2; 32]));
        assert_eq!(enrolment_id(&[1; 32]).len(), 32);
    }
}
