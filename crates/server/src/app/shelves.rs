//! Both repositories of the control plane: what an author signed comes in, what is on offer goes out.
//!
//! Nothing of a package is looked at before its hash matched what the author signed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use watchpost_core::server_keys::{Renewal, ServerKeys};
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_package::mirror::Published;
use watchpost_package::{Contents, Director, Mirror, MirrorError, RepositoryError, inspect};

use super::AppError;

/// Both repositories, one publication at a time.
#[derive(Clone)]
pub(crate) struct Shelves(Arc<Mutex<Repositories>>);

pub(super) struct Repositories {
    /// `None` while no image root was given: nothing can be published then.
    mirror: Option<Mirror>,
    director: Director,
}

/// A publication as it arrives.
pub(super) struct Order {
    pub(super) metadata: BTreeMap<String, Vec<u8>>,
    pub(super) target: String,
    /// Where uploaded packages wait.
    pub(super) uploads: PathBuf,
    pub(super) now: Timestamp,
}

/// A publication that its author's signatures vouch for, and the package that goes with it.
pub(super) struct Vouched {
    pub(super) published: Published,
    pub(super) package: PathBuf,
    pub(super) contents: Contents,
}

impl Vouched {
    /// The target as hosts are told of it.
    pub(super) fn target(&self) -> TargetRef {
        let signed = &self.published.target;
        TargetRef { name: signed.name.clone(), sha256: signed.sha256.to_string(), length: signed.length }
    }
}

impl Shelves {
    /// Takes both repositories in hand: one publication at a time.
    pub(super) async fn take(&self) -> OwnedMutexGuard<Repositories> {
        Arc::clone(&self.0).lock_owned().await
    }

    pub(crate) fn new(mirror: Option<Mirror>, director: Director) -> Self {
        Self(Arc::new(Mutex::new(Repositories { mirror, director })))
    }

    /// Signs the director's short-lived metadata anew if a signature is due.
    pub(crate) async fn resign(&self, now: Timestamp) -> Result<bool, AppError> {
        let mut shelves = Arc::clone(&self.0).lock_owned().await;
        let resign = move || {
            let is_due = shelves.director.is_resign_due(now);
            if is_due { shelves.director.resign(now).map(|()| true) } else { Ok(false) }
        };
        blocking(resign).await?.map_err(|error| broken_repository("sign the director's metadata anew", error))
    }

    /// Has the director name the keys of the server that hosts may trust, and gives what it names then. Nothing is named
    /// while there was never but the one of the access key.
    pub(crate) async fn tell_server_keys(
        &self,
        renewal: impl FnOnce() -> Renewal,
        now: Timestamp,
    ) -> Result<Option<ServerKeys>, AppError> {
        let mut shelves = self.take().await;
        // Asked for only now, so that nobody is told of what was decided before.
        let renewal = renewal();
        let tell = move || {
            let director = &mut shelves.director;
            if director.server_keys().is_some() || !matches!(renewal, Renewal::Settled { .. }) {
                director.set_server_keys(renewal.published(), now)?;
            }
            Ok(director.server_keys().cloned())
        };
        blocking(tell).await?.map_err(|error| broken_repository("tell hosts of the server's keys", error))
    }

    /// When the first document of the director expires.
    pub(crate) async fn earliest_expiry(&self) -> Timestamp {
        self.0.lock().await.director.earliest_expiry()
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    let failed = |error| AppError::Files { doing: "work with packages", source: std::io::Error::other(error) };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn broken_repository(doing: &'static str, error: RepositoryError) -> AppError {
    AppError::Files { doing, source: std::io::Error::other(error) }
}

pub(super) fn refused(code: &'static str, why: impl Into<String>) -> AppError {
    AppError::Refused { code, why: why.into() }
}

/// An error with its causes: an author reads this to learn what to mend.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Repositories {
    /// Judges a publication without changing anything.
    pub(super) fn vouch(&self, order: &Order) -> Result<Vouched, AppError> {
        let Some(mirror) = &self.mirror else {
            let why = "this server was made without an image root, so it trusts no author; put the author's 1.root.json \
                       into its keys folder as image-1.root.json and start it again";
            return Err(refused("noImageRoot", why));
        };
        let published = mirror.check(&order.metadata, &order.target, order.now).map_err(why_not)?;
        let target = &published.target;
        let (placed, uploaded) = (mirror.package(target), order.uploads.join(format!("{}.cab", target.sha256)));
        let package = [placed, uploaded].into_iter().find(|path| path.exists());
        let Some(package) = package else {
            let why =
                format!("the package with SHA-256 {} is not here; upload it to /api/v1/packages first", target.sha256);
            return Err(refused("packageMissing", why));
        };
        let info = inspect(&package, Some((target.length, &target.sha256)))
            .map_err(|error| refused("badPackage", in_full(&error)))?;
        info.contents.matches(&target.custom).map_err(|error| refused("releaseDiffers", in_full(&error)))?;
        Ok(Vouched { published, package, contents: info.contents })
    }

    /// Takes a judged publication into both repositories. Repeating it changes nothing.
    pub(super) fn take_in(&mut self, vouched: &Vouched, now: Timestamp) -> Result<(), AppError> {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        let placed = mirror.install(&vouched.published, &vouched.package).map_err(why_not)?;
        self.director
            .add_target(&vouched.published.target, &placed, now)
            .map_err(|error| broken_repository("offer the package in the director repository", error))
    }
}

/// Removes an uploaded package that lies in the repository.
pub(super) async fn remove_upload(package: &Path, uploads: &Path) {
    if package.starts_with(uploads) {
        // A copy that cannot be removed costs space and nothing else.
        let _ = tokio::fs::remove_file(package).await;
    }
}

/// A refusal of the author's metadata, by what is wrong with it.
fn why_not(error: MirrorError) -> AppError {
    let code = match &error {
        MirrorError::Io { .. } => {
            return AppError::Files { doing: "keep the image repository", source: std::io::Error::other(error) };
        }
        MirrorError::Refused(_) => "badSignature",
        MirrorError::Rollback { .. } => "metadataRollback",
        MirrorError::NotNamed(_) => "targetNotSigned",
        MirrorError::Vanished(_) => "releaseVanished",
        MirrorError::FileName(_) => "badMetadataName",
        MirrorError::Package { .. } => "badPackage",
    };
    refused(code, in_full(&error))
}
