//! Publishing: a package arrives, its author's signatures are judged, and a rollout starts.
//!
//! Nothing of a package is looked at before its hash matched what the author signed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Mutex;
use watchpost_core::release::ReleaseManifest;
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;
use watchpost_package::mirror::Published;
use watchpost_package::{Director, Mirror, MirrorError, RepositoryError, inspect};
use watchpost_store::ReleaseRow;

use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// Most bytes of metadata in one publication.
pub const MAX_METADATA_BYTES: usize = 16 * 1024 * 1024;

/// Both repositories, one publication at a time.
#[derive(Clone)]
pub(crate) struct Shelves(Arc<Mutex<Repositories>>);

struct Repositories {
    /// `None` while no image root was given: nothing can be published then.
    mirror: Option<Mirror>,
    director: Director,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The release.
    pub release: ReleaseRow,
    /// Whether it was published before already, with the same content.
    pub was_there: bool,
}

/// What publishing needs to know on the blocking side.
struct Order {
    metadata: BTreeMap<String, Vec<u8>>,
    target: String,
    uploads: PathBuf,
    known: Vec<ReleaseRow>,
    now: Timestamp,
}

impl Shelves {
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

    /// When the first document of the director expires.
    pub(crate) async fn earliest_expiry(&self) -> Timestamp {
        self.0.lock().await.director.earliest_expiry()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    let failed = |error| AppError::Files { doing: "work with packages", source: std::io::Error::other(error) };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn broken_repository(doing: &'static str, error: RepositoryError) -> AppError {
    AppError::Files { doing, source: std::io::Error::other(error) }
}

fn refused(code: &'static str, why: impl Into<String>) -> AppError {
    AppError::Refused { code, why: why.into() }
}

/// An error with its causes: an author reads this to learn what to mend.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Repositories {
    /// Judges a publication without changing anything: the release it brings, and whether it is known.
    fn judge(&self, order: &Order) -> Result<(Published, PathBuf, ReleaseManifest, bool), AppError> {
        let Some(mirror) = &self.mirror else {
            let why = "this server was made without an image root, so it trusts no author; put the author's 1.root.json \
                       into its keys folder as image-1.root.json and start it again";
            return Err(refused("noImageRoot", why));
        };
        let published = mirror.check(&order.metadata, &order.target, order.now).map_err(why_not)?;
        let target = &published.target;
        let known = order.known.iter().find(|release| release.manifest.version == target.custom.version);
        let is_same = |release: &ReleaseRow| release.target.sha256 == target.sha256.to_string();
        if known.is_some_and(|release| !is_same(release)) {
            let why = format!(
                "version {} is published with other content already; build the change under a new version",
                target.custom.version
            );
            return Err(refused("versionTaken", why));
        }
        let (placed, uploaded) = (mirror.package(target), order.uploads.join(format!("{}.cab", target.sha256)));
        let package = [placed, uploaded].into_iter().find(|path| path.exists());
        let Some(package) = package else {
            let why =
                format!("the package with SHA-256 {} is not here; upload it to /api/v1/packages first", target.sha256);
            return Err(refused("packageMissing", why));
        };
        let info = inspect(&package, Some((target.length, &target.sha256)))
            .map_err(|error| refused("badPackage", in_full(&error)))?;
        info.release.matches(&target.custom).map_err(|error| refused("releaseDiffers", error.to_string()))?;
        Ok((published, package, info.release, known.is_some()))
    }

    /// Takes a judged publication into both repositories. Repeating it changes nothing.
    fn take_in(&mut self, published: &Published, package: &std::path::Path, now: Timestamp) -> Result<(), AppError> {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        let placed = mirror.install(published, package).map_err(why_not)?;
        self.director
            .add_target(&published.target, &placed, now)
            .map_err(|error| broken_repository("offer the release in the director repository", error))
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

impl App {
    /// Publishes an uploaded package: judged, taken into both repositories, and its rollout started.
    /// The same release again is no error and changes nothing.
    ///
    /// # Errors
    /// When the principal may not, or anything about the publication cannot be believed.
    pub async fn publish(
        &self,
        principal: &Principal,
        metadata: BTreeMap<String, Vec<u8>>,
        target: &str,
        reason: Option<String>,
    ) -> Result<Publication, AppError> {
        authorize(principal, Action::PublishReleases, Resource::Workspace)?;
        let _busy = self.0.activity.begin();
        let now = self.0.clock.now();
        let mut shelves = Arc::clone(&self.0.shelves.0).lock_owned().await;
        let (uploads, known) = (self.0.folder.uploads(), self.releases());
        let order = Order { metadata, target: target.to_owned(), uploads, known, now };
        let judged = blocking(move || {
            let judged = shelves.judge(&order).and_then(|(published, package, manifest, was_there)| {
                shelves.take_in(&published, &package, order.now)?;
                let signed = published.target;
                let target = TargetRef { name: signed.name, sha256: signed.sha256.to_string(), length: signed.length };
                let release = ReleaseRow { manifest, target, published_at: order.now, pulled_back_at: None };
                Ok((release, package, was_there))
            });
            (judged, shelves)
        });
        // Held until the release is known to all: the same one published by two at once would be started twice.
        let (judged, _one_at_a_time) = judged.await?;
        let (release, package, was_there) = judged?;
        let version = release.manifest.version;
        let publication = if was_there {
            let known = self.releases().into_iter().find(|known| known.manifest.version == version);
            Publication { release: known.unwrap_or(release), was_there }
        } else {
            self.start_release(principal, release.clone(), reason).await?;
            Publication { release, was_there }
        };
        if package.starts_with(self.0.folder.uploads()) {
            // It lies in the repository; a copy that cannot be removed costs space and nothing else.
            let _ = tokio::fs::remove_file(&package).await;
        }
        Ok(publication)
    }

    /// Remembers a release and its rollout, and wakes the planner.
    async fn start_release(
        &self,
        principal: &Principal,
        release: ReleaseRow,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let version = release.manifest.version;
        let _gate = self.0.gate.lock().await;
        let mut planner = self.fleet_ref(|fleet| fleet.planner.clone());
        let planned = planner.publish(version, release.published_at);
        let mut tx = self.begin().await?;
        tx.insert_release(&release).await?;
        if let Some(rollout) = planner.rollouts.get(&version) {
            tx.insert_rollout(rollout).await?;
        }
        tx.append_rollout_events(planned.as_slice()).await?;
        let after = json!({ "target": release.target, "kind": release.manifest.kind, "publishedDateTime": release.published_at });
        let subject = version.to_string();
        self.audit(&mut tx, &principal.actor, "release.publish", &subject, None, Some(after), reason).await?;
        tx.commit().await?;
        self.fleet_mut(|fleet| fleet.add_release(release, planner));
        self.0.bus.announce(Event::Release(version));
        self.0.bus.announce(Event::Rollout(version));
        self.poke();
        Ok(())
    }

    /// All releases, oldest first.
    #[must_use]
    pub fn releases(&self) -> Vec<ReleaseRow> {
        self.fleet_ref(|fleet| fleet.releases().to_vec())
    }

    /// The release of this version.
    #[must_use]
    pub fn release(&self, version: Version) -> Option<ReleaseRow> {
        self.fleet_ref(|fleet| fleet.releases().iter().find(|release| release.manifest.version == version).cloned())
    }
}
