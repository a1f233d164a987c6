//! Certificates of sensors on the control plane: who is let in, and how one takes the place of another.
//!
//! `core::identity` decides; here it is made durable, audited, and only then true.

use serde_json::{Value, json};
use tracing::error;
use watchpost_core::id::SensorId;
use watchpost_core::identity::{Admission, Pin, Pins, ProposalRefused, Role, Standing, renewal_begins};
use watchpost_core::time::Timestamp;
use watchpost_store::StoreError;

use super::fleet::Fleet;
use super::{App, AppError, to_its_end};
use crate::auth::access::{Action, Actor, Principal, Resource, authorize};
use crate::events::Event;

/// Why a certificate did not take the place of another.
#[derive(Debug, thiserror::Error)]
pub enum RotationRefused {
    /// The sensor was deleted meanwhile.
    #[error("this sensor is not enrolled here any more")]
    Unknown,
    /// It may not be proposed.
    #[error(transparent)]
    Proposal(#[from] ProposalRefused),
    /// It belongs to another sensor.
    #[error("this certificate belongs to another sensor already; make another one")]
    InUse,
    /// The server could not save the change; safe to repeat.
    #[error("the server could not save the change of the certificate; try again later")]
    Unavailable,
}

/// How a sensor's certificate stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateView {
    /// What is going on with it.
    pub state: CertificateState,
    /// Its pin.
    pub pin: Pin,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When its renewal begins by itself.
    pub renewal_begins_at: Timestamp,
    /// When somebody last ordered that it be replaced.
    pub ordered_at: Option<Timestamp>,
    /// How many before it are still accepted.
    pub previous: usize,
}

/// What is going on with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// Nothing: it is the only one.
    Settled,
    /// It should be replaced, and the host has not proposed another one yet.
    RenewalDue,
    /// Another one is proposed and not confirmed yet.
    Proposed,
    /// It is in use, and the one before is still accepted.
    PreviousKept,
}

impl CertificateState {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::RenewalDue => "renewalDue",
            Self::Proposed => "proposed",
            Self::PreviousKept => "previousKept",
        }
    }
}

/// What an auditor reads of certificates.
fn audited(pins: &Pins) -> Value {
    let row = |(pin, role): &(Pin, Role)| json!({ "certificate": pin, "role": role.word() });
    pins.standing(false).pins.iter().map(row).collect()
}

impl App {
    /// Whose certificate this is, and what may be done with it. Memory only, asked for each request.
    #[must_use]
    pub fn admit(&self, pin: &[u8; 32], now: Timestamp) -> Option<(SensorId, Admission)> {
        self.fleet_ref(|fleet| {
            let id = fleet.by_pin(pin)?;
            let admission = fleet.pins(id)?.admit(Pin::from(*pin), now, &self.0.policy.certificate)?;
            Some((id, admission))
        })
    }

