//! The documented messages of network sensors, and “overloaded”, which the documents name without a message.
//!
//! Critical is high severity here, Warning medium; Healthy is low and makes nobody less healthy.

use super::{Category, Entry, Generation, Measured, Scope, Sensors};
use crate::health::{IssueType, Severity};

/// What the critical ones have in common.
const CRITICAL: Entry = Entry {
    kind: IssueType::NetworkDisconnected,
    id: 0,
    documented: None,
    word: "",
    title: "",
    scope: Scope::Sensor,
    severity: Severity::High,
    category: Some(Category::Critical),
    generation: Generation::All,
    sensors: Sensors::Network,
    trigger: "",
    description: "",
    remediation: &[],
    commands: &[],
    measured: Measured::Door(""),
};

/// What the warnings have in common.
const WARNING: Entry = Entry { severity: Severity::Medium, category: Some(Category::Warning), ..CRITICAL };
/// What the healthy ones have in common.
const HEALTHY: Entry = Entry { severity: Severity::Low, category: Some(Category::Healthy), ..CRITICAL };

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        kind: IssueType::NetworkDisconnected,
        id: 1201,
        documented: Some("network 1"),
        word: "networkDisconnected",
        title: "Disconnected",
        trigger: "Nothing was heard from the sensor for 5 minutes.",
        description: "The sensor does not talk to the control plane.",
        remediation: &[
            "Sign in to the sensor and look for errors.",
            "Check its network configuration and that it reaches the control plane.",
        ],
        commands: &["watchpost-updater status --root {root}", "tail -n 50 {root}/updater/updater.log"],
        measured: Measured::By("the last check-in, by the control plane"),
        ..CRITICAL
    },
    Entry {
        kind: IssueType::SanityFailed,
        id: 1202,
        documented: Some("network 2"),
        word: "sanityFailed",
        title: "Sanity failed",
        trigger: "The sensor's own check of its parts failed.",
        description: "The sensor works in part, or wrongly.",
        remediation: &[
            "Check the hardware and restart the sensor.",
            "If it stays, send its diagnostic files to support.",
        ],
        measured: Measured::Door("sanity"),
        ..CRITICAL
    },
    Entry {
        kind: IssueType::NoTrafficDetected,
        id: 1203,
        documented: Some("network 3"),
        word: "noTrafficDetected",
        title: "No traffic detected",
        trigger: "Not one monitored interface has carried a packet for 10 minutes.",
        description: "No mirrored traffic reaches the sensor, so it detects nothing.",
        remediation: &[
            "Check that the monitored interfaces are connected to mirror ports.",
            "Check that at least one link carries traffic.",
        ],
        commands: &["tcpdump -c 10 -i {interface}"],
        measured: Measured::By("packet counts of the engine per capture interface"),
        ..CRITICAL
    },
    Entry {
        kind: IssueType::BackupFailed,
        id: 1204,
        documented: Some("network 4"),
        word: "backupFailed",
        title: "Backup failed",
        trigger: "The sensor's backup job failed.",
        description: "If the sensor is lost, what it learned since the last good backup is lost with it.",
        remediation: &["Check the place where backups go and its free space, then run the backup again."],
        measured: Measured::Door("backup"),
        ..CRITICAL
    },
    Entry {
        kind: IssueType::UpdateSendFailed,
        id: 1205,
        documented: Some("network 5"),
        word: "updateSendFailed",
        title: "Failed to send update",
        trigger: "An update failed before the sensor left its old version.",
        description: "The package was not fetched, not verified or not unpacked; the sensor runs its old version.",
        remediation: &["Check that the sensor reaches the control plane and has room on its disk, then try again."],
        commands: &["watchpost sensors show {sensor}"],
        measured: Measured::By("the update outcome of each check-in"),
        ..WARNING
    },
    Entry {
        kind: IssueType::UpdateInstallFailed,
        id: 1206,
        documented: Some("network 6"),
        word: "updateInstallFailed",
        title: "Sensor update failed",
        trigger: "An update was installed, did not hold, and the sensor went back.",
        description: "The sensor runs its old version.",
        remediation: &["Read the reason and mend the host; the next release is tried there by itself."],
        commands: &["watchpost sensors show {sensor}"],
        measured: Measured::By("the update outcome of each check-in"),
        ..WARNING
    },
    Entry {
        kind: IssueType::UnstableTraffic,
        id: 1207,
        documented: Some("network 7"),
        word: "unstableTraffic",
        title: "Unstable traffic to the control plane",
        trigger: "Within 15 minutes the sensor came back three times, or more than 20 % of its check-ins were late.",
        description: "The connection between sensor and control plane comes and goes.",
        remediation: &["Check the link, bandwidth limits, and the devices on the way."],
        commands: &["mtr --report {control plane}"],
        measured: Measured::By("the instants of check-ins, by the control plane"),
        ..WARNING
    },
    Entry {
        kind: IssueType::VersionUnsupported,
        id: 1208,
        documented: Some("network 8"),
        word: "versionUnsupported",
        title: "Unsupported",
        trigger: "The sensor runs a release whose support has ended.",
        description: "Outdated software may work poorly with the control plane.",
        remediation: &["Update the sensor to the newest release."],
        measured: Measured::NotYet("releases do not say until when they are supported"),
        ..WARNING
    },
    Entry {
        kind: IssueType::PartiallyConnected,
        id: 1209,
        documented: Some("network 9"),
        word: "partiallyConnected",
        title: "Sensor is partially connected",
        trigger: "Some endpoints fail: no connection, no name, an untrusted certificate, or the proxy's credentials.",
        description: "The details name each endpoint and in which of the five ways it fails.",
        remediation: &[
            "Check that the sensor reaches the endpoints that are named.",
            "For the proxy's credentials: enter or remove them in the sensor's settings.",
        ],
        commands: &["openssl s_client -connect {endpoint}:443"],
        measured: Measured::Door("endpoints"),
        ..WARNING
    },
    Entry {
        kind: IssueType::PendingActivation,
        id: 1210,
        documented: Some("network 10"),
        word: "pendingActivation",
        title: "Pending activation",
        trigger: "The sensor was registered and has never connected.",
        description: "It waits for its first connection.",
        remediation: &["Upload the activation file to the sensor.", "If it stays, check its connectivity."],
        measured: Measured::NotYet("sensors enrol by themselves; activation files come with their own feature"),
        ..HEALTHY
    },
    Entry {
        kind: IssueType::PendingReactivation,
        id: 1211,
        documented: Some("network 11"),
        word: "pendingReactivation",
        title: "Pending reactivation",
        trigger: "The sensor's plan changed and it waits for another activation file.",
        description: "It works on until it is activated anew.",
        remediation: &["Upload the newest activation file to the sensor.", "If it stays, check its connectivity."],
        measured: Measured::NotYet("sensors enrol by themselves; activation files come with their own feature"),
        ..HEALTHY
    },
    Entry {
        kind: IssueType::SensorOverloaded,
        id: 1212,
        documented: Some("network, overloaded"),
        word: "sensorOverloaded",
        title: "Sensor overloaded",
        trigger: "The host has had too little memory or processor time free in several looks in a row.",
        description: "The sensor keeps up only with a part of its traffic.",
        remediation: &["Give the host more memory or processors, or send it less mirrored traffic."],
        commands: &["top -b -n 1 | head -n 15"],
        measured: Measured::By("/proc/meminfo and /proc/stat"),
        ..WARNING
    },
];
