//! Our own types of a sensor: what the documented catalogues have no type for and a Linux host measures.

use super::{Entry, Generation, Measured, Scope, Sensors};
use crate::health::{IssueType, Severity};

/// What most of them have in common.
const USUAL: Entry = Entry {
    kind: IssueType::EngineNotRunning,
    id: 0,
    documented: None,
    word: "",
    title: "",
    scope: Scope::Sensor,
    severity: Severity::Medium,
    category: None,
    generation: Generation::All,
    sensors: Sensors::All,
    trigger: "",
    description: "",
    remediation: &[],
    commands: &[],
    measured: Measured::By(""),
};

pub(super) const ENGINE_NOT_RUNNING: Entry = Entry {
    kind: IssueType::EngineNotRunning,
    id: 1301,
    word: "engineNotRunning",
    title: "A detection engine does not run",
    severity: Severity::High,
    trigger: "An engine that should run ended, does not answer, or was started 5 minutes ago and has not answered.",
    description: "What this engine would detect is not detected. It is started again by itself.",
    remediation: &["Read the reason.", "Look at the engine's log on the host."],
    commands: &[
        "watchpost-updater status --root {root}",
        "tail -n 50 {root}/updater/updater.log",
        "tail -n 50 {root}/engine/suricata.out",
        "suricatasc -c uptime {root}/engine/run/own/control.sock",
    ],
    measured: Measured::By("the engine's process and its control socket"),
    ..USUAL
};

