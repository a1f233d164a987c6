//! A host enrols: access key in, pinned certificate and sensor id out. Repeating the same enrolment is harmless.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tracing::error;
use watchpost_core::id::{SensorId, SiteId, ZoneId};
use watchpost_core::identity::{Pin, Pins};
use watchpost_core::sensor::{Sensor, SensorKind};
use watchpost_core::time::Timestamp;
use watchpost_store::{EnrolmentRow, SensorRow, SiteRow, Transaction, ZoneRow};

use super::sensors::FIRST_CHECK_IN;
use super::{App, AppError, to_its_end};
use crate::auth::access::Actor;
use crate::auth::secret::{random_bits, sha256};
use crate::events::Event;

/// Most characters of an enrolment id.
const MAX_ENROLMENT_ID: usize = 64;
/// Most characters of what a host calls itself.
const MAX_HOST_ID: usize = 128;
/// Most characters of a NetBIOS name.
const MAX_NAME: usize = 15;
/// Most characters of a DNS name.
const MAX_DNS_NAME: usize = 253;
/// Most characters of the name of a site or zone.
const MAX_PLACE_NAME: usize = 64;
/// Most characters of an operating system in words.
const MAX_OPERATING_SYSTEM: usize = 200;
/// Most domain controllers one sensor may watch.
pub(super) const MAX_DOMAIN_CONTROLLERS: usize = 256;
/// Most sites and most zones that enrolments may bring.
const MAX_PLACES: usize = 10_000;
/// What a site or zone is called where nobody named one.
const DEFAULT_PLACE: &str = "default";

/// What a host says of itself when it enrols.
#[derive(Clone)]
pub struct EnrollRequest {
    /// The secret part of the access key, as it arrived (base64url of 32 bytes).
    pub secret: String,
    /// Made once by the host (at most 64 characters); the same id with the same certificate is the same enrolment.
    pub enrolment_id: String,
    /// What the host calls itself (machine id), by which a clone is noticed.
    pub host_id: String,
    /// Where it asked from, for people.
    pub from: String,
    /// NetBIOS name.
    pub name: String,
    /// Sensor type word, e.g. `domainControllerIntegrated`.
    pub sensor_type: String,
    /// Domain, as FQDN.
    pub domain: String,
    /// Name of the site it stands in; empty means the workspace's first one.
    pub site: String,
    /// Name of the zone of the site; empty means the site's first one.
    pub zone: String,
    /// Whether it belongs to the delayed ring.
    pub delayed: bool,
    /// Domain controllers an AD FS, AD CS, Entra Connect or standalone sensor watches.
    pub domain_controller_dns_names: Vec<String>,
    /// Operating system in words.
    pub operating_system: String,
}

/// What an enrolled host is told.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Who it is from here on.
    pub sensor: SensorId,
    /// When the server answered.
    pub server_time: Timestamp,
    /// When to check in first.
    pub come_back_after: Duration,
}

/// Why an enrolment was refused.
#[derive(Debug, thiserror::Error)]
pub enum EnrollRefused {
    /// No such access key, or it was regenerated.
    #[error(
        "the access key is not known here: it was mistyped or regenerated; show the current one with `watchpost access-key show`"
    )]
    UnknownAccessKey,
    /// The same enrolment id arrived with another certificate.
    #[error(
        "this enrolment was already used with another certificate; run `watchpost-updater setup` again for a fresh one"
    )]
    Replayed,
    /// The certificate belongs to another sensor.
    #[error(
        "this certificate already belongs to another sensor; run `watchpost-updater setup` again to make one of its own"
    )]
    PinInUse,
    /// The same host is enrolled with another certificate, and too many others wait already.
    #[error(
        "this host is enrolled with another certificate already, and so many others say to be it that this attempt is not \
         noted; have an administrator decide about them with `watchpost clones list`"
    )]
    PossibleClone,
    /// The same host is enrolled with another certificate.
    #[error(
        "quarantined, waiting for a decision: this host is enrolled with another certificate already, so it was installed \
         anew, copied, or somebody else is it; an administrator decides with `watchpost clones list`"
    )]
    Quarantined,
    /// An administrator has said no.
    #[error(
        "an administrator has refused this host's certificate; if that was wrong, have it decided again with `watchpost \
         clones list`"
    )]
    Blocked,
    /// A fact is missing, too long or not one of the words it may be.
    #[error("{field}: {why}")]
    Invalid {
        /// Which fact.
        field: &'static str,
        /// What is wrong with it and what would be right.
        why: String,
    },
    /// The server could not save it; safe to repeat.
    #[error("the server could not save the enrolment; try again later")]
    Unavailable,
}

