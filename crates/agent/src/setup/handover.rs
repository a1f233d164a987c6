//! Gives the sensor's user what it needs of the host's folder: to read releases and rules, and to write in its own places.
//!
//! Never gives it anything of the updater's, and never a version folder to write.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::host_config::HostConfig;
use crate::updater::{Layout, SensorUser};

/// What is made in such a folder belongs to the sensor's group, too: it reads what the updater puts there.
const SHARED: u32 = 0o2750;
/// A file that the sensor's group may read.
const READABLE: u32 = 0o640;
/// The sensor's own folders beside `state`.
const OWN: [&str; 2] = ["logs", "engine"];

/// Hands over, and says what could not be.
pub(super) fn to_sensor(layout: &Layout, user: &SensorUser) -> Result<(), (PathBuf, io::Error)> {
    let own = OWN.map(|name| layout.root().join(name));
    for folder in own.into_iter().chain([layout.state()]) {
        fs::create_dir_all(&folder).map_err(|error| (folder.clone(), error))?;
        let inside = fs::read_dir(&folder).map_err(|error| (folder.clone(), error))?.flatten();
        // An earlier sensor may have run as somebody else. Files alone: a link may lead anywhere.
        for path in inside.map(|entry| entry.path()).filter(|path| is_file(path)) {
            give(&path, Some(user.uid), user.gid, None)?;
        }
        give(&folder, Some(user.uid), user.gid, Some(SHARED))?;
    }
    for folder in [layout.versions(), layout.rules()] {
        give(&folder, None, user.gid, Some(SHARED))?;
    }
    give(&HostConfig::path(layout.root()), None, user.gid, Some(READABLE))
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

fn give(path: &Path, owner: Option<u32>, group: u32, mode: Option<u32>) -> Result<(), (PathBuf, io::Error)> {
    let change = || {
        chown(path, owner, Some(group))?;
        mode.map_or(Ok(()), |mode| fs::set_permissions(path, Permissions::from_mode(mode)))
    };
    change().map_err(|error| (path.to_owned(), error))
}

#[cfg(test)]
mod tests;
