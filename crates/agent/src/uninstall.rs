//! Takes the product off a host: everything that setup, updater and sensor made, and nothing else.
//!
//! Never removes a folder that holds what it does not know, and never one below which an updater still runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::host::lock;
use crate::host_config::HostConfig;
use crate::updater::Layout;

/// What the product makes below a host's folder.
const OURS: [&str; 8] = ["current", "versions", "rules", "updater", "state", "engine", "logs", "etc"];

/// Why the product is not taken off.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// Nothing of ours is there.
    #[error("{0} is no folder of a Watchpost host; name the one that setup was given")]
    NoHost(PathBuf),
    /// The service runs.
    #[error("the updater of {0} runs; stop its service first, so that nothing is started again behind its back")]
    Running(PathBuf),
    /// Something cannot be removed.
    #[error("{path} cannot be removed; mend that and uninstall again: what is gone by then stays gone")]
    Remove {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Removes the product from `root`. Says what was left because it is not ours. Safe to repeat.
///
/// # Errors
/// When there is no host, its updater runs, or the system refuses.
pub fn uninstall(root: &Path) -> Result<Vec<PathBuf>, UninstallError> {
    let layout = Layout::new(root);
    let is_host = HostConfig::path(root).is_file() || layout.updater().is_dir();
    if !is_host {
        return Err(UninstallError::NoHost(root.to_owned()));
    }
    let failed = |path: PathBuf| move |source| UninstallError::Remove { path, source };
    let locks = [layout.launcher_lock(), layout.updater_lock(), layout.sensor_lock()];
    for path in &locks {
        if lock::is_held(path).map_err(failed(path.clone()))? {
            return Err(UninstallError::Running(root.to_owned()));
        }
    }
    // The settings last: a host that is half gone is still one that can be uninstalled.
    for name in OURS {
        let path = root.join(name);
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(failed(path))?;
    }
    let entries = fs::read_dir(root).map_err(failed(root.to_owned()))?;
    let mut left: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    left.sort();
    if left.is_empty() {
        fs::remove_dir(root).map_err(failed(root.to_owned()))?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_config::sample;

    fn host() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("host");
        for name in OURS.iter().filter(|name| **name != "current") {
            fs::create_dir_all(root.join(name).join("deeper")).unwrap();
        }
        std::os::unix::fs::symlink("versions/x", root.join("current")).unwrap();
        sample().write(&root).unwrap();
        (folder, root)
    }

    #[test]
    fn everything_of_ours_goes_and_nothing_else() {
        let (folder, root) = host();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::remove_dir_all(root.join("logs")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("logs")).unwrap();
        fs::create_dir(root.join("facts.d")).unwrap();
        assert_eq!(uninstall(&root).unwrap(), [root.join("facts.d")]);
        assert!(outside.is_dir(), "a link was followed");
        assert!(matches!(uninstall(&root), Err(UninstallError::NoHost(_))));
        let (_folder, root) = host();
        assert_eq!(uninstall(&root).unwrap(), [] as [PathBuf; 0]);
        assert!(!root.exists());
    }

    #[test]
    fn a_running_host_and_a_folder_of_somebody_else_are_refused() {
        let (_folder, root) = host();
        let held = lock::take(&Layout::new(&root).updater_lock()).unwrap().unwrap();
        assert!(matches!(uninstall(&root), Err(UninstallError::Running(_))));
        assert!(root.join("versions/deeper").is_dir());
        drop(held);
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("file"), "x").unwrap();
        assert!(matches!(uninstall(elsewhere.path()), Err(UninstallError::NoHost(_))));
        assert!(elsewhere.path().join("file").is_file());
    }
}
