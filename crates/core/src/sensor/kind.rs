//! The types of sensor, in the words of the API.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a sensor stands on or watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SensorKind {
    /// On a domain controller.
    DomainControllerIntegrated,
    /// Beside domain controllers, on mirrored traffic.
    DomainControllerStandalone,
    /// On an AD FS server.
    AdfsIntegrated,
    /// On an AD CS server.
    AdcsIntegrated,
    /// On an Entra Connect server.
    AdConnectIntegrated,
    /// A network sensor that reports to the control plane.
    OtCloudConnected,
    /// A network sensor that is managed on its own console.
    OtLocallyManaged,
    /// A network sensor for enterprise IoT.
    EnterpriseIot,
}

impl SensorKind {
    /// Every kind, in the order people list them.
    pub const ALL: [Self; 8] = [
        Self::DomainControllerIntegrated,
        Self::DomainControllerStandalone,
        Self::AdfsIntegrated,
        Self::AdcsIntegrated,
        Self::AdConnectIntegrated,
        Self::OtCloudConnected,
        Self::OtLocallyManaged,
        Self::EnterpriseIot,
    ];

    /// Whether it cannot work before somebody named its domain controllers.
    #[must_use]
    pub fn needs_domain_controllers(self) -> bool {
        match self {
            Self::DomainControllerStandalone
            | Self::AdfsIntegrated
            | Self::AdcsIntegrated
            | Self::AdConnectIntegrated => true,
            Self::DomainControllerIntegrated
            | Self::OtCloudConnected
            | Self::OtLocallyManaged
            | Self::EnterpriseIot => false,
        }
    }

    /// Whether it stands on a network tap and not with identity servers.
    #[must_use]
    pub fn is_network(self) -> bool {
        match self {
            Self::OtCloudConnected | Self::OtLocallyManaged | Self::EnterpriseIot => true,
            Self::DomainControllerIntegrated
            | Self::DomainControllerStandalone
            | Self::AdfsIntegrated
            | Self::AdcsIntegrated
            | Self::AdConnectIntegrated => false,
        }
    }

    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DomainControllerIntegrated => "domainControllerIntegrated",
            Self::DomainControllerStandalone => "domainControllerStandalone",
            Self::AdfsIntegrated => "adfsIntegrated",
            Self::AdcsIntegrated => "adcsIntegrated",
            Self::AdConnectIntegrated => "adConnectIntegrated",
            Self::OtCloudConnected => "otCloudConnected",
            Self::OtLocallyManaged => "otLocallyManaged",
            Self::EnterpriseIot => "enterpriseIot",
        }
    }

    /// The kind of an API word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What people read.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::DomainControllerIntegrated => "Domain controller",
            Self::DomainControllerStandalone => "Standalone",
            Self::AdfsIntegrated => "AD FS",
            Self::AdcsIntegrated => "AD CS",
            Self::AdConnectIntegrated => "Entra Connect",
            Self::OtCloudConnected => "OT, cloud-connected",
            Self::OtLocallyManaged => "OT, locally managed",
            Self::EnterpriseIot => "Enterprise IoT",
        }
    }
}

impl fmt::Display for SensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
