//! Enrolment: a host names itself and shows the secret of the access key.

use std::fmt;
use std::time::Duration;

use prost::Message as _;
use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use crate::PROTOCOL_VERSION;
use crate::error::WireError;
use crate::fields::{count, decode, instant, needed, optional, optional_version, span, text, word};
use crate::limits::{
    COME_BACK_AFTER, DOMAIN_CONTROLLERS, ENROLMENT_ID_CHARS, HOST_ID_CHARS, NAME_CHARS, REPLY_BYTES, REQUEST_BYTES,
    SECRET_BYTES, TEXT_CHARS,
};
use crate::wire;

/// What a host says when it enrols. Safe to repeat: the same certificate with the same values gets the same answer.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrollRequest {
    /// Belongs to one certificate (the host's `Identity::enrolment_id`), so that a repeated enrolment is known as the same
    /// one; another certificate may not use it.
    pub enrolment_id: String,
    /// The secret of the access key.
    pub secret: [u8; SECRET_BYTES],
    /// The host's own identity (machine id), by which a clone is noticed.
    pub host_id: String,
    /// The sensor's name.
    pub name: String,
    /// The type of sensor as its API word (`domainControllerIntegrated`, …); the server refuses one it does not know.
    pub sensor_type: String,
    /// The domain it watches, if it has one.
    pub domain: Option<String>,
    /// The site it should join; `None` for the default one.
    pub site: Option<String>,
    /// The zone of that site.
    pub zone: Option<String>,
    /// Whether it takes updates in the delayed ring.
    pub delayed: bool,
    /// The domain controllers that a sensor on another kind of server watches.
    pub domain_controllers: Vec<String>,
    /// The version installed, if one is.
    pub version: Option<Version>,
    /// Operating system in words.
    pub operating_system: String,
}

impl fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret stays out of every log.
        f.debug_struct("EnrollRequest")
            .field("enrolment_id", &self.enrolment_id)
            .field("secret", &"…")
            .field("host_id", &self.host_id)
            .field("name", &self.name)
            .field("sensor_type", &self.sensor_type)
            .finish_non_exhaustive()
    }
}

impl EnrollRequest {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::EnrollRequest {
            protocol_version: PROTOCOL_VERSION,
            enrolment_id: self.enrolment_id.clone(),
            secret: self.secret.to_vec(),
            host_id: self.host_id.clone(),
            name: self.name.clone(),
            sensor_type: self.sensor_type.clone(),
            domain: self.domain.clone().unwrap_or_default(),
            site: self.site.clone().unwrap_or_default(),
            zone: self.zone.clone().unwrap_or_default(),
            delayed: self.delayed,
            domain_controllers: self.domain_controllers.clone(),
            version: self.version.map(|v| v.to_string()).unwrap_or_default(),
            operating_system: self.operating_system.clone(),
        }
        .encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message, break a limit, or speak another protocol version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::EnrollRequest = decode("the enrolment", bytes, REQUEST_BYTES)?;
        if raw.protocol_version != PROTOCOL_VERSION {
            return Err(WireError::Version { found: raw.protocol_version });
        }
        count("domainControllers", raw.domain_controllers.len(), DOMAIN_CONTROLLERS)?;
        let controller = |name| needed("domainControllers", name, NAME_CHARS);
        Ok(Self {
            enrolment_id: needed("enrolmentId", raw.enrolment_id, ENROLMENT_ID_CHARS)?,
            secret: raw.secret.try_into().map_err(|_| WireError::Form { field: "secret", wanted: "32 bytes" })?,
            host_id: needed("hostId", raw.host_id, HOST_ID_CHARS)?,
            name: needed("name", raw.name, NAME_CHARS)?,
            sensor_type: word("sensorType", raw.sensor_type)?,
            domain: optional("domain", raw.domain, NAME_CHARS)?,
            site: optional("site", raw.site, NAME_CHARS)?,
            zone: optional("zone", raw.zone, NAME_CHARS)?,
            delayed: raw.delayed,
            domain_controllers: raw.domain_controllers.into_iter().map(controller).collect::<Result<_, _>>()?,
            version: optional_version("version", &raw.version)?,
            operating_system: text("operatingSystem", raw.operating_system, TEXT_CHARS)?,
        })
    }
}

/// The answer to an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollReply {
    /// Who this host is from here on.
    pub sensor_id: SensorId,
    /// The server's time.
    pub server_time: Timestamp,
    /// When to check in first.
    pub come_back_after: Duration,
}

impl EnrollReply {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::EnrollReply {
            sensor_id: self.sensor_id.to_string(),
            server_time_ms: self.server_time.millis(),
            come_back_after_ms: u64::try_from(self.come_back_after.as_millis()).unwrap_or(u64::MAX),
        }
        .encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message or break a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::EnrollReply = decode("the reply to the enrolment", bytes, REPLY_BYTES)?;
        let wrong = |_| WireError::Form { field: "sensorId", wanted: "a sensor id" };
        Ok(Self {
            sensor_id: needed("sensorId", raw.sensor_id, NAME_CHARS)?.parse().map_err(wrong)?,
            server_time: instant("serverTime", raw.server_time_ms)?,
            come_back_after: span("comeBackAfter", raw.come_back_after_ms, COME_BACK_AFTER)?,
        })
    }
}
