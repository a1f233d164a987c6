//! Possible clones: newcomers are held in quarantine, and one decision of an administrator says what they are.
//!
//! `core::clones` says what becomes of an attempt; nothing here lets anybody in but such a decision.

use serde_json::json;
use watchpost_core::clones::{Decision, HostFacts, Newcomer, Verdict};
use watchpost_core::id::SensorId;
use watchpost_core::identity::{Pin, Pins};
use watchpost_core::time::Timestamp;
use watchpost_store::{EnrolmentRow, Transaction};

use super::enrollment::{EnrollRefused, EnrollRequest, check};
use super::shelves::refused;
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// A newcomer beside the sensor that it says to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneView {
    /// The newcomer.
    pub newcomer: Newcomer,
    /// Name of the enrolled sensor.
    pub name: String,
    /// What it runs on, in words.
    pub operating_system: String,
    /// Its certificate.
    pub pin: Option<Pin>,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// When it was last heard of.
    pub last_contact: Option<Timestamp>,
}

/// What of a request is kept.
fn facts(request: &EnrollRequest) -> HostFacts {
    HostFacts {
        name: request.name.clone(),
        sensor_type: request.sensor_type.clone(),
        domain: request.domain.clone(),
        site: request.site.clone(),
        zone: request.zone.clone(),
        delayed: request.delayed,
        domain_controllers: request.domain_controller_dns_names.clone(),
        operating_system: request.operating_system.clone(),
    }
}

/// The request of a newcomer, as it would arrive again; its access key was checked when it did.
fn request(newcomer: &Newcomer) -> EnrollRequest {
    let facts = newcomer.facts.clone();
    EnrollRequest {
        secret: String::new(),
        enrolment_id: newcomer.enrolment_id.clone(),
        host_id: newcomer.host_id.clone(),
        from: newcomer.from.clone(),
        name: facts.name,
        sensor_type: facts.sensor_type,
        domain: facts.domain,
        site: facts.site,
        zone: facts.zone,
        delayed: facts.delayed,
        domain_controller_dns_names: facts.domain_controllers,
        operating_system: facts.operating_system,
    }
}

impl App {
    /// Holds a newcomer that says to be `sensor`: it is noted, and why it may not come in yet is given. The gate must be
    /// held.
    pub(super) async fn quarantine(
        &self,
        mut tx: Transaction,
        asked: &EnrollRequest,
        sensor: SensorId,
        pin: [u8; 32],
        now: Timestamp,
    ) -> Result<EnrollRefused, AppError> {
        let attempt = Newcomer {
            pin: Pin::from(pin),
            sensor,
            host_id: asked.host_id.clone(),
            enrolment_id: asked.enrolment_id.clone(),
            from: asked.from.clone(),
            facts: facts(asked),
            first_at: now,
            last_at: now,
            attempts: 1,
            refused_at: None,
        };
        let (noted, forgotten) = match self.fleet_ref(|fleet| fleet.quarantine().judge(attempt, now)) {
            Verdict::Blocked => return Ok(EnrollRefused::Blocked),
            Verdict::Full => return Ok(EnrollRefused::PossibleClone),
            Verdict::Hold => return Ok(EnrollRefused::Quarantined),
            Verdict::Note(noted, forgotten) => (*noted, forgotten),
        };
        tx.delete_newcomers(&forgotten).await?;
        tx.save_newcomer(&noted).await?;
        if noted.attempts == 1 {
            let after = json!({ "certificate": noted.pin, "from": noted.from, "name": noted.facts.name });
            let actor = crate::auth::access::Actor::Server;
            self.audit(&mut tx, &actor, "clone.quarantine", &sensor.to_string(), None, Some(after), None).await?;
        }
        tx.commit().await?;
        self.fleet_mut(|fleet| fleet.take_newcomer(noted, &forgotten));
        self.0.bus.announce(Event::Sensor(sensor));
        self.poke();
        Ok(EnrollRefused::Quarantined)
    }