impl EnrollRefused {
    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownAccessKey => "unknownAccessKey",
            Self::Replayed => "enrolmentReplayed",
            Self::PinInUse => "certificateInUse",
            Self::PossibleClone => "possibleClone",
            Self::Quarantined => "enrolmentQuarantined",
            Self::Blocked => "enrolmentBlocked",
            Self::Invalid { .. } => "invalidEnrolment",
            Self::Unavailable => "unavailable",
        }
    }
}

impl App {
    /// Enrols a host whose client certificate hashes to `pin`. Idempotent for the same enrolment id and pin.
    ///
    /// # Errors
    /// When the access key is unknown, the enrolment is a replay, a fact is wrong, or the store fails.
    pub async fn enroll(
        &self,
        request: EnrollRequest,
        pin: [u8; 32],
        now: Timestamp,
    ) -> Result<Enrolled, EnrollRefused> {
        let kind = check(&request)?;
        let app = self.clone();
        let enrolled = to_its_end(async move {
            let _busy = app.busy();
            let _gate = app.0.gate.lock().await;
            app.enroll_in_store(&request, kind, pin, now).await.map_err(|failure| failure.chain())
        });
        match enrolled.await.map_err(|failure| failure.to_string()).flatten() {
            Ok(sensor) => Ok(Enrolled { sensor: sensor?, server_time: now, come_back_after: FIRST_CHECK_IN }),
            Err(failure) => {
                error!("an enrolment was not saved: {failure}");
                Err(EnrollRefused::Unavailable)
            }
        }
    }

    async fn enroll_in_store(
        &self,
        request: &EnrollRequest,
        kind: SensorKind,
        pin: [u8; 32],
        now: Timestamp,
    ) -> Result<Result<SensorId, EnrollRefused>, AppError> {
        let mut tx = self.begin().await?;
        let secret = URL_SAFE_NO_PAD.decode(&request.secret).unwrap_or_default();
        let current = tx.access_key().await?;
        if current.is_none_or(|current| verify_slices_are_equal(&current, &sha256(&secret)).is_err()) {
            return Ok(Err(EnrollRefused::UnknownAccessKey));
        }
        if let Some(known) = tx.enrolment(&request.enrolment_id).await? {
            let is_same = known.pin == pin && self.sensor_by_pin(&pin) == Some(known.sensor);
            return Ok(if is_same { Ok(known.sensor) } else { Err(EnrollRefused::Replayed) });
        }
        let of_host = tx.enrolments_of_host(&request.host_id).await?;
        if let Some(sensor) = self.sensor_by_pin(&pin) {
            // A host whose certificate was replaced since it enrolled runs its setup again.
            let is_same = of_host.iter().any(|enrolment| enrolment.sensor == sensor);
            return Ok(if is_same { Ok(sensor) } else { Err(EnrollRefused::PinInUse) });
        }
        // Its certificate is another one: the same was recognised above.
        if let Some(enrolled) = of_host.first() {
            return self.quarantine(tx, request, enrolled.sensor, pin, now).await.map(Err);
        }
        self.make_sensor(tx, request, kind, pin, None, now).await
    }

    /// Makes a sensor of a host. It enrols by itself, unless somebody else is named.
    pub(super) async fn make_sensor(
        &self,
        mut tx: Transaction,
        request: &EnrollRequest,
        kind: SensorKind,
        pin: [u8; 32],
        actor: Option<Actor>,
        now: Timestamp,
    ) -> Result<Result<SensorId, EnrollRefused>, AppError> {
        let (site, zone) = match self.place(&mut tx, request, now).await? {
            Ok(place) => place,
            Err(refused) => return Ok(Err(refused)),
        };
        let id = SensorId::from_parts(now, random_bits()?);
        let mut sensor = Sensor::new(id, self.0.workspace, request.name.clone(), kind, now);
        sensor.domain.clone_from(&request.domain);
        sensor.zone = Some(format!("{}/{}", site.name, zone.name));
        sensor.domain_controllers.clone_from(&request.domain_controller_dns_names);
        sensor.delayed = request.delayed;
        sensor.report.operating_system.clone_from(&request.operating_system);
        let row = SensorRow { sensor, zone: zone.id, pin, revision: 1 };
        tx.insert_sensor(&row).await?;
        tx.save_certificates(id, &Pins::enrolled(Pin::from(pin), now)).await?;
        let (enrolment_id, host_id) = (request.enrolment_id.clone(), request.host_id.clone());
        tx.insert_enrolment(&EnrolmentRow { enrolment_id, sensor: id, pin, host_id }, now).await?;
        let after = json!({
            "name": row.sensor.name, "kind": kind, "domain": row.sensor.domain, "zone": row.sensor.zone,
            "delayed": row.sensor.delayed, "certificate": hex::encode(pin),
        });
        self.audit(
            &mut tx,
            &actor.unwrap_or(Actor::Sensor(id)),
            "sensor.enrol",
            &id.to_string(),
            None,
            Some(after),
            None,
        )
        .await?;
        tx.commit().await?;
        self.fleet_mut(|fleet| fleet.add_sensor(row, site, zone, &self.0.policy.certificate));
        self.0.bus.announce(Event::Sensor(id));
        self.poke();
        // The sooner its object is known, the sooner it can be missed.
        self.ask_directory(&request.domain);
        Ok(Ok(id))
    }

