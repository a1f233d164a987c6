//! The check-in: a host reports what is, the server answers what should be.

use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message as _;
use watchpost_core::connection::ConnectionCheck;
use watchpost_core::content::DesiredRules;
use watchpost_core::facts::{MAX_FACTS_BYTES, Measurements};
use watchpost_core::identity::Standing;
use watchpost_core::server_keys::{MAX_SERVER_KEYS, ServerKey};
use watchpost_core::sync::{
    AskedReply, Desired, DetectionProof, RefusedUpdater, Report, ServiceState, TargetRef, UpdateProgress, UpdaterReport,
};
use watchpost_core::time::Timestamp;

use crate::PROTOCOL_VERSION;
use crate::error::WireError;
use crate::fields::{count, decode, from_json, instant, optional_version, span, text, to_json, version, word};
use crate::limits::{
    BAD_VERSIONS, COME_BACK_AFTER, CONDITIONS, REPLY_BYTES, REQUEST_BYTES, RULES_REPORT_BYTES, SETTINGS_BYTES,
    SMALL_PART_BYTES, TARGET_BYTES, TARGET_NAME_CHARS, TEXT_CHARS,
};
use crate::{identity, paths, wire};

/// A check-in: the report of one host. Idempotent; safe to lose and to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// What the host reports.
    pub report: Report,
    /// What it measures beside; never a reason for anything.
    pub measurements: Measurements,
}

impl SyncRequest {
    /// The bytes of a check-in with this report. A text for people beyond its limit is cut, so that a long reason
    /// never keeps a host from checking in.
    #[must_use]
    pub fn encode(report: &Report, measurements: &Measurements) -> Vec<u8> {
        wire::SyncRequest {
            protocol_version: PROTOCOL_VERSION,
            report: Some(report_to_wire(report)),
            measurements: to_json(measurements),
        }
        .encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message, break a limit, or speak another protocol version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::SyncRequest = decode("the check-in", bytes, REQUEST_BYTES)?;
        if raw.protocol_version != PROTOCOL_VERSION {
            return Err(WireError::Version { found: raw.protocol_version });
        }
        Ok(Self {
            report: report_from_wire(raw.report.ok_or(WireError::Missing("report"))?)?,
            measurements: from_json("measurements", &raw.measurements, SMALL_PART_BYTES)?,
        })
    }
}

/// The answer to a check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    /// The server's time, by which expiry is judged.
    pub server_time: Timestamp,
    /// When to check in again.
    pub come_back_after: Duration,
    /// What the host should be.
    pub desired: Desired,
    /// How its certificates stand; `None`: the one it presented is the only one, and stays.
    pub standing: Option<Standing>,
    /// Whether the director names other keys of the server than the host has said to trust: it should look there. It
    /// believes what is signed there, never this.
    pub learn_server_keys: bool,
    /// What it says to the version that was asked for; `None`: nothing was, or it is on its way.
    pub asked: Option<AskedReply>,
}

impl SyncReply {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::SyncReply {
            server_time_ms: self.server_time.millis(),
            come_back_after_ms: u64::try_from(self.come_back_after.as_millis()).unwrap_or(u64::MAX),
            desired: Some(desired_to_wire(&self.desired)),
            standing: self.standing.as_ref().map(identity::to_wire),
            learn_server_keys: self.learn_server_keys,
            asked: self.asked.as_ref().map(asked_to_wire),
        }
        .encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message or break a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::SyncReply = decode("the reply to the check-in", bytes, REPLY_BYTES)?;
        Ok(Self {
            server_time: instant("serverTime", raw.server_time_ms)?,
            come_back_after: span("comeBackAfter", raw.come_back_after_ms, COME_BACK_AFTER)?,
            desired: desired_from_wire(raw.desired.ok_or(WireError::Missing("desired"))?)?,
            standing: raw.standing.map(identity::from_wire).transpose()?,
            learn_server_keys: raw.learn_server_keys,
            asked: raw.asked.map(asked_from_wire).transpose()?,
        })
    }
}

fn asked_to_wire(asked: &AskedReply) -> wire::AskedReply {
    match asked {
        AskedReply::Waits { what } => wire::AskedReply { refused: false, why: for_people(what) },
        AskedReply::Refused { reason } => wire::AskedReply { refused: true, why: for_people(reason) },
    }
}

fn asked_from_wire(raw: wire::AskedReply) -> Result<AskedReply, WireError> {
    let why = text("asked.why", raw.why, TEXT_CHARS)?;
    Ok(if raw.refused { AskedReply::Refused { reason: why } } else { AskedReply::Waits { what: why } })
}