pub(super) const ENTRIES: &[Entry] = &[
    ENGINE_NOT_RUNNING,
    Entry {
        kind: IssueType::EngineStartFailed,
        id: 1302,
        word: "engineStartFailed",
        title: "A detection engine failed to start",
        severity: Severity::High,
        trigger: "An engine ended before it answered for the first time, or the host lacks what it needs.",
        description: "What this engine would detect is not detected. Starting it is tried again by itself.",
        remediation: &["Read the reason; it says what the host lacks.", "Install it or mend the engine's settings."],
        commands: &[
            "tail -n 50 {root}/engine/suricata.out",
            "suricata -T -c {root}/engine/suricata.yaml",
            "apt-get install -t bookworm-backports suricata",
        ],
        measured: Measured::By("the engine's process and its control socket"),
        ..USUAL
    },
    Entry {
        kind: IssueType::RulesFailed,
        id: 1303,
        word: "rulesFailed",
        title: "Some detection rules are not loaded",
        trigger: "An engine says that it has refused rules.",
        description: "What these rules would detect is not detected. The details name the first of them.",
        remediation: &["Mend the rules that are named and publish them again."],
        commands: &["suricatasc -c ruleset-failed-rules {root}/engine/run/own/control.sock"],
        measured: Measured::By("the engine's own count of refused rules"),
        ..USUAL
    },
    Entry {
        kind: IssueType::RulePackageFailed,
        id: 1304,
        word: "rulePackageFailed",
        title: "A rule package was put back",
        trigger: "A rule package did not load as it promised, or could not be verified.",
        description: "The engines run with the rules they had before.",
        remediation: &["Read the reason, mend the package and publish a newer build."],
        commands: &["watchpost sensors show {sensor}"],
        measured: Measured::By("what the engines loaded against what the package promised"),
        ..USUAL
    },
    Entry {
        kind: IssueType::CaptureInterfaceDown,
        id: 1305,
        word: "captureInterfaceDown",
        title: "A capture interface is gone or down",
        sensors: Sensors::Network,
        trigger: "At least one of the interfaces in the settings is gone, down or without link.",
        description: "Traffic of these interfaces is not seen. The reason says whether all of them are concerned or some.",
        remediation: &["Connect and enable the interfaces that are named, or take them out of the sensor's settings."],
        commands: &["ip -brief link", "ip link set {interface} up"],
        measured: Measured::By("the host's interfaces as the kernel lists them"),
        ..USUAL
    },
    Entry {
        kind: IssueType::InterfaceSilent,
        id: 1306,
        word: "interfaceSilent",
        title: "A capture interface carries no traffic",
        severity: Severity::Low,
        trigger: "One monitored interface has carried no packet for 10 minutes while another does.",
        description: "Its mirror may have been taken away.",
        remediation: &["Check the mirror port of the interfaces that are named, or take them out of the settings."],
        commands: &["tcpdump -c 10 -i {interface}"],
        measured: Measured::By("packet counts of the engine per capture interface"),
        ..USUAL
    },
    Entry {
        kind: IssueType::AuditLogSilent,
        id: 1307,
        word: "auditLogSilent",
        title: "The audit log is silent",
        sensors: Sensors::Identity,
        trigger: "Nothing was appended to the audit log for 30 minutes.",
        description: "A domain controller is hardly ever silent for so long: auditing may be off, or the log elsewhere.",
        remediation: &["Check that auditing is on, and that the host's configuration names the log that is written."],
        commands: &["ls -l {audit log}", "samba-tool testparm --suppress-prompt | grep -i audit"],
        measured: Measured::By("the growth of the audit log"),
        ..USUAL
    },
    Entry {
        kind: IssueType::AuditLogUnreadable,
        id: 1308,
        word: "auditLogUnreadable",
        title: "The audit log cannot be read",
        severity: Severity::High,
        sensors: Sensors::Identity,
        trigger: "The audit log is absent, or the sensor may not read it.",
        description: "Not one event is analyzed.",
        remediation: &["Check that the file is there and that the sensor's user may read it."],
        commands: &["ls -l {audit log}"],
        measured: Measured::By("opening and reading the audit log"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ClockSkew,
        id: 1309,
        word: "clockSkew",
        title: "The host's clock is wrong",
        trigger: "The host's clock and the control plane's differ by more than 5 minutes.",
        description: "Alerts carry wrong instants, and Kerberos refuses tickets.",
        remediation: &["Switch time synchronization on, on the host or on the control plane."],
        commands: &["timedatectl", "chronyc tracking"],
        measured: Measured::By("the control plane's time in each reply against the host's clock"),
        ..USUAL
    },
    Entry {
        kind: IssueType::DiskLow,
        id: 1310,
        word: "diskLow",
        title: "The sensor's disk is nearly full",
        trigger: "The disk of the sensor's folder has less room than the host keeps free.",
        description: "Evidence is dropped oldest first, and updates cannot be unpacked.",
        remediation: &["Free some space, or give the sensor's folder a larger disk."],
        commands: &["df -h {folder}"],
        measured: Measured::By("statvfs of the sensor's folder"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ProcessorLimitReached,
        id: 1311,
        word: "processorLimitReached",
        title: "Sensor reached a processor resource limit",
        sensors: Sensors::Identity,
        trigger: "The host has had less than 15 % of its processor time free for five minutes.",
        description: "Events and packets wait, and may be dropped.",
        remediation: &["Give the host more processors, or spread what it watches over more hosts."],
        commands: &["top -b -n 1 | head -n 15"],
        measured: Measured::By("/proc/stat"),
        ..USUAL
    },
    Entry {
        kind: IssueType::SettingsRefused,
        id: 1312,
        word: "settingsRefused",
        title: "The host refuses its settings",
        trigger: "Settings arrived that the host cannot apply.",
        description: "The sensor works on with the settings it had before.",
        remediation: &["Read the reason and change the settings of the sensor."],
        commands: &["watchpost sensors show {sensor}"],
        measured: Measured::By("applying the settings on the host"),
        ..USUAL
    },
    Entry {
        kind: IssueType::EvidenceNotWritten,
        id: 1313,
        word: "evidenceNotWritten",
        title: "Evidence cannot be written",
        severity: Severity::High,
        trigger: "The sensor's store of evidence refuses to write.",
        description: "Alerts and devices may be lost.",
        remediation: &["Free some space on the sensor's disk and check that it is not mounted read-only."],
        commands: &["df -h {folder}", "dmesg | tail"],
        measured: Measured::By("writing to the evidence store"),
        ..USUAL
    },
    Entry {
        kind: IssueType::CertificateExpiring,
        id: 1314,
        word: "certificateExpiring",
        title: "A sensor's certificate expires soon",
        trigger: "The client certificate expires in less than 21 days; its renewal should have begun 60 days before.",
        description: "The updater renews it by itself, so something keeps it from doing so. The sensor works on.",
        remediation: &[
            "Check that the updater runs and reaches the control plane.",
            "Read in its log what its renewal came to, and order another one.",
        ],
        commands: &[
            "grep certificate {root}/updater/updater.log | tail",
            "watchpost sensors rotate-certificate {sensor}",
        ],
        measured: Measured::By("when the control plane registered the certificate"),
        ..USUAL
    },
    Entry {
        kind: IssueType::CertificateExpired,
        id: 1315,
        word: "certificateExpired",
        title: "A sensor's certificate has expired",
        severity: Severity::High,
        trigger: "The client certificate is older than 2 years.",
        description: "It is still accepted for 90 days, and after that for its own renewal alone.",
        remediation: &[
            "Check that the updater runs and reaches the control plane: it renews the certificate as soon as it does.",
        ],
        commands: &["watchpost-updater status --root {root}", "grep certificate {root}/updater/updater.log | tail"],
        measured: Measured::By("when the control plane registered the certificate"),
        ..USUAL
    },
    Entry {
        kind: IssueType::PossibleClone,
        id: 1320,
        word: "possibleClone",
        title: "Another host says to be this one",
        trigger: "A host tried to enrol with the machine id of this sensor's host and another key.",
        description: "It is this host installed anew, a copy of its disk, or somebody who wants in. It waits in quarantine.",
        remediation: &["Look at both, and decide: replace, separate or refuse."],
        commands: &["watchpost clones list", "watchpost clones decide {fingerprint} {decision}"],
        measured: Measured::By("the attempts to enrol that the control plane holds"),
        ..USUAL
    },
];