    /// The site and zone a host names. One that does not exist yet is made: whoever has the access key installs hosts.
    async fn place(
        &self,
        tx: &mut Transaction,
        request: &EnrollRequest,
        now: Timestamp,
    ) -> Result<Result<(SiteRow, ZoneRow), EnrollRefused>, AppError> {
        let named = |name: &str| if name.is_empty() { DEFAULT_PLACE.to_owned() } else { name.to_owned() };
        let (site_name, zone_name) = (named(&request.site), named(&request.zone));
        let known_site = self.fleet_ref(|fleet| fleet.site_by_name(&site_name).cloned());
        let zone_of = |site: SiteId| self.fleet_ref(|fleet| fleet.zone_by_name(site, &zone_name).cloned());
        if let Some(site) = &known_site
            && let Some(zone) = zone_of(site.id)
        {
            return Ok(Ok((site.clone(), zone)));
        }
        if self.fleet_ref(super::fleet::Fleet::places) >= MAX_PLACES {
            let why = format!("there are {MAX_PLACES} sites and zones already; use one of them");
            return Ok(Err(EnrollRefused::Invalid { field: "zone", why }));
        }
        let site = match known_site {
            Some(site) => site,
            None => {
                let site = SiteRow { id: SiteId::from_parts(now, random_bits()?), name: site_name };
                tx.insert_site(&site, now).await?;
                site
            }
        };
        let zone = ZoneRow { id: ZoneId::from_parts(now, random_bits()?), site: site.id, name: zone_name };
        tx.insert_zone(&zone, now).await?;
        let after = json!({ "site": site.name, "zone": zone.name });
        self.audit(tx, &Actor::Server, "zone.create", &zone.id.to_string(), None, Some(after), None).await?;
        Ok(Ok((site, zone)))
    }
}

fn invalid(field: &'static str, why: impl Into<String>) -> EnrollRefused {
    EnrollRefused::Invalid { field, why: why.into() }
}

/// A name without anything that could mislead whoever reads it.
fn is_plain(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.chars().any(char::is_control) && text.trim() == text
}

pub(super) fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.len() <= MAX_DNS_NAME && text.split('.').all(is_label)
}

/// Checks every fact before anything is done with one.
pub(super) fn check(request: &EnrollRequest) -> Result<SensorKind, EnrollRefused> {
    let id = &request.enrolment_id;
    if id.is_empty()
        || id.len() > MAX_ENROLMENT_ID
        || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    {
        return Err(invalid("enrolmentId", format!("send 1 to {MAX_ENROLMENT_ID} letters and digits")));
    }
    if request.host_id.is_empty() || !is_plain(&request.host_id, MAX_HOST_ID) {
        return Err(invalid("hostId", format!("send 1 to {MAX_HOST_ID} characters")));
    }
    if request.name.is_empty()
        || !is_dns_name(&request.name)
        || request.name.len() > MAX_NAME
        || request.name.contains('.')
    {
        return Err(invalid("name", format!("a NetBIOS name has 1 to {MAX_NAME} letters, digits and hyphens")));
    }
    if !request.domain.is_empty() && !is_dns_name(&request.domain) {
        return Err(invalid("domain", "write a fully qualified domain name, such as corp.example"));
    }
    for (field, place) in [("site", &request.site), ("zone", &request.zone)] {
        if !is_plain(place, MAX_PLACE_NAME) || place.contains('/') {
            return Err(invalid(field, format!("write at most {MAX_PLACE_NAME} characters without “/”")));
        }
    }
    if !is_plain(&request.operating_system, MAX_OPERATING_SYSTEM) {
        return Err(invalid("operatingSystem", format!("write at most {MAX_OPERATING_SYSTEM} characters")));
    }
    let watched = &request.domain_controller_dns_names;
    if watched.len() > MAX_DOMAIN_CONTROLLERS || !watched.iter().all(|name| is_dns_name(name)) {
        return Err(invalid("domainControllerDnsNames", format!("write at most {MAX_DOMAIN_CONTROLLERS} DNS names")));
    }
    SensorKind::from_word(&request.sensor_type).ok_or_else(|| {
        invalid("sensorType", format!("use one of {}", SensorKind::ALL.map(SensorKind::word).join(", ")))
    })
}
