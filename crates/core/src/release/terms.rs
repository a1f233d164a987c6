//! Under which terms a release is offered (E1): on which systems it runs, which control plane may hand it out, until
//! when it is supported.

use serde::{Deserialize, Serialize};

use crate::facts::OperatingSystem;

/// Most systems that a release names.
pub const MAX_SYSTEMS: usize = 32;
/// Longest name or version of a system, in bytes.
const MAX_SYSTEM_BYTES: usize = 40;

/// A line of operating systems that a release runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemLine {
    /// Its `ID` in `/etc/os-release`, such as `debian`; `windows-server` for that.
    pub id: String,
    /// Its version, or the part of it before the first dot; `None`: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl SystemLine {
    /// Whether a system belongs to this line.
    #[must_use]
    pub fn covers(&self, system: &OperatingSystem) -> bool {
        match &self.version {
            Some(version) => system.is_of(&self.id, version),
            None => self.id == system.id,
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        let fits = |text: &str| !text.is_empty() && text.len() <= MAX_SYSTEM_BYTES;
        fits(&self.id) && self.version.as_deref().is_none_or(fits)
    }
}

/// Whether a host with this system may have a release that names these lines. One that names none runs anywhere; of a
/// host that does not say what it is, nothing is assumed.
#[must_use]
pub fn runs_on(lines: &[SystemLine], system: Option<&OperatingSystem>) -> bool {
    lines.is_empty() || system.is_some_and(|system| lines.iter().any(|line| line.covers(system)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_runs_on_the_lines_it_names_and_on_no_system_that_nobody_named() {
        let lines = [
            SystemLine { id: "debian".to_owned(), version: Some("12".to_owned()) },
            SystemLine { id: "ubuntu".to_owned(), version: None },
        ];
        let system = |id: &str, version: &str| OperatingSystem { id: id.to_owned(), version: version.to_owned() };
        for (id, version, runs) in [
            ("debian", "12", true),
            ("debian", "12.5", true),
            ("debian", "120", false),
            ("debian", "11", false),
            ("ubuntu", "24.04", true),
            ("rhel", "12", false),
        ] {
            assert_eq!(runs_on(&lines, Some(&system(id, version))), runs, "{id} {version}");
        }
        assert!(!runs_on(&lines, None) && runs_on(&[], None));
    }
}
