//! A silent update from a file: hands a copy of the package to the running updater, and waits for what becomes of it.
//!
//! Installs nothing itself: there is one writer of versions on a host, and it asks the control plane first.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use watchpost_core::version::Version;

use crate::host_config::HostConfig;
use crate::local::LocalError;
use crate::updater::{Answer, Call, Layout, Offer, Order, PACKAGE_BYTES};

/// How long an update is waited for, in real time.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// How long an updater that is just starting is waited for, in real time.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two calls at its door, in real time.
const CALL_AGAIN: Duration = Duration::from_millis(50);

/// Why the host was not updated.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Nothing of ours is there.
    #[error("{0} is no folder of a Watchpost host; run `watchpost-updater setup` or name another --root")]
    NoHost(PathBuf),
    /// There is no such package.
    #[error("there is no package {0}: check the path")]
    NoPackage(PathBuf),
    /// The package cannot be copied.
    #[error(
        "{path} cannot be copied into the host's folder; it must be a readable file of at most {PACKAGE_BYTES} bytes, \
         and there must be room for it"
    )]
    Copy {
        /// The package.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No updater runs.
    #[error("no updater runs for {0}; start its service, and update again")]
    NotRunning(PathBuf),
    /// The updater does not answer.
    #[error("the updater's door failed; look at updater/updater.log and update again")]
    Door(#[source] LocalError),
    /// The updater ended meanwhile.
    #[error("the updater ended before the update was over; `watchpost-updater status` says where the host is")]
    HungUp,
    /// It takes too long.
    #[error("the update was not over after {} min; it waits for {waits}; update again to wait on", PATIENCE.as_secs() / 60)]
    Late {
        /// For what it waited last.
        waits: String,
    },
    /// It may not be.
    #[error("the update is refused: {0}")]
    Refused(String),
    /// It failed, and the host runs what it ran.
    #[error("the update failed, and the host runs what it ran: {0}")]
    Failed(String),
}

/// Has the host in `root` updated to the release whose package this is; `tell` hears what is waited for.
///
/// # Errors
/// When it is refused, fails, or no updater runs.
pub async fn update_from_file(root: &Path, package: &Path, mut tell: impl FnMut(&str)) -> Result<Version, UpdateError> {
    if !HostConfig::path(root).is_file() {
        return Err(UpdateError::NoHost(root.to_owned()));
    }
    if !package.try_exists().unwrap_or(true) {
        return Err(UpdateError::NoPackage(package.to_owned()));
    }
    let layout = Layout::new(root);
    let mut call = called(root).await?;
    // Only now: an updater that starts sweeps away what it did not ask for.
    let offer =
        Offer::make(&layout, package).map_err(|source| UpdateError::Copy { path: package.to_owned(), source })?;
    call.give(&Order::Update { file: offer.name() }).await.map_err(UpdateError::Door)?;
    let mut waits = "the updater".to_owned();
    let outcome = tokio::time::timeout(
        PATIENCE,
        outcome(&mut call, |what| {
            what.clone_into(&mut waits);
            tell(what);
        }),
    )
    .await;
    outcome.unwrap_or(Err(UpdateError::Late { waits }))
}

/// Calls at the updater's door; one that was just started is waited for.
async fn called(root: &Path) -> Result<Call, UpdateError> {
    let calling = async {
        loop {
            match Call::at(root).await {
                Ok(call) => return call,
                Err(_) => tokio::time::sleep(CALL_AGAIN).await,
            }
        }
    };
    let called = tokio::time::timeout(START_PATIENCE, calling).await;
    called.map_err(|_| UpdateError::NotRunning(root.to_owned()))
}

async fn outcome(call: &mut Call, mut tell: impl FnMut(&str)) -> Result<Version, UpdateError> {
    while let Some(answer) = call.answer().await.map_err(UpdateError::Door)? {
        match answer {
            Answer::Waits { what } => tell(&what),
            Answer::Done { version } => return Ok(version),
            Answer::Refused { reason } => return Err(UpdateError::Refused(reason)),
            Answer::Failed { reason } => return Err(UpdateError::Failed(reason)),
        }
    }
    Err(UpdateError::HungUp)
}