/// One line of at most the limit, with control characters turned into blanks.
fn for_people(text: &str) -> String {
    text.chars().take(TEXT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn report_to_wire(report: &Report) -> wire::Report {
    wire::Report {
        version: report.version.map(|v| v.to_string()).unwrap_or_default(),
        service: service_to_wire(report.service).into(),
        update: Some(update_to_wire(&report.update)),
        bad_versions: report.bad_versions.iter().map(ToString::to_string).collect(),
        proof: report.proof.as_ref().map(|proof| wire::DetectionProof {
            generation: proof.generation,
            version: proof.version.to_string(),
            detected_at_ms: proof.detected_at.millis(),
            rules_loaded: proof.rules_loaded,
            rules_failed: proof.rules_failed,
            engines: to_json(&proof.engines),
        }),
        generation: report.generation,
        settings_generation: report.settings_generation,
        pulled_configuration: report.pulled_configuration,
        conditions: report.conditions.iter().cloned().collect(),
        alert_count: report.alert_count,
        operating_system: for_people(&report.operating_system),
        facts: to_json(&report.facts),
        rules: to_json(&report.rules),
        connection: to_json(&report.connection),
        server_keys: report.server_keys.iter().map(|key| key.bytes().to_vec()).collect(),
        asked: report.asked.map(|v| v.to_string()).unwrap_or_default(),
        updater_version: report.updater.version.map(|v| v.to_string()).unwrap_or_default(),
        refused_updater: report.updater.refused.as_ref().map(|refused| wire::RefusedUpdater {
            version: refused.version.to_string(),
            reason: for_people(&refused.reason),
        }),
    }
}

fn refused_updater(raw: wire::RefusedUpdater) -> Result<RefusedUpdater, WireError> {
    let reason = text("refusedUpdater.reason", raw.reason, TEXT_CHARS)?;
    Ok(RefusedUpdater { version: version("refusedUpdater.version", &raw.version)?, reason })
}

/// A verdict that a newer host knows and this build does not is no reason to refuse its check-in.
fn connection(bytes: &[u8]) -> Result<Option<ConnectionCheck>, WireError> {
    let said: Option<serde_json::Value> = from_json("connection", bytes, SMALL_PART_BYTES)?;
    Ok(said.and_then(|said| serde_json::from_value(said).ok()))
}

fn server_key(bytes: Vec<u8>) -> Result<ServerKey, WireError> {
    let bytes: [u8; 32] =
        bytes.try_into().map_err(|_| WireError::Form { field: "serverKeys", wanted: "32 bytes each" })?;
    Ok(ServerKey::from(bytes))
}

fn report_from_wire(raw: wire::Report) -> Result<Report, WireError> {
    count("serverKeys", raw.server_keys.len(), MAX_SERVER_KEYS)?;
    count("badVersions", raw.bad_versions.len(), BAD_VERSIONS)?;
    count("conditions", raw.conditions.len(), CONDITIONS)?;
    Ok(Report {
        version: optional_version("version", &raw.version)?,
        service: service_from_wire(raw.service)?,
        update: update_from_wire(raw.update.ok_or(WireError::Missing("update"))?)?,
        bad_versions: raw.bad_versions.iter().map(|v| version("badVersions", v)).collect::<Result<BTreeSet<_>, _>>()?,
        proof: raw.proof.map(proof_from_wire).transpose()?,
        generation: raw.generation,
        settings_generation: raw.settings_generation,
        pulled_configuration: raw.pulled_configuration,
        conditions: raw.conditions.into_iter().map(|c| word("conditions", c)).collect::<Result<BTreeSet<_>, _>>()?,
        alert_count: raw.alert_count,
        operating_system: text("operatingSystem", raw.operating_system, TEXT_CHARS)?,
        facts: from_json("facts", &raw.facts, MAX_FACTS_BYTES)?,
        rules: from_json("rules", &raw.rules, RULES_REPORT_BYTES)?,
        connection: connection(&raw.connection)?,
        server_keys: raw.server_keys.into_iter().map(server_key).collect::<Result<_, _>>()?,
        asked: optional_version("asked", &raw.asked)?,
        updater: UpdaterReport {
            version: optional_version("updaterVersion", &raw.updater_version)?,
            refused: raw.refused_updater.map(refused_updater).transpose()?,
        },
    })
}

fn proof_from_wire(raw: wire::DetectionProof) -> Result<DetectionProof, WireError> {
    Ok(DetectionProof {
        generation: raw.generation,
        version: version("proof.version", &raw.version)?,
        detected_at: instant("proof.detectedAt", raw.detected_at_ms)?,
        rules_loaded: raw.rules_loaded,
        rules_failed: raw.rules_failed,
        engines: from_json("proof.engines", &raw.engines, SMALL_PART_BYTES)?,
    })
}

fn service_to_wire(service: ServiceState) -> wire::ServiceState {
    match service {
        ServiceState::Running => wire::ServiceState::Running,
        ServiceState::Starting => wire::ServiceState::Starting,
        ServiceState::Disabled => wire::ServiceState::Disabled,
        ServiceState::Stopped => wire::ServiceState::Stopped,
    }
}

fn service_from_wire(raw: i32) -> Result<ServiceState, WireError> {
    match wire::ServiceState::try_from(raw) {
        Ok(wire::ServiceState::Running) => Ok(ServiceState::Running),
        Ok(wire::ServiceState::Starting) => Ok(ServiceState::Starting),
        Ok(wire::ServiceState::Disabled) => Ok(ServiceState::Disabled),
        Ok(wire::ServiceState::Stopped) => Ok(ServiceState::Stopped),
        Ok(wire::ServiceState::Unspecified) => Err(WireError::Missing("service")),
        Err(_) => Err(WireError::Unknown { field: "service" }),
    }
}

fn update_to_wire(update: &UpdateProgress) -> wire::Update {
    match update {
        UpdateProgress::Idle => wire::Update::Idle(wire::Idle {}),
        UpdateProgress::Preparing { version, percent } => {
            wire::Update::Preparing(wire::Preparing { version: version.to_string(), percent: u32::from(*percent) })
        }
        UpdateProgress::Staged { version } => wire::Update::Staged(wire::ForVersion { version: version.to_string() }),
        UpdateProgress::Restarting { version } => {
            wire::Update::Restarting(wire::ForVersion { version: version.to_string() })
        }
        UpdateProgress::AwaitingClearance { version, switched_at } => {
            wire::Update::AwaitingClearance(wire::AwaitingClearance {
                version: version.to_string(),
                switched_at_ms: switched_at.millis(),
            })
        }
        UpdateProgress::Failed { version, reverted, reason, at } => wire::Update::Failed(wire::Failed {
            version: version.to_string(),
            reverted: *reverted,
            reason: for_people(reason),
            at_ms: at.millis(),
        }),
    }
}

fn update_from_wire(raw: wire::Update) -> Result<UpdateProgress, WireError> {
    Ok(match raw {
        wire::Update::Idle(wire::Idle {}) => UpdateProgress::Idle,
        wire::Update::Preparing(raw) => UpdateProgress::Preparing {
            version: version("update.version", &raw.version)?,
            percent: u8::try_from(raw.percent)
                .ok()
                .filter(|percent| *percent <= 100)
                .ok_or(WireError::Form { field: "update.percent", wanted: "a share from 0 to 100" })?,
        },
        wire::Update::Staged(raw) => UpdateProgress::Staged { version: version("update.version", &raw.version)? },
        wire::Update::Restarting(raw) => {
            UpdateProgress::Restarting { version: version("update.version", &raw.version)? }
        }
        wire::Update::AwaitingClearance(raw) => UpdateProgress::AwaitingClearance {
            version: version("update.version", &raw.version)?,
            switched_at: instant("update.switchedAt", raw.switched_at_ms)?,
        },
        wire::Update::Failed(raw) => UpdateProgress::Failed {
            version: version("update.version", &raw.version)?,
            reverted: raw.reverted,
            reason: text("update.reason", raw.reason, TEXT_CHARS)?,
            at: instant("update.at", raw.at_ms)?,
        },
    })
}

fn desired_to_wire(desired: &Desired) -> wire::Desired {
    wire::Desired {
        generation: desired.generation,
        version: desired.version.map(|v| v.to_string()).unwrap_or_default(),
        target: desired.target.as_ref().map(|target| wire::TargetRef {
            name: target.name.clone(),
            sha256: target.sha256.clone(),
            length: target.length,
        }),
        cleared: desired.cleared,
        retry: desired.retry,
        settings_generation: desired.settings_generation,
        settings: to_json(&desired.settings),
        rules: to_json(&desired.rules),
        may_restart: desired.may_restart,
    }
}

fn desired_from_wire(raw: wire::Desired) -> Result<Desired, WireError> {
    let desired = Desired {
        generation: raw.generation,
        version: optional_version("desired.version", &raw.version)?,
        target: raw.target.map(target_from_wire).transpose()?,
        cleared: raw.cleared,
        retry: raw.retry,
        may_restart: raw.may_restart,
        settings_generation: raw.settings_generation,
        settings: from_json("desired.settings", &raw.settings, SETTINGS_BYTES)?,
        rules: from_json::<Option<DesiredRules>>("desired.rules", &raw.rules, SMALL_PART_BYTES)?,
    };
    if let Some(rules) = &desired.rules {
        check_target(&rules.target)?;
    }
    if desired.version.is_some() && desired.target.is_none() {
        return Err(WireError::Missing("desired.target"));
    }
    Ok(desired)
}

fn target_from_wire(raw: wire::TargetRef) -> Result<TargetRef, WireError> {
    let target = TargetRef { name: raw.name, sha256: raw.sha256, length: raw.length };
    check_target(&target)?;
    Ok(target)
}

fn check_target(target: &TargetRef) -> Result<(), WireError> {
    text("target.name", target.name.clone(), TARGET_NAME_CHARS)?;
    if !paths::is_flat_name(&target.name) {
        return Err(WireError::Form { field: "target.name", wanted: "a flat lower-case file name" });
    }
    if !paths::is_sha256(&target.sha256) {
        return Err(WireError::Form { field: "target.sha256", wanted: "a SHA-256 in lower-case hex" });
    }
    if target.length > TARGET_BYTES {
        return Err(WireError::TooLarge { field: "target.length", found: target.length, limit: TARGET_BYTES });
    }
    Ok(())
}
