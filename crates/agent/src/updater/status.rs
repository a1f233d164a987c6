//! What `watchpost-updater status` tells: from the disk and the local socket, without disturbing anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use watchpost_core::identity::Slots;
use watchpost_core::succession::Succession;
use watchpost_core::updater::{Record, Running};

use super::installation::Installation;
use super::layout::Layout;
use super::programs::Programs;
use super::supervisor::Supervisor;
use super::versions::VersionError;
use crate::guard::GuardState;
use crate::host::disk::Disk;
use crate::host::lock;
use crate::host_config::{HostConfig, HostConfigError};
use crate::identity::Keyring;
use crate::local::{Ask, SensorLink, SensorStatus};
use crate::unpack::Confinement;

/// How long the sensor may take to answer, in real time.
const PATIENCE: Duration = Duration::from_secs(2);

/// A host at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The sensor's name.
    pub name: String,
    /// The gateway.
    pub server: String,
    /// Whether the updater service runs.
    pub updater_running: bool,
    /// What `current` points at.
    pub current: Option<String>,
    /// What the sensor process runs from.
    pub running: Option<String>,
    /// The version folders.
    pub versions: Vec<String>,
    /// The updater's record; `null` when neither slot can be read.
    pub record: Option<Record>,
    /// Which updaters there were, are and will be.
    pub succession: Succession,
    /// Which certificates the host holds: the current one, the one to come, the one before.
    pub certificates: Option<Slots>,
    /// How the resource guard stands; `null` when no updater runs or it has none.
    pub guard: Option<GuardState>,
    /// How the process that unpacked the last package was confined; `null` before the first.
    pub unpacking: Option<Confinement>,
    /// What the sensor says of itself.
    pub sensor: Option<SensorStatus>,
}

/// Why the status cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no host in this folder.
    #[error("{0} is not the folder of a host; run `watchpost-updater setup` or name another --root")]
    NoHost(PathBuf),
    /// The settings cannot be read.
    #[error("the host's settings cannot be read")]
    Config(#[source] HostConfigError),
    /// The version folders cannot be read.
    #[error("the version folders cannot be read")]
    Versions(#[from] VersionError),
}

/// The status of the host in the folder `root`.
///
/// # Errors
/// When there is no host, or its folders cannot be read.
pub async fn status(root: &Path) -> Result<HostStatus, StatusError> {
    if !HostConfig::path(root).exists() {
        return Err(StatusError::NoHost(root.to_owned()));
    }
    let config = HostConfig::read(root).map_err(StatusError::Config)?;
    let layout = Layout::new(root);
    let installation = Installation::new(&layout, Disk::default());
    let (heard, guarded) = (tokio::sync::mpsc::channel(1).0, tokio::sync::watch::Sender::new(None));
    let running = Supervisor::new(layout.clone(), Vec::new(), heard, guarded).running();
    let view = installation.versions.view(running)?;
    let runs = match running {
        Running::Nothing => None,
        Running::Unknown => Some("unknown".to_owned()),
        Running::Release(release) => Some(release.to_string()),
    };
    let updater_running = lock::is_held(&layout.updater_lock()).unwrap_or(false);
    Ok(HostStatus {
        name: config.name,
        server: config.server,
        updater_running,
        current: view.link.map(|release| release.to_string()),
        running: runs,
        versions: view.versions.iter().map(ToString::to_string).collect(),
        record: installation.record(),
        succession: Programs::new(&layout, Disk::default()).succession(),
        certificates: Keyring::of_host(root).open().ok().flatten().map(|held| held.slots),
        guard: GuardState::read(&layout.guard_state()).filter(|_| updater_running),
        unpacking: Confinement::read(&layout.unpack_note()),
        sensor: tokio::time::timeout(PATIENCE, ask(root)).await.ok().flatten(),
    })
}

async fn ask(root: &Path) -> Option<SensorStatus> {
    let mut link = SensorLink::connect(root).await.ok()?;
    link.ask(&Ask::Watch).await.ok()?;
    link.next_status().await.ok().flatten()
}
