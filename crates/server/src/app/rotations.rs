//! One order to replace the certificates of many sensors: `core::identity` says who goes first and when each is due.
//!
//! The order is one row. No sensor's own row changes: each is asked about when it checks in.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;
use watchpost_core::id::SensorId;
use watchpost_core::identity::{Campaign, CampaignRefused, Candidate, MAX_NAMED, Selection, Stage};
use watchpost_core::time::Timestamp;
use watchpost_store::Transaction;

use super::fleet::Fleet;
use super::shelves::refused;
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// The name under which the order stands among the settings.
const SETTING: &str = "certificateRotation";

/// The order for many, if there was one.
#[derive(Default)]
pub(super) struct Rotations(RwLock<Option<Campaign>>);

impl Rotations {
    pub(super) async fn load(tx: &mut Transaction) -> Result<Self, AppError> {
        let kept = tx.setting::<Campaign>(SETTING).await?;
        Ok(Self(RwLock::new(kept.map(|(campaign, _)| campaign))))
    }

    fn campaign(&self) -> Option<Campaign> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the certificate of this sensor was ordered to be replaced; an instant ahead is none yet.
    pub(super) fn ordered_at(&self, sensor: SensorId, now: Timestamp) -> Option<Timestamp> {
        let campaign = self.0.read().unwrap_or_else(PoisonError::into_inner);
        campaign.as_ref()?.ordered_at(sensor).filter(|at| *at <= now)
    }
}

fn not_now(why: CampaignRefused) -> AppError {
    let code = match &why {
        CampaignRefused::Nobody => "nobodyToRehearse",
        CampaignRefused::Rehearsing { .. } => "rehearsalUnderWay",
        CampaignRefused::Halted(_) => "rehearsalFailed",
        CampaignRefused::NotRehearsed => "noRehearsal",
        CampaignRefused::Spread => "badSpread",
    };
    refused(code, why.to_string())
}

impl App {
    fn candidates<'a>(&'a self, fleet: &'a Fleet, now: Timestamp) -> impl Iterator<Item = Candidate<'a>> {
        let silence = self.0.policy.contact.stopped_communicating_after;
        fleet.sensors.values().filter_map(move |sensor| {
            let pins = fleet.pins(sensor.id)?;
            let heard_at = sensor.last_contact?;
            Some(Candidate {
                id: sensor.id,
                name: &sensor.name,
                first_used_at: pins.first_used_at(),
                is_settled: pins.are_settled(),
                is_connected: now.since(heard_at) < silence,
            })
        })
    }

    /// The last order for many, and where it stands.
    #[must_use]
    pub fn certificate_rotation(&self, now: Timestamp) -> Option<(Campaign, Stage)> {
        let campaign = self.0.rotations.campaign()?;
        let stage = self.fleet_ref(|fleet| campaign.stage(self.candidates(fleet, now), now));
        Some((campaign, stage))
    }

    /// Orders that the certificates of these sensors, by id or name, or of all of them, be replaced; with a rehearsal
    /// those of a few first, and the others once somebody says so.
    ///
    /// # Errors
    /// When the principal may not, a sensor is not known, a rehearsal is under way, or it cannot be saved.
    pub async fn begin_certificate_rotation(
        &self,
        principal: &Principal,
        named: Option<Vec<String>>,
        is_rehearsed: bool,
        spread: Duration,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        authorize(principal, Action::ManageSensors, Resource::Workspace)?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let now = self.0.clock.now();
        if let Some((_, Stage::Rehearsing { done, of })) = self.certificate_rotation(now) {
            return Err(not_now(CampaignRefused::Rehearsing { done, of }));
        }
        let selection = named.map_or(Ok(Selection::All), |names| self.select(&names))?;
        let campaign =
            self.fleet_ref(|fleet| Campaign::begin(selection, self.candidates(fleet, now), is_rehearsed, spread, now));
        self.decide_rotation(principal, "certificate.orderMany", campaign.map_err(not_now)?, reason).await
    }

    /// Orders the others, after a rehearsal in which everybody has finished.
    ///
    /// # Errors
    /// When the principal may not, there is no such rehearsal, or it cannot be saved.
    pub async fn continue_certificate_rotation(
        &self,
        principal: &Principal,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        authorize(principal, Action::ManageSensors, Resource::Workspace)?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let now = self.0.clock.now();
        let known = self.certificate_rotation(now);
        let (campaign, stage) = known.ok_or_else(|| not_now(CampaignRefused::NotRehearsed))?;
        let campaign = campaign.go_on(&stage, now).map_err(not_now)?;
        self.decide_rotation(principal, "certificate.orderRest", campaign, reason).await
    }

    fn select(&self, names: &[String]) -> Result<Selection, AppError> {
        if names.is_empty() || names.len() > MAX_NAMED {
            let why = format!("name 1 to {MAX_NAMED} sensors, or leave them out for all");
            return Err(AppError::Invalid { field: "sensors", why });
        }
        let find = |name: &String| {
            let id = self.fleet_ref(|fleet| fleet.find(name).map(|sensor| sensor.id));
            id.ok_or_else(|| AppError::NotFound { what: "sensor", id: name.chars().take(64).collect() })
        };
        Ok(Selection::These(names.iter().map(find).collect::<Result<BTreeSet<_>, _>>()?))
    }

    async fn decide_rotation(
        &self,
        principal: &Principal,
        action: &str,
        campaign: Campaign,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let mut tx = self.begin().await?;
        tx.save_setting(SETTING, &campaign).await?;
        let after = Some(json!(campaign));
        self.audit(&mut tx, &principal.actor, action, "certificates", None, after, reason).await?;
        tx.commit().await?;
        *self.0.rotations.0.write().unwrap_or_else(PoisonError::into_inner) = Some(campaign);
        self.0.bus.announce(Event::Settings);
        Ok(())
    }
}
