//! Rule packages: published like a release, pulled back, pushed to a sensor, and which one each sensor should have.
//!
//! Starts no rollout: a host judges a package by what its engines load and puts a bad one back by itself. Where a zone
//! declares a coverage, its sensors load one after another, beside updates.

use std::collections::BTreeMap;

use serde_json::json;
use watchpost_core::content::{RulePackage, RulesManifest, RulesMode, RulesOrder};
use watchpost_core::sensor::Sensor;
use watchpost_core::time::Timestamp;
use watchpost_store::RulePackageRow;

use super::fleet::Fleet;
use super::shelves::{Order, Vouched, blocking, refused, remove_upload};
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// A published rule package and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePackageView {
    /// The package.
    pub package: RulePackageRow,
    /// How many sensors have it loaded.
    pub loaded: usize,
    /// How many sensors it failed on.
    pub failed: usize,
    /// Whether it is handed to no further sensor because of that.
    pub is_braked: bool,
}

/// A package as `core` knows it.
pub(super) fn known(row: &RulePackageRow) -> RulePackage {
    RulePackage {
        build: row.manifest.build,
        target: row.target.clone(),
        published_at: row.published_at,
        pulled_back_at: row.pulled_back_at,
    }
}

fn view(fleet: &Fleet, row: &RulePackageRow) -> RulePackageView {
    let build = row.manifest.build;
    let has = |sensor: &&Sensor| sensor.report.rules.build == Some(build);
    RulePackageView {
        package: row.clone(),
        loaded: fleet.sensors.values().filter(has).count(),
        failed: fleet.rules.failures(build),
        is_braked: fleet.rules.is_braked(build, fleet.sensors.len()),
    }
}

/// The rules that a publication brings, and whether they are known.
fn rules_of(vouched: &Vouched, known: &[RulePackageRow]) -> Result<(RulesManifest, bool), AppError> {
    let Some(rules) = vouched.contents.rules() else {
        let why = "the package holds a sensor, not rules; publish it with `watchpost release publish`";
        return Err(refused("notARulePackage", why));
    };
    let same = known.iter().find(|known| known.manifest.build == rules.build);
    if same.is_some_and(|known| known.target.sha256 != vouched.published.target.sha256.to_string()) {
        let why =
            format!("build {} is published with other content already; build anew with a later date", rules.build);
        return Err(refused("buildTaken", why));
    }
    Ok((rules.clone(), same.is_some()))
}

impl App {
    /// Publishes an uploaded rule package: judged and taken into both repositories. Automatic sensors are offered it from
    /// their next check-in on. The same package again is no error and changes nothing.
    ///
    /// # Errors
    /// When the principal may not, or anything about the publication cannot be believed.
    pub async fn publish_rules(
        &self,
        principal: &Principal,
        metadata: BTreeMap<String, Vec<u8>>,
        target: &str,
        reason: Option<String>,
    ) -> Result<(RulePackageView, bool), AppError> {
        authorize(principal, Action::PublishReleases, Resource::Workspace)?;
        let _busy = self.0.activity.begin();
        let now = self.0.clock.now();
        let mut shelves = self.0.shelves.take().await;
        let uploads = self.0.folder.uploads();
        let known = self.fleet_ref(|fleet| fleet.rule_packages().to_vec());
        let order = Order { metadata, target: target.to_owned(), uploads: uploads.clone(), now };
        let judged = blocking(move || {
            let judged = shelves.vouch(&order).and_then(|vouched| {
                let (manifest, was_there) = rules_of(&vouched, &known)?;
                shelves.take_in(&vouched, order.now)?;
                let target = vouched.target();
                let row = RulePackageRow { manifest, target, published_at: order.now, pulled_back_at: None };
                Ok((row, vouched.package, was_there))
            });
            (judged, shelves)
        });
        let (judged, _one_at_a_time) = judged.await?;
        let (row, package, was_there) = judged?;
        let build = row.manifest.build;
        if !was_there {
            let _gate = self.0.gate.lock().await;
            let mut tx = self.begin().await?;
            tx.insert_rule_package(&row).await?;
            let after = json!({ "target": row.target, "publishedDateTime": row.published_at });
            let subject = build.to_string();
            self.audit(&mut tx, &principal.actor, "rules.publish", &subject, None, Some(after), reason).await?;
            tx.commit().await?;
            self.fleet_mut(|fleet| fleet.put_rule_package(row));
            self.0.bus.announce(Event::Settings);
            self.poke();
        }
        remove_upload(&package, &uploads).await;
        Ok((self.rule_package(build)?, was_there))
    }

