//! What a person sets on a sensor: its description, what its engines listen on, what counts as home (C1, decision 29).
//!
//! Values and their limits. Who may change them and how they travel is decided elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Most characters of a description.
pub const MAX_DESCRIPTION: usize = 1_000;
/// Most capture interfaces of one sensor.
pub const MAX_INTERFACES: usize = 16;
/// Most home networks of one sensor.
pub const MAX_NETWORKS: usize = 128;
/// Most bytes of an interface's name: what Linux allows.
pub const MAX_INTERFACE_NAME: usize = 15;

/// The settings of one sensor. The whole of them travels, never a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct SensorSettings {
    /// Free text for people.
    pub description: String,
    /// The network interfaces that the `suricata` engine listens on; none: `sigma` alone.
    pub capture_interfaces: BTreeSet<String>,
    /// What counts as home in rules, as CIDR blocks; none: the private ranges.
    pub home_networks: BTreeSet<String>,
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The description is too long.
    #[error("the description has more than {MAX_DESCRIPTION} characters, or control characters; shorten it")]
    Description,
    /// Too many of something.
    #[error("{what}: at most {limit} can be set")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Not the name of an interface.
    #[error(
        "“{0:.64}” is no interface name: write 1 to {MAX_INTERFACE_NAME} letters, digits, “.”, “_”, “-”, such as eth1"
    )]
    Interface(String),
    /// Not a network.
    #[error("“{0:.64}” is no network: write it as address and prefix length, such as 10.0.0.0/8 or fd00::/8")]
    Network(String),
}

impl SensorSettings {
    /// Checks every value against its limits.
    ///
    /// # Errors
    /// When one is out of them; says which and what would be right.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let is_line = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
        if self.description.chars().count() > MAX_DESCRIPTION || !is_line(&self.description) {
            return Err(SettingsError::Description);
        }
        if self.capture_interfaces.len() > MAX_INTERFACES {
            return Err(SettingsError::TooMany { what: "captureInterfaces", limit: MAX_INTERFACES });
        }
        if self.home_networks.len() > MAX_NETWORKS {
            return Err(SettingsError::TooMany { what: "homeNetworks", limit: MAX_NETWORKS });
        }
        if let Some(name) = self.capture_interfaces.iter().find(|name| !is_interface_name(name)) {
            return Err(SettingsError::Interface(name.clone()));
        }
        match self.home_networks.iter().find(|network| !is_network(network)) {
            Some(network) => Err(SettingsError::Network(network.clone())),
            None => Ok(()),
        }
    }
}

/// Whether `name` can be a network interface and nothing else: it ends up in the configuration of an engine.
#[must_use]
pub fn is_interface_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let starts_plain = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    starts_plain && name.len() <= MAX_INTERFACE_NAME && name.bytes().all(is_plain)
}

/// Whether `text` is a CIDR block.
#[must_use]
pub fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let is_number = !length.is_empty() && length.len() <= 3 && length.bytes().all(|b| b.is_ascii_digit());
    let longest = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    is_number && length.parse::<u8>().is_ok_and(|length| length <= longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_linux_gives_interfaces_are_taken() {
        for good in ["eth0", "enp3s0f1", "br-lan", "eth0.100", "a", "abcdefghijklmno"] {
            assert!(is_interface_name(good), "{good}");
        }
        for bad in ["", "-x", ".", "..", "a b", "a/b", "eth0\n", "abcdefghijklmnop", "ä", "e:1", "[x", "\"x"] {
            assert!(!is_interface_name(bad), "{bad} was taken");
        }
    }

    #[test]
    fn only_cidr_blocks_are_networks() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "fd00::/8", "::/0"] {
            assert!(is_network(good), "{good}");
        }
        for bad in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/+8", "x/8", "10.0.0.0/", "10.0.0.0/8,any", ""] {
            assert!(!is_network(bad), "{bad} was taken");
        }
    }

    #[test]
    fn settings_within_their_limits_are_valid_and_others_say_what_is_wrong() {
        let mut settings = SensorSettings::default();
        assert_eq!(settings.validate(), Ok(()));
        settings.capture_interfaces.insert("no/such".to_owned());
        assert_eq!(settings.validate(), Err(SettingsError::Interface("no/such".to_owned())));
        settings.capture_interfaces = (0..17).map(|n| format!("eth{n}")).collect();
        assert!(matches!(settings.validate(), Err(SettingsError::TooMany { limit: MAX_INTERFACES, .. })));
        let long = SensorSettings { description: "x".repeat(1_001), ..SensorSettings::default() };
        assert_eq!(long.validate(), Err(SettingsError::Description));
    }
}
