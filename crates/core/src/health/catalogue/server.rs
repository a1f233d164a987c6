//! The control plane's own types: nothing here is about one sensor.

use super::{Entry, Generation, Measured, Scope, Sensors};
use crate::health::{IssueType, Severity};

/// What most of them have in common.
const USUAL: Entry = Entry {
    kind: IssueType::DirectoryUnreachable,
    id: 0,
    documented: None,
    word: "",
    title: "",
    scope: Scope::Global,
    severity: Severity::Medium,
    category: None,
    generation: Generation::All,
    sensors: Sensors::None,
    trigger: "",
    description: "",
    remediation: &[],
    commands: &[],
    measured: Measured::By(""),
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        kind: IssueType::DirectoryUnreachable,
        id: 1401,
        word: "directoryUnreachable",
        title: "The directory cannot be reached",
        trigger: "No domain controller of a configured domain answers over LDAPS or StartTLS.",
        description: "Whether domain controllers still exist is not known; nothing is concluded from that.",
        remediation: &["Check that a domain controller runs, its name resolves and its certificate is trusted."],
        commands: &["ldapsearch -H ldaps://{domain controller} -x -s base"],
        measured: Measured::By("the control plane's own connection to the directory"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerDiskLow,
        id: 1402,
        word: "serverDiskLow",
        title: "The control plane's disk is nearly full",
        severity: Severity::High,
        trigger: "The disk of the control plane's folder has less room than it keeps free.",
        description: "On a full disk nothing can be saved: no update, no alert, no audit entry.",
        remediation: &["Free some space, or give the folder a larger disk."],
        commands: &["df -h {folder}"],
        measured: Measured::By("statvfs of the control plane's folder"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerDatabaseFailing,
        id: 1403,
        word: "serverDatabaseFailing",
        title: "The database cannot be written",
        severity: Severity::High,
        trigger: "A write to the database failed.",
        description: "What cannot be saved is refused, and hosts repeat it.",
        remediation: &["Check the disk and the rights of the database file."],
        commands: &["sqlite3 {database} \"PRAGMA quick_check\""],
        measured: Measured::By("a write of the control plane to its own database"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerMailFailing,
        id: 1404,
        word: "serverMailFailing",
        title: "Mail cannot be sent",
        severity: Severity::Low,
        trigger: "The mail server refuses or does not answer.",
        description: "People who rely on mail do not hear of health issues and alerts.",
        remediation: &["Check name, port and credentials of the mail server."],
        measured: Measured::NotYet("the control plane sends no mail"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerSyslogFailing,
        id: 1405,
        word: "serverSyslogFailing",
        title: "The SIEM cannot be reached",
        severity: Severity::Low,
        trigger: "The syslog receiver refuses or does not answer.",
        description: "Alerts and health issues wait here and are sent later.",
        remediation: &["Check name, port and certificate of the syslog receiver."],
        measured: Measured::NotYet("the control plane sends no syslog"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerOverloaded,
        id: 1406,
        word: "serverOverloaded",
        title: "The control plane is overloaded",
        severity: Severity::High,
        trigger: "Work waits longer than it should.",
        description: "Check-ins are answered late and issues open late.",
        remediation: &["Give the control plane more processors or a faster disk."],
        commands: &["top -b -n 1 | head -n 15"],
        measured: Measured::NotYet("the control plane does not measure how late its own work is"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerCertificateExpiresSoon,
        id: 1407,
        word: "serverCertificateExpiresSoon",
        title: "A certificate of the control plane expires soon",
        trigger: "A certificate of the control plane expires in less than 21 days.",
        description: "When it has expired, browsers and hosts may refuse to connect.",
        remediation: &["Put a new certificate in its place and reload."],
        commands: &["openssl x509 -enddate -noout -in {certificate}"],
        measured: Measured::By("the dates of the control plane's certificates"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerCertificateExpired,
        id: 1408,
        word: "serverCertificateExpired",
        title: "A certificate of the control plane has expired",
        severity: Severity::High,
        trigger: "A certificate of the control plane is past its end.",
        description: "Browsers and hosts may refuse to connect.",
        remediation: &["Put a new certificate in its place and reload."],
        commands: &["openssl x509 -enddate -noout -in {certificate}"],
        measured: Measured::By("the dates of the control plane's certificates"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerTrustExpiresSoon,
        id: 1409,
        word: "serverTrustExpiresSoon",
        title: "Signed metadata expires soon",
        trigger: "A document of the image or the director repository expires soon.",
        description: "When it has expired, hosts refuse every update until it is signed anew.",
        remediation: &["Sign the document anew; the trust clock names it and the command."],
        commands: &["watchpost trust show"],
        measured: Measured::By("the earliest expiry in the trust chain"),
        ..USUAL
    },
    Entry {
        kind: IssueType::ServerTrustExpired,
        id: 1410,
        word: "serverTrustExpired",
        title: "Signed metadata has expired",
        severity: Severity::High,
        trigger: "A document of the image or the director repository has expired.",
        description: "Hosts refuse every update until it is signed anew.",
        remediation: &["Sign the document anew; the trust clock names it and the command."],
        commands: &["watchpost trust show"],
        measured: Measured::By("the earliest expiry in the trust chain"),
        ..USUAL
    },
];
