//! Plans of rollouts: made from a copy of the fleet's facts by the planner itself, kept as they were made, and read.
//!
//! Making one changes nothing: it runs beside everything else, on copies.

use watchpost_core::catalogue::Release;
use watchpost_core::rehearsal::{LiveFleet, RolloutPlan, plan};
use watchpost_core::release::ReleaseKind;
use watchpost_core::restart::RestartNeed;
use watchpost_core::rollout::RolloutSettings;
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;
use watchpost_store::Transaction;

use super::shelves::{blocking, refused};
use super::{App, AppError};

/// The package of a release that is only rehearsed: it has no bytes yet, so it has no hash.
const NO_PACKAGE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is to be rehearsed on a copy of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// The release: one that is published, or one that would be.
    pub version: Version,
    /// How much it changes, if it is not published yet.
    pub kind: ReleaseKind,
    /// The restart that it needs, if it is not published yet.
    pub restart: RestartNeed,
    /// The oldest version that may take it directly, if it is not published yet.
    pub minimum_base: Option<Version>,
    /// Size of its package, if it is not published yet.
    pub bytes: u64,
    /// Other settings than those in force.
    pub settings: Option<RolloutSettings>,
}

impl App {
    /// A copy of everything that the planner looks at, and the revision of its facts.
    fn live(&self, now: Timestamp) -> (LiveFleet, u64) {
        self.fleet_ref(|fleet| {
            let live = LiveFleet {
                fleet: fleet.sensors.clone(),
                planner: fleet.planner.clone(),
                catalogue: fleet.catalogue.clone(),
                policy: fleet.policy.clone(),
                ready_at: Some(self.0.ready_at),
                now,
            };
            (live, fleet.facts_revision())
        })
    }

    /// Plans the rollout of a release that is about to be published or resumed, without changing anything.
    pub(super) async fn draft_plan(&self, release: Release, now: Timestamp) -> Result<Option<RolloutPlan>, AppError> {
        let (mut live, revision) = self.live(now);
        let version = release.version;
        live.catalogue.insert(release);
        live.planner.publish(version, now);
        let made = blocking(move || plan(version, live)).await?;
        Ok(made.map(|plan| RolloutPlan { facts_revision: revision, ..plan }))
    }

    /// Keeps a plan as the newest of its rollout.
    pub(super) async fn keep_plan(&self, tx: &mut Transaction, plan: Option<RolloutPlan>) -> Result<(), AppError> {
        let Some(plan) = plan else { return Ok(()) };
        let last = tx.plan(plan.version, None).await?.map_or(0, |plan| plan.generation);
        let plan = RolloutPlan { generation: last.saturating_add(1), ..plan };
        Ok(tx.insert_plan(&plan).await?)
    }

    /// The plan that a rollout runs by, or an older one of this generation.
    ///
    /// # Errors
    /// When there is none, or the store cannot be read.
    pub async fn rollout_plan(&self, version: Version, generation: Option<u32>) -> Result<RolloutPlan, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        let found = tx.plan(version, generation).await?;
        found.ok_or_else(|| AppError::NotFound { what: "plan of the rollout of", id: version.to_string() })
    }

    /// Rehearses a release on a copy of the fleet as it is at this moment. Nothing is kept.
    ///
    /// # Errors
    /// When the settings are none, or the release cannot be one.
    pub async fn rehearse(&self, wanted: Rehearsal) -> Result<RolloutPlan, AppError> {
        let _busy = self.busy();
        let now = self.0.clock.now();
        let (mut live, revision) = self.live(now);
        if let Some(settings) = &wanted.settings {
            settings.validate().map_err(|error| refused("badSettings", error.to_string()))?;
            settings.apply(&mut live.policy);
        }
        let version = wanted.version;
        if wanted.minimum_base.is_some_and(|base| base >= version) {
            return Err(refused("badBase", format!("minimumBaseVersion is not older than the release, {version}")));
        }
        let package = TargetRef { name: format!("{version}"), sha256: NO_PACKAGE.to_owned(), length: wanted.bytes };
        live.catalogue.insert(Release {
            version,
            kind: wanted.kind,
            published_at: now,
            pulled_back_at: None,
            minimum_base: wanted.minimum_base,
            restart: wanted.restart,
            systems: Vec::new(),
            target: Some(package),
        });
        live.planner.publish(version, now);
        let made = blocking(move || plan(version, live)).await?;
        let missing = || AppError::NotFound { what: "rollout of", id: version.to_string() };
        made.map(|plan| RolloutPlan { facts_revision: revision, ..plan }).ok_or_else(missing)
    }
}
