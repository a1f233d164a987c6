//! The settings in effect on this sensor, kept so that it starts with them.
//!
//! Never half written: a file that cannot be read counts as no settings, and the control plane sends them again.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use watchpost_core::settings::SensorSettings;

use crate::host::disk::{Disk, read_limited};

/// The largest file that is read.
const FILE_BYTES: u64 = 64 * 1024;

/// Settings and their generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct InEffect {
    /// Their generation; 0: nothing was ever set.
    pub(super) generation: u64,
    /// The whole of them.
    pub(super) settings: SensorSettings,
}

fn path(state: &Path) -> PathBuf {
    state.join("settings.json")
}

impl InEffect {
    /// Those kept in the folder `state`.
    #[must_use]
    pub(super) fn read(state: &Path) -> Self {
        let text = read_limited(&path(state), FILE_BYTES).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&text).ok().filter(|kept: &Self| kept.settings.validate().is_ok()).unwrap_or_default()
    }

    /// The same for a sensor that starts: what the one before was writing when it was killed goes.
    #[must_use]
    pub(super) fn at_start(state: &Path) -> Self {
        Disk::default().sweep_beside(&path(state));
        Self::read(state)
    }

    /// Keeps them in the folder `state`, whole or not at all.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn keep(&self, state: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        Disk::default().replace(&path(state), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_and_what_is_damaged_or_not_allowed_counts_as_none() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(InEffect::read(state.path()), InEffect::default());
        let mut settings = SensorSettings::default();
        settings.capture_interfaces.insert("eth1".to_owned());
        let kept = InEffect { generation: 3, settings };
        kept.keep(state.path()).unwrap();
        assert_eq!(InEffect::read(state.path()), kept);
        for bad in ["{", r#"{"generation":3,"settings":{"captureInterfaces":["../x"]}}"#] {
            std::fs::write(path(state.path()), bad).unwrap();
            assert_eq!(InEffect::read(state.path()), InEffect::default(), "{bad}");
        }
    }

    #[test]
    fn what_a_killed_sensor_was_writing_goes_at_the_next_start_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        InEffect::default().keep(state.path()).unwrap();
        for name in [".replacing-settings.json-0123456789abcdef", ".replacing-rules.json-0123456789abcdef"] {
            std::fs::write(state.path().join(name), "{").unwrap();
        }
        assert_eq!(InEffect::at_start(state.path()), InEffect::default());
        let mut left: Vec<_> =
            std::fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".replacing-rules.json-0123456789abcdef", "settings.json"], "the updater may be at its own");
    }
}