    /// The certificates of a sensor, and whether the active one should be replaced.
    fn pins<'a>(&self, fleet: &'a Fleet, id: SensorId, now: Timestamp) -> Option<(&'a Pins, bool)> {
        let (pins, sensor) = (fleet.pins(id)?, fleet.sensors.get(&id)?);
        let ordered_at = sensor.certificate.ordered_at.max(self.0.rotations.ordered_at(id, now));
        let renew = pins.should_renew(id, ordered_at, now, &self.0.policy.certificate);
        Some((pins, renew))
    }

    /// How the certificates of a sensor stand.
    #[must_use]
    pub fn standing(&self, id: SensorId, now: Timestamp) -> Option<Standing> {
        self.fleet_ref(|fleet| self.pins(fleet, id, now).map(|(pins, renew)| pins.standing(renew)))
    }

    /// The same, if a host that checks in should hear of it: there are several, or another one is wanted.
    #[must_use]
    pub fn standing_at_check_in(&self, id: SensorId, now: Timestamp) -> Option<Standing> {
        self.fleet_ref(|fleet| {
            let (pins, renew) = self.pins(fleet, id, now)?;
            (renew || !pins.are_settled()).then(|| pins.standing(renew))
        })
    }

    /// How the certificate of a sensor stands, for people.
    #[must_use]
    pub fn certificate(&self, id: SensorId, now: Timestamp) -> Option<CertificateView> {
        let policy = &self.0.policy.certificate;
        let standing = self.standing(id, now)?;
        self.fleet_ref(|fleet| {
            let (pins, sensor) = (fleet.pins(id)?, fleet.sensors.get(&id)?);
            let count = |role| standing.pins.iter().filter(|(_, known)| *known == role).count();
            let state = match (count(Role::Pending), count(Role::Retiring)) {
                (1.., _) => CertificateState::Proposed,
                (0, 1..) => CertificateState::PreviousKept,
                (0, 0) if standing.renew => CertificateState::RenewalDue,
                (0, 0) => CertificateState::Settled,
            };
            Some(CertificateView {
                state,
                pin: pins.active(),
                expires_at: pins.expires_at(policy),
                renewal_begins_at: renewal_begins(id, pins.registered_at(), policy),
                ordered_at: sensor.certificate.ordered_at,
                previous: count(Role::Retiring),
            })
        })
    }

    /// Whether the certificates before the active one can go, as `pin` is in use.
    #[must_use]
    pub fn may_remove_previous(&self, id: SensorId, pin: &[u8; 32], now: Timestamp) -> bool {
        let policy = &self.0.policy.certificate;
        self.fleet_ref(|fleet| fleet.pins(id).is_some_and(|pins| pins.may_remove_previous((*pin).into(), now, policy)))
    }

    /// Removes them. What cannot be saved is tried again at the next check-in.
    pub async fn remove_previous(&self, id: SensorId, pin: [u8; 32], now: Timestamp) {
        let policy = self.0.policy.certificate.clone();
        let remove = move |pins: &mut Pins| {
            let may = pins.may_remove_previous(pin.into(), now, &policy);
            if may {
                pins.remove_previous();
            }
            Ok(may)
        };
        // Whatever went wrong is in the log, and nobody has to know of it.
        let _ = self.change_pins(id, Actor::Server, "certificate.retire", None, now, remove).await;
    }

    /// A host, let in by `by`, proposes its next certificate. Safe to repeat.
    ///
    /// # Errors
    /// When it may not, the certificate is another sensor's, or the store fails.
    pub async fn propose_certificate(
        &self,
        id: SensorId,
        by: [u8; 32],
        pin: Pin,
        now: Timestamp,
    ) -> Result<Standing, RotationRefused> {
        let by = Pin::from(by);
        if self.fleet_ref(|fleet| fleet.by_pin(pin.bytes())).is_some_and(|owner| owner != id) {
            return Err(RotationRefused::InUse);
        }
        let is_retiring = self.fleet_ref(|fleet| fleet.pins(id).is_some_and(|p| p.role(by) == Some(Role::Retiring)));
        let reason = is_retiring.then(|| "proposed with a certificate that retires".to_owned());
        let propose = move |pins: &mut Pins| Ok(pins.propose(by, pin, now)?);
        self.change_pins(id, Actor::Sensor(id), "certificate.propose", reason, now, propose).await
    }

    /// A host confirms the certificate that it presents. Safe to repeat.
    ///
    /// # Errors
    /// When the sensor is gone or the store fails.
    pub async fn confirm_certificate(
        &self,
        id: SensorId,
        by: [u8; 32],
        now: Timestamp,
    ) -> Result<Standing, RotationRefused> {
        let confirm = move |pins: &mut Pins| Ok(pins.confirm(by.into(), now));
        self.change_pins(id, Actor::Sensor(id), "certificate.confirm", None, now, confirm).await
    }

    /// Changes the certificates of a sensor: durable and audited before anybody is let in or kept out by it.
    async fn change_pins(
        &self,
        id: SensorId,
        actor: Actor,
        action: &'static str,
        reason: Option<String>,
        now: Timestamp,
        change: impl FnOnce(&mut Pins) -> Result<bool, RotationRefused> + Send + 'static,
    ) -> Result<Standing, RotationRefused> {
        let app = self.clone();
        let changed = to_its_end(async move {
            let _busy = app.busy();
            let _gate = app.0.gate.lock().await;
            let before = app.fleet_ref(|fleet| fleet.pins(id).cloned()).ok_or(RotationRefused::Unknown)?;
            let mut after = before.clone();
            if !change(&mut after)? {
                return Ok(());
            }
            match app.save_pins(id, &actor, action, &before, &after, reason).await {
                Ok(()) => {}
                Err(AppError::Store(StoreError::Taken(_))) => return Err(RotationRefused::InUse),
                Err(failure) => {
                    error!(sensor = %id, action, "a change of certificates was not saved: {}", failure.chain());
                    return Err(RotationRefused::Unavailable);
                }
            }
            let policy = &app.0.policy.certificate;
            app.fleet_mut(|fleet| fleet.take_pins(id, after, policy));
            app.0.bus.announce(Event::Sensor(id));
            app.poke();
            Ok(())
        });
        changed.await.unwrap_or_else(|failure| {
            error!(sensor = %id, action, "a change of certificates was not carried out: {failure}");
            Err(RotationRefused::Unavailable)
        })?;
        self.standing(id, now).ok_or(RotationRefused::Unknown)
    }

    async fn save_pins(
        &self,
        id: SensorId,
        actor: &Actor,
        action: &str,
        before: &Pins,
        after: &Pins,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let mut tx = self.begin().await?;
        tx.save_certificates(id, after).await?;
        let (was, is) = (Some(audited(before)), Some(audited(after)));
        self.audit(&mut tx, actor, action, &id.to_string(), was, is, reason).await?;
        Ok(tx.commit().await?)
    }

    /// Orders that the certificate of a sensor, by its id or name, be replaced at its next check-in.
    ///
    /// # Errors
    /// When the principal may not, there is no such sensor, or the store fails.
    pub async fn order_certificate(
        &self,
        principal: &Principal,
        id_or_name: &str,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        authorize(principal, Action::ManageSensors, Resource::Workspace)?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let known = self.fleet_ref(|fleet| fleet.find(id_or_name).cloned());
        let mut sensor =
            known.ok_or_else(|| AppError::NotFound { what: "sensor", id: id_or_name.chars().take(64).collect() })?;
        let (id, before) = (sensor.id, sensor.certificate.ordered_at);
        sensor.certificate.ordered_at = Some(self.0.clock.now());
        let revision = self.fleet_ref(|fleet| fleet.kept(id)).map_or(0, |kept| kept.revision);
        let mut tx = self.begin().await?;
        tx.save_sensors(&[(&sensor, revision)]).await?;
        let (was, is) = (json!({ "orderedAt": before }), json!({ "orderedAt": sensor.certificate.ordered_at }));
        let subject = id.to_string();
        self.audit(&mut tx, &principal.actor, "certificate.order", &subject, Some(was), Some(is), reason).await?;
        tx.commit().await?;
        self.fleet_mut(|fleet| fleet.take_saved(sensor));
        self.0.bus.announce(Event::Sensor(id));
        Ok(())
    }
}