    /// Everybody in quarantine, and who is blocked, each beside the sensor that it says to be.
    #[must_use]
    pub fn clones(&self) -> Vec<CloneView> {
        self.fleet_ref(|fleet| {
            let view = |newcomer: &Newcomer| {
                let sensor = fleet.sensors.get(&newcomer.sensor);
                CloneView {
                    newcomer: newcomer.clone(),
                    name: sensor.map(|sensor| sensor.name.clone()).unwrap_or_default(),
                    operating_system: sensor.map(|known| known.report.operating_system.clone()).unwrap_or_default(),
                    pin: fleet.pins(newcomer.sensor).map(Pins::active),
                    enrolled_at: sensor.map_or(newcomer.first_at, |sensor| sensor.created_at),
                    last_contact: sensor.and_then(|sensor| sensor.last_contact),
                }
            };
            fleet.quarantine().all().map(view).collect()
        })
    }

    /// Says what a newcomer is. It is let in, or not, when it asks next.
    ///
    /// # Errors
    /// When the principal may not, nobody with this fingerprint waits, or the store fails.
    pub async fn decide_clone(
        &self,
        principal: &Principal,
        fingerprint: &str,
        decision: Decision,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        authorize(principal, Action::ManageSensors, Resource::Workspace)?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let now = self.0.clock.now();
        let known = fingerprint.parse().ok();
        let known = known.and_then(|pin: Pin| self.fleet_ref(|fleet| fleet.quarantine().get(&pin).cloned()));
        let newcomer = known.ok_or_else(|| AppError::NotFound {
            what: "newcomer with this fingerprint:",
            id: fingerprint.chars().take(64).collect(),
        })?;
        let mut tx = self.begin().await?;
        let after = json!({
            "decision": decision.word(), "certificate": newcomer.pin, "from": newcomer.from, "name": newcomer.facts.name,
        });
        let (actor, subject) = (&principal.actor, newcomer.sensor.to_string());
        self.audit(&mut tx, actor, "clone.decide", &subject, None, Some(after), reason).await?;
        match decision {
            Decision::Replace => self.replace(tx, &newcomer, now).await?,
            Decision::Separate => self.separate(tx, &newcomer, principal, now).await?,
            Decision::Refuse => {
                let blocked = Newcomer { refused_at: Some(now), ..newcomer.clone() };
                tx.save_newcomer(&blocked).await?;
                tx.commit().await?;
                self.fleet_mut(|fleet| fleet.take_newcomer(blocked, &[]));
            }
        }
        self.0.bus.announce(Event::Sensor(newcomer.sensor));
        self.poke();
        Ok(())
    }

    /// The newcomer's key is the sensor's from here on, and no other one.
    async fn replace(&self, mut tx: Transaction, newcomer: &Newcomer, now: Timestamp) -> Result<(), AppError> {
        let pins = Pins::enrolled(newcomer.pin, now);
        tx.save_certificates(newcomer.sensor, &pins).await?;
        let (enrolment_id, host_id) = (newcomer.enrolment_id.clone(), newcomer.host_id.clone());
        let pin = *newcomer.pin.bytes();
        tx.insert_enrolment(&EnrolmentRow { enrolment_id, sensor: newcomer.sensor, pin, host_id }, now).await?;
        tx.delete_newcomers(&[newcomer.pin]).await?;
        tx.commit().await?;
        let policy = &self.0.policy.certificate;
        self.fleet_mut(|fleet| {
            fleet.take_pins(newcomer.sensor, pins, policy);
            fleet.drop_newcomer(newcomer);
        });
        Ok(())
    }

    /// The newcomer is another host, and becomes a sensor.
    async fn separate(
        &self,
        mut tx: Transaction,
        newcomer: &Newcomer,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<(), AppError> {
        let request = request(newcomer);
        let kind = check(&request).map_err(|why| refused("invalidEnrolment", why.to_string()))?;
        tx.delete_newcomers(&[newcomer.pin]).await?;
        let pin = *newcomer.pin.bytes();
        let made = self.make_sensor(tx, &request, kind, pin, Some(principal.actor.clone()), now).await?;
        made.map_err(|why| refused("invalidEnrolment", why.to_string()))?;
        self.fleet_mut(|fleet| fleet.drop_newcomer(newcomer));
        Ok(())
    }
}
