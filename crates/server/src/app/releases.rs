//! Publishing: a package arrives, its author's signatures are judged, and a rollout starts.
//!
//! A package of rules is not published here but in `rules`: it starts no rollout.

use std::collections::BTreeMap;

use semver::Version as Semver;
use serde_json::json;
use watchpost_core::release::ReleaseManifest;
use watchpost_core::rollout::Event as Decision;
use watchpost_core::version::Version;
use watchpost_store::ReleaseRow;

use super::fleet::catalogued;
use super::shelves::{Order, Vouched, blocking, refused, remove_upload};
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// Most bytes of metadata in one publication.
pub const MAX_METADATA_BYTES: usize = 16 * 1024 * 1024;

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The release.
    pub release: ReleaseRow,
    /// Whether it was published before already, with the same content.
    pub was_there: bool,
}

/// When the rollout of a published release begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At once.
    AtOnce,
    /// When somebody has read its plan and starts it.
    WhenStarted,
}

/// The release that a publication brings, and whether it is known.
fn release_of(vouched: &Vouched, known: &[ReleaseRow]) -> Result<(ReleaseManifest, bool), AppError> {
    let Some(release) = vouched.contents.release() else {
        let why = "the package holds rules, not a sensor; publish it with `watchpost rules publish`";
        return Err(refused("notARelease", why));
    };
    let own = Semver::parse(env!("CARGO_PKG_VERSION")).unwrap_or(Semver::new(0, 0, 0));
    if let Some(needed) = release.minimum_control_plane_version.as_ref().filter(|needed| **needed > own) {
        let version = release.version;
        let why = format!("{version} needs a control plane of {needed} or later, and this is {own}: update it first");
        return Err(refused("controlPlaneTooOld", why));
    }
    let known = known.iter().find(|known| known.manifest.version == release.version);
    if known.is_some_and(|known| known.target.sha256 != vouched.published.target.sha256.to_string()) {
        let version = release.version;
        let why =
            format!("version {version} is published with other content already; build the change under a new version");
        return Err(refused("versionTaken", why));
    }
    Ok((release.clone(), known.is_some()))
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
        begin: Begin,
        reason: Option<String>,
    ) -> Result<Publication, AppError> {
        authorize(principal, Action::PublishReleases, Resource::Workspace)?;
        let _busy = self.0.activity.begin();
        let now = self.0.clock.now();
        let mut shelves = self.0.shelves.take().await;
        let (uploads, known) = (self.0.folder.uploads(), self.releases());
        let order = Order { metadata, target: target.to_owned(), uploads: uploads.clone(), now };
        let judged = blocking(move || {
            let judged = shelves.vouch(&order).and_then(|vouched| {
                let (manifest, was_there) = release_of(&vouched, &known)?;
                shelves.take_in(&vouched, order.now)?;
                let target = vouched.target();
                let release = ReleaseRow { manifest, target, published_at: order.now, pulled_back_at: None };
                Ok((release, vouched.package, was_there))
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
            self.start_release(principal, release.clone(), begin, reason).await?;
            Publication { release, was_there }
        };
        remove_upload(&package, &uploads).await;
        // What has come with it of the chain of trust is seen at once: it may end what held all updates up.
        if let Err(failure) = self.look_at_oneself(false).await {
            tracing::error!("what the server saw of itself was not kept: {}", failure.chain());
        }
        Ok(publication)
    }

    /// Remembers a release, its rollout and the plan that it runs by, and wakes the planner.
    async fn start_release(
        &self,
        principal: &Principal,
        release: ReleaseRow,
        begin: Begin,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let version = release.manifest.version;
        // Before the gate: a plan of a large fleet takes a while, and check-ins go on meanwhile.
        let plan = self.draft_plan(catalogued(&release), self.0.clock.now()).await?;
        let _gate = self.0.gate.lock().await;
        let mut planner = self.fleet_ref(|fleet| fleet.planner.clone());
        let mut planned: Vec<Decision> = planner.publish(version, release.published_at).into_iter().collect();
        if begin == Begin::WhenStarted {
            planned.extend(planner.pause(version, release.published_at).ok());
        }
        let mut tx = self.begin().await?;
        tx.insert_release(&release).await?;
        if let Some(rollout) = planner.rollouts.get(&version) {
            tx.insert_rollout(rollout).await?;
        }
        tx.append_rollout_events(&planned).await?;
        self.keep_plan(&mut tx, plan).await?;
        let after = json!({ "target": release.target, "kind": release.manifest.kind, "restart": release.manifest.restart, "publishedDateTime": release.published_at });
        let subject = version.to_string();
        self.audit(&mut tx, &principal.actor, "release.publish", &subject, None, Some(after), reason).await?;
        tx.commit().await?;
        self.fleet_mut(|fleet| fleet.add_release(release, planner));
        self.0.bus.announce(Event::Release(version));
        self.0.bus.announce(Event::Rollout(version));
        self.poke();
        Ok(())
    }

    /// Takes a release out of the offer: it is handed to nobody any more, and counts in nobody's rank. Who has it keeps
    /// it, and who is in flight finishes.
    ///
    /// # Errors
    /// When the principal may not, or there is no such release.
    pub async fn pull_back(
        &self,
        principal: &Principal,
        version: Version,
        reason: Option<String>,
    ) -> Result<ReleaseRow, AppError> {
        authorize(principal, Action::PublishReleases, Resource::Version(version))?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let missing = || AppError::NotFound { what: "release", id: version.to_string() };
        let release = self.release(version).ok_or_else(missing)?;
        if release.pulled_back_at.is_none() {
            let now = self.0.clock.now();
            let mut tx = self.begin().await?;
            tx.pull_back_release(version, now).await?;
            let (before, after) = (json!({ "pulledBackDateTime": null }), json!({ "pulledBackDateTime": now }));
            let subject = version.to_string();
            self.audit(&mut tx, &principal.actor, "release.pullBack", &subject, Some(before), Some(after), reason)
                .await?;
            tx.commit().await?;
            self.fleet_mut(|fleet| fleet.pull_back_release(version, now));
            self.0.bus.announce(Event::Release(version));
            self.0.bus.announce(Event::Rollout(version));
            self.poke();
        }
        self.release(version).ok_or_else(missing)
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
