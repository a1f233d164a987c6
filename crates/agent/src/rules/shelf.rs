//! The folders of rule packages: verified before they get their name, verified at every start, removed when unneeded.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use watchpost_core::content::{RULES_JSON, RulesManifest, RulesPromise, RulesSet};

use crate::host::disk::{Disk, random_name, read_limited};
use crate::updater::{Layout, Look, VersionError, verify_folder};

/// The largest description that is read.
const DESCRIPTION_BYTES: u64 = 64 * 1024;

/// The rule packages of one host.
#[derive(Clone)]
pub(crate) struct Shelf {
    layout: Layout,
    disk: Disk,
}

impl Shelf {
    pub(crate) fn new(layout: Layout, disk: Disk) -> Self {
        Self { layout, disk }
    }

    /// Where a package lies.
    pub(crate) fn path(&self, set: &RulesSet) -> PathBuf {
        self.layout.rules().join(set.folder())
    }

    /// Sweeps what an earlier run left unfinished, and names the folders whose every byte is what was signed.
    pub(crate) fn whole(&self) -> io::Result<BTreeSet<String>> {
        let folder = self.layout.rules();
        self.disk.make_folder(&folder)?;
        self.disk.sweep(&folder)?;
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            match verify_folder(&folder.join(&name), Look::Full) {
                Ok(()) => {
                    found.insert(name);
                }
                Err(error) => tracing::warn!(name, "a rule package on the disk is not used: {error}"),
            }
        }
        Ok(found)
    }

    /// What a package that lies here whole promises.
    pub(crate) fn promise(&self, set: &RulesSet) -> Option<RulesPromise> {
        verify_folder(&self.path(set), Look::Full).ok()?;
        let text = read_limited(&self.path(set).join(RULES_JSON), DESCRIPTION_BYTES).ok()??;
        RulesManifest::from_slice(&text).ok().map(|rules| RulesPromise::from(&rules))
    }

    /// An empty folder to extract into.
    pub(crate) fn staging(&self) -> io::Result<PathBuf> {
        let path = self.layout.rules().join(random_name(".staging-"));
        self.disk.make_folder(&path)?;
        Ok(path)
    }

    /// Gives what was extracted its name, after reading every file back.
    pub(crate) fn install(&self, staging: &Path, set: &RulesSet) -> Result<(), VersionError> {
        verify_folder(staging, Look::Full)?;
        let folder = self.path(set);
        let failed = |source| VersionError::Io { path: folder.clone(), source };
        if fs::symlink_metadata(&folder).is_ok() {
            self.disk.remove_folder(&folder).map_err(failed)?;
        }
        self.disk.publish(staging, &folder).map_err(failed)
    }

    /// Removes every folder, and every note about one, but these.
    pub(crate) fn collect(&self, keep: &[RulesSet]) -> io::Result<()> {
        let names: BTreeSet<String> = keep.iter().map(RulesSet::folder).collect();
        for entry in fs::read_dir(self.layout.rules())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !names.contains(&name) && !name.starts_with('.') {
                self.disk.remove_folder(&self.layout.rules().join(&name))?;
                // A note that stays takes a few bytes and does no harm.
                let _ = fs::remove_file(self.layout.rules_note(&name));
            }
        }
        Ok(())
    }
}
