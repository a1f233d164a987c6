//! `state/rules.json`: which rule package a sensor loads when it starts, so that there is no gap after a restart.
//!
//! The updater alone writes it, and only after a package was loaded, judged and kept. A sensor that cannot use what it
//! says starts with the rules of its release; the updater then asks it again over the socket.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use watchpost_core::content::{RulesSet, build_stamp};
use watchpost_core::time::Timestamp;

use crate::host::disk::{Disk, read_limited};
use crate::updater::Layout;

/// The largest pointer that is read.
const POINTER_BYTES: u64 = 4 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pointer {
    /// Its build date.
    build: Timestamp,
    /// The name of its folder below `rules/`.
    folder: String,
}

/// The rule package that a starting sensor loads beside the rules of its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedRules {
    /// Its build date.
    pub build: Timestamp,
    /// Its folder, with `sigma/` and `suricata/` in it where it has such rules.
    pub folder: PathBuf,
}

/// What the host folder `root` has in effect; `None`: the rules of the release alone, or nothing that can be used.
#[must_use]
pub fn committed_rules(root: &Path) -> Option<CommittedRules> {
    let layout = Layout::new(root);
    let text = read_limited(&layout.rules_pointer(), POINTER_BYTES).ok()??;
    let Pointer { build, folder } = serde_json::from_slice::<Option<Pointer>>(&text).ok()??;
    let hash = folder.strip_prefix(&build_stamp(build))?.strip_prefix('-')?;
    let is_name = hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let folder = layout.rules().join(&folder);
    (is_name && folder.is_dir()).then_some(CommittedRules { build, folder })
}

/// Removes what a killed updater was writing. The folder is the sensor's, and more in it is nobody's business here.
pub(super) fn sweep(layout: &Layout, disk: &Disk) {
    disk.sweep_beside(&layout.rules_pointer());
}

/// Writes down what is in effect, in one step.
pub(super) fn point(layout: &Layout, disk: &Disk, set: Option<&RulesSet>) -> io::Result<()> {
    let pointer = set.map(|set| Pointer { build: set.build, folder: set.folder() });
    let text = serde_json::to_vec(&pointer).map_err(io::Error::other)?;
    disk.replace(&layout.rules_pointer(), &text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_sensor_reads_what_the_updater_wrote_and_nothing_that_leads_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let (layout, disk) = (Layout::new(root.path()), Disk::default());
        fs::create_dir_all(layout.state()).unwrap();
        assert_eq!(committed_rules(root.path()), None);
        let set = RulesSet { build: "2026-11-25T12:00:00Z".parse().unwrap(), sha256: "1a2b3c4d".repeat(8) };
        point(&layout, &disk, Some(&set)).unwrap();
        assert_eq!(committed_rules(root.path()), None, "its folder is not there");
        let folder = layout.rules().join("20261125t120000-1a2b3c4d");
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(committed_rules(root.path()), Some(CommittedRules { build: set.build, folder }));
        point(&layout, &disk, None).unwrap();
        assert_eq!(fs::read_to_string(layout.rules_pointer()).unwrap(), "null");
        assert_eq!(committed_rules(root.path()), None);
        fs::create_dir_all(root.path().join("evil")).unwrap();
        for bad in [
            "",
            "{}",
            "x",
            r#"{"build":"2026-11-25T12:00:00Z","folder":"../evil"}"#,
            r#"{"build":"2026-11-25T12:00:00Z","folder":"20261125t120000-../../evil"}"#,
            r#"{"build":"2026-11-24T12:00:00Z","folder":"20261125t120000-1a2b3c4d"}"#,
        ] {
            fs::write(layout.rules_pointer(), bad).unwrap();
            assert_eq!(committed_rules(root.path()), None, "{bad}");
        }
    }
}
