//! Facts that only a collector of its own can observe, such as one on a Windows host.
//!
//! A collector writes them as JSON into the sensor's `facts.d`; the updater reads, checks and reports them. Each field
//! names what it decides in `docs/operators/fact-door.md`. What is absent was not looked at and changes nothing; what
//! was looked at and is all right is there without a problem. A collector is not believed: everything has a limit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Most problems that one check lists.
pub const MAX_PROBLEMS: usize = 10;
/// Most characters of a text.
pub const MAX_DOOR_TEXT: usize = 160;
/// Most domains, and most endpoints.
pub const MAX_SUBJECTS: usize = 10;

/// What came in through the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct DoorFacts {
    /// Network offload in a VMware guest; a problem names an adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmware_offload: Option<Check>,
    /// The driver that captures packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_driver: Option<PacketDriver>,
    /// Dropping of ETW events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etw_events: Option<Check>,
    /// Auditing of NTLM on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntlm_auditing: Option<Check>,
    /// Audit subcategories of this host; a problem names a subcategory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advanced_auditing: Option<Check>,
    /// Auditing of a certification authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adcs_auditing: Option<Check>,
    /// Auditing of directory objects, per domain.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub object_auditing: BTreeMap<String, Check>,
    /// Auditing of the configuration container, per domain.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub configuration_container_auditing: BTreeMap<String, Check>,
    /// Auditing of the AD FS container, per domain.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub adfs_container_auditing: BTreeMap<String, Check>,
    /// The power plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<Check>,
    /// RADIUS accounting; a problem names a client that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius_accounting: Option<Check>,
    /// Reading the configuration of Entra Connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entra_connect: Option<Check>,
    /// RPC auditing of generation 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_audit: Option<Check>,
    /// Audit settings that somebody undoes again and again; generation 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auditing_reverted: Option<Check>,
    /// Domain controllers the sensor works with; a problem names one that does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable_domain_controllers: Option<Check>,
    /// Writing to the custom log folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_log_path: Option<Check>,
    /// The last backup of the sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Check>,
    /// The sensor's check of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sanity: Option<Check>,
    /// Whether the sensor keeps up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overloaded: Option<Check>,
    /// Endpoints that fail; an empty list: all answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
}

/// One thing that was looked at. With neither a problem nor a since it is all right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Check {
    /// What is wrong, each in a line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Since when it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Check {
    /// Whether all is right.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.problems.is_empty() && self.since.is_none()
    }

    fn clean(&mut self) {
        self.problems.truncate(MAX_PROBLEMS);
        self.problems.iter_mut().for_each(clean_text);
    }
}

/// The driver that captures packets on a Windows host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PacketDriver {
    /// Which one.
    pub kind: DriverKind,
    /// Its version, such as `1.79`.
    #[serde(default)]
    pub version: String,
    /// Options that are not as required, each in a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl PacketDriver {
    /// Whether it is older than 1.0. A version that does not read as one is not judged.
    #[must_use]
    pub fn is_older_than_1(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.trim().parse::<u32>().ok());
        self.kind == DriverKind::Npcap && major == Some(0)
    }
}

/// A driver that captures packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriverKind {
    /// The one that is needed.
    Npcap,
    /// Its predecessor.
    #[serde(rename = "winpcap")]
    WinPcap,
}

/// An endpoint of the control plane that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its name, as host or host:port.
    pub name: String,
    /// In which way.
    pub failure: EndpointFailure,
}

/// In which of five ways an endpoint fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointFailure {
    /// There is no connection.
    Connect,
    /// Its name has no address.
    Name,
    /// It presents a certificate that is not trusted.
    Certificate,
    /// The proxy wants credentials and got none, or wrong ones.
    ProxyCredentialsNeeded,
    /// The proxy got credentials that it does not want.
    ProxyCredentialsNotNeeded,
}

impl EndpointFailure {
    /// What people read.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Connect => "no connection",
            Self::Name => "its name has no address",
            Self::Certificate => "its certificate is not trusted",
            Self::ProxyCredentialsNeeded => "the proxy wants other credentials",
            Self::ProxyCredentialsNotNeeded => "the proxy wants no credentials",
        }
    }
}

fn clean_text(text: &mut String) {
    *text = text.chars().take(MAX_DOOR_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect();
}

fn clean_domains(domains: &mut BTreeMap<String, Check>) {
    let kept = std::mem::take(domains).into_iter().take(MAX_SUBJECTS).map(|(mut domain, mut check)| {
        clean_text(&mut domain);
        check.clean();
        (domain.to_lowercase(), check)
    });
    domains.extend(kept);
}

impl DoorFacts {
    /// Whether nothing came in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn checks(&mut self) -> [&mut Option<Check>; 15] {
        [
            &mut self.vmware_offload,
            &mut self.etw_events,
            &mut self.ntlm_auditing,
            &mut self.advanced_auditing,
            &mut self.adcs_auditing,
            &mut self.power_mode,
            &mut self.radius_accounting,
            &mut self.entra_connect,
            &mut self.rpc_audit,
            &mut self.auditing_reverted,
            &mut self.unreachable_domain_controllers,
            &mut self.custom_log_path,
            &mut self.backup,
            &mut self.sanity,
            &mut self.overloaded,
        ]
    }

    fn domains(&mut self) -> [&mut BTreeMap<String, Check>; 3] {
        [&mut self.object_auditing, &mut self.configuration_container_auditing, &mut self.adfs_container_auditing]
    }

    /// The same within the limits: lists and texts cut, no control characters, domains in lower case.
    #[must_use]
    pub fn clean(mut self) -> Self {
        self.checks().into_iter().flatten().for_each(Check::clean);
        self.domains().into_iter().for_each(clean_domains);
        if let Some(driver) = &mut self.packet_driver {
            clean_text(&mut driver.version);
            driver.problems.truncate(MAX_PROBLEMS);
            driver.problems.iter_mut().for_each(clean_text);
        }
        if let Some(endpoints) = &mut self.endpoints {
            endpoints.truncate(MAX_SUBJECTS);
            endpoints.iter_mut().for_each(|endpoint| clean_text(&mut endpoint.name));
        }
        self
    }

    /// Takes over what `later` has looked at; per domain, where it is one.
    pub fn merge(&mut self, mut later: Self) {
        for (ours, theirs) in self.checks().into_iter().zip(later.checks()) {
            *ours = theirs.take().or(ours.take());
        }
        for (ours, theirs) in self.domains().into_iter().zip(later.domains()) {
            ours.append(theirs);
        }
        self.packet_driver = later.packet_driver.or(self.packet_driver.take());
        self.endpoints = later.endpoints.or(self.endpoints.take());
    }
}