    /// Takes a package out of the offer: sensors that have it go back to what they had before.
    ///
    /// # Errors
    /// When the principal may not, or there is no such package.
    pub async fn pull_back_rules(
        &self,
        principal: &Principal,
        build: Timestamp,
        reason: Option<String>,
    ) -> Result<RulePackageView, AppError> {
        authorize(principal, Action::PublishReleases, Resource::Workspace)?;
        let _busy = self.0.activity.begin();
        let _gate = self.0.gate.lock().await;
        let mut row = self.rule_package(build)?.package;
        if row.pulled_back_at.is_none() {
            let now = self.0.clock.now();
            row.pulled_back_at = Some(now);
            let mut tx = self.begin().await?;
            tx.pull_back_rule_package(build, now).await?;
            let (before, after) = (json!({ "pulledBackDateTime": null }), json!({ "pulledBackDateTime": now }));
            let subject = build.to_string();
            self.audit(&mut tx, &principal.actor, "rules.pullBack", &subject, Some(before), Some(after), reason)
                .await?;
            tx.commit().await?;
            self.fleet_mut(|fleet| fleet.put_rule_package(row));
            self.0.bus.announce(Event::Settings);
            self.poke();
        }
        self.rule_package(build)
    }

    /// Pushes a package to one sensor, also one that was put back there: `None` is the newest.
    ///
    /// # Errors
    /// When the principal may not, or there is no such sensor or package.
    pub async fn push_rules(
        &self,
        principal: &Principal,
        sensor: &str,
        build: Option<Timestamp>,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let build = match build {
            Some(build) => build,
            None => self.fleet_ref(|fleet| fleet.rules.newest().map(|package| package.build)).ok_or_else(|| {
                refused("noRulePackage", "no rule package is on offer; publish one with `watchpost rules publish`")
            })?,
        };
        if self.rule_package(build)?.package.pulled_back_at.is_some() {
            let why = format!("the package of {build} was pulled back; publish its content under a later build date");
            return Err(refused("pulledBack", why));
        }
        let now = self.0.clock.now();
        self.order_rules(principal, sensor, "rules.push", reason, |order, _| order.push(build, now)).await
    }

    /// Sets whether a sensor takes new packages by itself.
    ///
    /// # Errors
    /// When the principal may not, or there is no such sensor.
    pub async fn set_rules_mode(
        &self,
        principal: &Principal,
        sensor: &str,
        mode: RulesMode,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let now = self.0.clock.now();
        let change = |order: &mut RulesOrder, offered| order.set_mode(mode, offered, now);
        self.order_rules(principal, sensor, "rules.setMode", reason, change).await
    }

    async fn order_rules(
        &self,
        principal: &Principal,
        sensor: &str,
        action: &str,
        reason: Option<String>,
        change: impl FnOnce(&mut RulesOrder, Option<Timestamp>),
    ) -> Result<(), AppError> {
        authorize(principal, Action::SteerRollouts, Resource::Workspace)?;
        let _busy = self.0.activity.begin();
        let _gate = self.0.gate.lock().await;
        let found = self.fleet_ref(|fleet| {
            let sensor = fleet.find(sensor)?.clone();
            let offered = fleet.rules.desired(&sensor, fleet.sensors.len()).map(|order| order.build);
            Some((fleet.kept(sensor.id)?.revision, sensor, offered))
        });
        let missing = || AppError::NotFound { what: "sensor", id: sensor.chars().take(100).collect() };
        let (revision, mut sensor, offered) = found.ok_or_else(missing)?;
        let before = sensor.rules;
        change(&mut sensor.rules, offered);
        if sensor.rules == before {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        tx.save_sensors(&[(&sensor, revision)]).await?;
        let (subject, after) = (sensor.name.clone(), json!(sensor.rules));
        self.audit(&mut tx, &principal.actor, action, &subject, Some(json!(before)), Some(after), reason).await?;
        tx.commit().await?;
        let id = sensor.id;
        self.fleet_mut(|fleet| fleet.take_saved(sensor));
        self.0.bus.announce(Event::Sensor(id));
        self.poke();
        Ok(())
    }

    /// All rule packages, newest build first.
    #[must_use]
    pub fn rule_packages(&self) -> Vec<RulePackageView> {
        self.fleet_ref(|fleet| fleet.rule_packages().iter().rev().map(|row| view(fleet, row)).collect())
    }

    /// The rule package of this build.
    ///
    /// # Errors
    /// When there is none.
    pub fn rule_package(&self, build: Timestamp) -> Result<RulePackageView, AppError> {
        let found = self.fleet_ref(|fleet| {
            let row = fleet.rule_packages().iter().find(|row| row.manifest.build == build)?;
            Some(view(fleet, row))
        });
        found.ok_or_else(|| AppError::NotFound { what: "rule package of", id: build.to_string() })
    }
}
