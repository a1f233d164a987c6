//! The types of health issue and how bad each is. What else is known of a type is data: see `catalogue`.

use serde::{Deserialize, Serialize};

use super::catalogue::{Entry, entry, of_word};

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Yellow.
    Low,
    /// Orange.
    Medium,
    /// Red.
    High,
}

impl Severity {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Writes the enum of types and the list of all of them in one place, so that neither can miss one.
macro_rules! types {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// A type of health issue. Its word in the API is its name in camel case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum IssueType { $($(#[$doc])* $variant,)* }

        impl IssueType {
            const ALL: &[Self] = &[$(Self::$variant,)*];
        }
    };
}

// In alphabetical order: that is the order in which one sensor's issues are listed.
types! {
    /// AD CS servers do not audit what is needed.
    AdcsAuditingIncomplete,
    /// The AD FS container is not audited as needed.
    AdfsContainerAuditingIncomplete,
    /// Audit subcategories are missing.
    AdvancedAuditingIncomplete,
    /// The audit log cannot be opened or read.
    AuditLogUnreadable,
    /// Nothing is appended to the audit log.
    AuditLogSilent,
    /// Audit settings are undone again and again.
    AuditingRepeatedlyReverted,
    /// A backup of the sensor failed.
    BackupFailed,
    /// The packet driver has the wrong options.
    CaptureDriverMisconfigured,
    /// The packet driver is too old.
    CaptureDriverTooOld,
    /// The packet driver is `WinPcap`.
    CaptureDriverWinPcap,
    /// A capture interface of a network sensor is gone or down.
    CaptureInterfaceDown,
    /// Selected capture adapters of an identity sensor are gone or down.
    CaptureInterfacesUnavailable,
    /// The client certificate of a sensor has expired.
    CertificateExpired,
    /// The client certificate of a sensor expires soon, although it should have been renewed.
    CertificateExpiring,
    /// The host's clock is off.
    ClockSkew,
    /// The configuration container is not audited as needed.
    ConfigurationContainerAuditingIncomplete,
    /// The custom log folder cannot be written.
    CustomLogPathFailed,
    /// The directory refuses the account.
    DirectoryCredentialsIncorrect,
    /// The password of the directory account has expired.
    DirectoryPasswordExpired,
    /// The password of the directory account expires soon.
    DirectoryPasswordExpiresSoon,
    /// The control plane cannot reach the directory.
    DirectoryUnreachable,
    /// The disk of the sensor's folder is nearly full.
    DiskLow,
    /// A domain controller cannot be reached.
    DomainControllerUnreachable,
    /// A detection engine ended or does not answer.
    EngineNotRunning,
    /// A detection engine ended before it answered.
    EngineStartFailed,
    /// The configuration of Entra Connect cannot be read.
    EntraConnectConfigurationUnreadable,
    /// Evidence cannot be written.
    EvidenceNotWritten,
    /// One capture interface carries nothing while others do.
    InterfaceSilent,
    /// The learning period was switched off by itself.
    LearningPeriodSwitchedOff,
    /// Some name resolutions fail.
    LowNameResolutionSuccess,
    /// The resource guard stopped the sensor for a while.
    MemoryLimitReached,
    /// A network sensor is not heard of.
    NetworkDisconnected,
    /// Network offload of a virtual machine is wrong.
    NetworkOffloadMisconfigured,
    /// No mirrored traffic of a domain controller arrives.
    NoTrafficFromDomainController,
    /// No monitored interface of a network sensor carries traffic.
    NoTrafficDetected,
    /// NTLM auditing is off.
    NtlmAuditingDisabled,
    /// Directory objects are not audited as needed.
    ObjectAuditingIncomplete,
    /// The operating system is supported for a little longer.
    OperatingSystemSoonUnsupported,
    /// The operating system is not supported any longer.
    OperatingSystemUnsupported,
    /// Some endpoints of the control plane cannot be reached from the sensor.
    PartiallyConnected,
    /// The sensor was registered and never connected.
    PendingActivation,
    /// The sensor waits for another activation.
    PendingReactivation,
    /// Another host says to be this one.
    PossibleClone,
    /// The power plan slows the processors.
    PowerModeNotOptimal,
    /// The processors are busier than the reserve allows.
    ProcessorLimitReached,
    /// RADIUS accounting is refused.
    RadiusAccountingFailures,
    /// RPC auditing of generation 3 is wrong.
    RpcAuditMisconfigured,
    /// A rule package was put back or refused.
    RulePackageFailed,
    /// Rules were refused by an engine.
    RulesFailed,
    /// The sensor found itself inconsistent.
    SanityFailed,
    /// An update failed, or the sensor is three releases behind.
    SensorOutdated,
    /// A network sensor has too little memory or processor time.
    SensorOverloaded,
    /// The service did not start.
    SensorServiceFailedToStart,
    /// Nothing was heard for five minutes.
    SensorStoppedCommunicating,
    /// The control plane's certificate has expired.
    ServerCertificateExpired,
    /// The control plane's certificate expires soon.
    ServerCertificateExpiresSoon,
    /// The control plane's database cannot be written.
    ServerDatabaseFailing,
    /// The control plane's disk is nearly full.
    ServerDiskLow,
    /// Mail cannot be sent.
    ServerMailFailing,
    /// The control plane has more work than it gets done.
    ServerOverloaded,
    /// Alerts do not reach the SIEM.
    ServerSyslogFailing,
    /// Something of the trust chain has expired.
    ServerTrustExpired,
    /// Something of the trust chain expires soon.
    ServerTrustExpiresSoon,
    /// Settings could not be applied.
    SettingsRefused,
    /// ETW events were dropped.
    SomeEtwEventsNotAnalyzed,
    /// Events were dropped.
    SomeEventsNotAnalyzed,
    /// Packets were dropped.
    SomeNetworkTrafficNotAnalyzed,
    /// The connection to the control plane comes and goes.
    UnstableTraffic,
    /// An update was handed over and could not be installed.
    UpdateInstallFailed,
    /// An update did not get as far as being installed.
    UpdateSendFailed,
    /// The version of a network sensor is not supported any longer.
    VersionUnsupported,
}

impl IssueType {
    /// Every type.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    /// Everything that is known of it.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        entry(self)
    }

    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.entry().word
    }

    /// The type of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        of_word(word).map(|entry| entry.kind)
    }

    /// What people read.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.entry().title
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.entry().severity
    }

    /// What to do about it, step by step.
    #[must_use]
    pub fn remediation(self) -> &'static [&'static str] {
        self.entry().remediation
    }
}
