//! What people set about all rollouts of a workspace: a cap on the pace, and how many sensors a zone keeps watching.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::restart::RestartSwitch;

/// Largest cap that can be set.
const MOST_IN_FLIGHT: u32 = 10_000;
/// Most zones that declare a coverage.
const MOST_ZONES: usize = 10_000;
/// Longest name of a zone with its site, in characters.
const LONGEST_ZONE: usize = 200;

/// The settings; what is absent is as the defaults say.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RolloutSettings {
    /// A hard cap across all rollouts; `None`: one after another, or the adaptive pace for a long ring.
    pub max_in_flight: Option<u32>,
    /// Whether more than the sensor may be restarted for a major release: `off`, `on`, or hours such as `22:00-04:00` in UTC.
    pub restart_for_major: RestartSwitch,
    /// Sensors that must stay watching, by `site/zone`. No operation of any kind takes a zone below it (E11).
    pub coverage: BTreeMap<String, u32>,
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutSettingsError {
    /// A cap under which nothing, or everything at once, would start.
    #[error("maxInFlight is {0}: write 1 to {MOST_IN_FLIGHT}, or null for the usual pace")]
    Cap(u32),
    /// Too many zones.
    #[error("coverage names {0} zones, more than the {MOST_ZONES} allowed")]
    Zones(usize),
    /// Not the name of a zone.
    #[error("coverage: “{0}” is no zone; write it as site/zone, such as hq/core")]
    Zone(String),
}

impl RolloutSettings {
    /// Checks every value against its limits.
    ///
    /// # Errors
    /// When one is out of them.
    pub fn validate(&self) -> Result<(), RolloutSettingsError> {
        if let Some(cap) = self.max_in_flight.filter(|cap| !(1..=MOST_IN_FLIGHT).contains(cap)) {
            return Err(RolloutSettingsError::Cap(cap));
        }
        if self.coverage.len() > MOST_ZONES {
            return Err(RolloutSettingsError::Zones(self.coverage.len()));
        }
        let is_zone = |name: &&String| name.chars().count() <= LONGEST_ZONE && name.split('/').count() == 2;
        match self.coverage.keys().find(|name| !is_zone(name)) {
            Some(name) => Err(RolloutSettingsError::Zone(name.chars().take(LONGEST_ZONE).collect())),
            None => Ok(()),
        }
    }

    /// Puts them into force.
    pub fn apply(&self, policy: &mut Policy) {
        policy.rollout.max_in_flight = self.max_in_flight;
        policy.rollout.restart_for_major = self.restart_for_major;
        policy.rollout.coverage.clone_from(&self.coverage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_stop_or_mean_nothing_is_refused() {
        let with = |cap, zone: &str| RolloutSettings {
            max_in_flight: cap,
            coverage: BTreeMap::from([(zone.to_owned(), 1)]),
            ..RolloutSettings::default()
        };
        assert_eq!(with(Some(1), "hq/core").validate(), Ok(()));
        assert_eq!(with(Some(0), "hq/core").validate(), Err(RolloutSettingsError::Cap(0)));
        assert_eq!(with(Some(10_001), "hq/core").validate(), Err(RolloutSettingsError::Cap(10_001)));
        assert_eq!(with(None, "core").validate(), Err(RolloutSettingsError::Zone("core".to_owned())));
        let many = (0..10_001).map(|n| (format!("hq/{n}"), 1)).collect();
        let many = RolloutSettings { coverage: many, ..RolloutSettings::default() };
        assert_eq!(many.validate(), Err(RolloutSettingsError::Zones(10_001)));
    }
}
