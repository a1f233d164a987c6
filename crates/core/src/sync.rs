//! What a host and the control plane tell each other at a check-in, as plain values.
//!
//! The wire form is in `protocol`; the planner, the on-host updater and the rehearsal all speak these.
//! A report says what *is*, a desired state says what *should be* (rule 1 of the product); neither is a command.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::connection::ConnectionCheck;
use crate::content::{DesiredRules, RulesReport};
use crate::facts::{EngineKind, Facts};
use crate::server_keys::ServerKeys;
use crate::settings::SensorSettings;
use crate::time::Timestamp;
use crate::version::Version;

/// The state of the sensor service on its host, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum ServiceState {
    /// The process runs and has said that it is ready.
    Running,
    /// The process was started and is not ready yet.
    Starting,
    /// Somebody switched the service off on purpose.
    Disabled,
    /// The process does not run.
    #[default]
    Stopped,
}

/// Where a host is with an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum UpdateProgress {
    /// Nothing under way.
    #[default]
    Idle,
    /// The package is being fetched, verified and extracted.
    Preparing {
        /// What is being prepared.
        version: Version,
        /// Share of the package that has arrived, 0 to 100.
        percent: u8,
    },
    /// The package lies verified on the host and needs a restart that was not allowed yet; the old version watches.
    Staged {
        /// What is staged.
        version: Version,
    },
    /// The host restarts more than the sensor, because the package needs it.
    Restarting {
        /// For what.
        version: Version,
    },
    /// The host runs the new version and waits for clearance.
    AwaitingClearance {
        /// What runs since the switch.
        version: Version,
        /// When `current` was switched.
        switched_at: Timestamp,
    },
    /// The attempt ended badly. Kept until a newer version is cleared or a retry is ordered.
    Failed {
        /// What was attempted.
        version: Version,
        /// Whether the host had switched and went back. `false`: it never left the old version.
        reverted: bool,
        /// Why, in one line for a person.
        reason: String,
        /// When it was given up.
        at: Timestamp,
    },
}

/// That a sensor detects: a marked canary event went in at the front and its alert came out at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectionProof {
    /// The desired generation the canary was marked with, so that an old proof cannot serve twice.
    pub generation: u64,
    /// The version that detected it.
    pub version: Version,
    /// When the last of its alerts came out.
    pub detected_at: Timestamp,
    /// How many rules the engines have loaded.
    pub rules_loaded: u32,
    /// How many rules the engines refused.
    pub rules_failed: u32,
    /// Each engine that should run, with its own canary's alert. A host that says nothing of engines proved `sigma`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub engines: BTreeMap<EngineKind, EngineProof>,
}

/// That one engine detects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineProof {
    /// When the alert of its canary came out.
    pub detected_at: Timestamp,
    /// How many rules it has loaded.
    pub rules_loaded: u32,
    /// How many rules it refused.
    pub rules_failed: u32,
}

/// Which updater runs on a host, and which one does not take its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdaterReport {
    /// The release that brought the running one; `None`: it was installed with the host's software, or nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The last successor that was given up here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedUpdater>,
}

/// An updater that did not prove itself on a host, which keeps the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedUpdater {
    /// The release that brought it.
    pub version: Version,
    /// Why, in one line for a person.
    pub reason: String,
}

/// What a host reports at a check-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version `current` points at; `None` before the first installation.
    pub version: Option<Version>,
    /// The sensor service.
    pub service: ServiceState,
    /// The update under way, or the last one that failed.
    pub update: UpdateProgress,
    /// Versions this host has gone back from and does not try again by itself.
    pub bad_versions: BTreeSet<Version>,
    /// The newest proof that the running version detects.
    pub proof: Option<DetectionProof>,
    /// The desired generation that is in effect on the host.
    pub generation: u64,
    /// Generation of the settings in effect on the host.
    pub settings_generation: u64,
    /// Whether this check-in pulled the configuration (rows "Start failed" of the defaults).
    pub pulled_configuration: bool,
    /// Health conditions the host sees, by issue type word (`someNetworkTrafficNotAnalyzed`, …).
    pub conditions: BTreeSet<String>,
    /// Alerts this sensor has raised since it was installed, canaries left out.
    pub alert_count: u64,
    /// Operating system in words, for people.
    pub operating_system: String,
    /// What was observed on the host.
    #[serde(default)]
    pub facts: Facts,
    /// How the host stands with rule packages.
    #[serde(default)]
    pub rules: RulesReport,
    /// The keys of its server that this host trusts, verified and durable. Empty: a host that says nothing of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub server_keys: ServerKeys,
    /// The last look at the way to the server that there was a reason for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionCheck>,
    /// A version that somebody on the host asks for, and waits for, with its package at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Version>,
    /// The updater itself.
    #[serde(default)]
    pub updater: UpdaterReport,
}

/// What the control plane says to a host on which somebody asks for a version. When its turn has come, the version is
/// simply desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedReply {
    /// It is handed out when it can be.
    Waits {
        /// For what.
        what: String,
    },
    /// It is not handed out by itself.
    Refused {
        /// Why.
        reason: String,
    },
}

/// The target file of a release, as both TUF repositories must name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// Flat, lower-case target name in the TUF metadata.
    pub name: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    pub length: u64,
}

/// What a host should be. Always the whole of it; the newest generation wins, an older one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// Grows by one with every change for this sensor and never shrinks.
    pub generation: u64,
    /// The version to run; `None` while there is none to offer.
    pub version: Option<Version>,
    /// Where its package is; present whenever `version` is.
    pub target: Option<TargetRef>,
    /// Whether the server has cleared `version` on this host: the update may be committed.
    pub cleared: bool,
    /// An explicit order to try `version` again although it was reverted here before.
    pub retry: bool,
    /// Whether the restart that `version` may need is allowed now; without it the release is staged and waits.
    #[serde(default)]
    pub may_restart: bool,
    /// Generation of the settings to have in effect.
    pub settings_generation: u64,
    /// The settings to have in effect.
    #[serde(default)]
    pub settings: SensorSettings,
    /// The rule package to have loaded; `None`: the rules of the release alone.
    #[serde(default)]
    pub rules: Option<DesiredRules>,
}
