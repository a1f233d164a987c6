//! Where the engine lives on the disk: folders, files and sockets, and as whom it runs.
//!
//! What it reads belongs to us and it cannot write it; what it writes lies in two folders of its own.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};

/// The longest path that fits a socket address.
const SOCKET_PATH_LIMIT: usize = 107;
/// Where short paths are made when the engine's own folder lies too deep.
const SHORT_FOLDERS: [&str; 2] = ["/run", "/tmp"];

/// Why the engine's folders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is no such user.
    #[error("there is no user “{0}” for Suricata to run as; create it (useradd --system {0}) or name another one")]
    User(String),
    /// The engine's user may not pass a folder.
    #[error(
        "the user “{user}” that Suricata runs as may not pass {folder}; let everybody pass it (chmod o+x {folder}), \
         which shows nobody what is in it"
    )]
    Closed {
        /// Who.
        user: String,
        /// Which.
        folder: PathBuf,
    },
    /// Somebody else has made a folder of this name.
    #[error("{0} belongs to somebody else; remove it")]
    Foreign(PathBuf),
    /// A folder or file cannot be made.
    #[error("the folder of the packet engine, {path}, cannot be prepared; check its owner and the free space")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// As whom the engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineUser {
    /// The name.
    pub name: String,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl EngineUser {
    /// The user of that name, where we may become another one; `None`: the engine runs as we do.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn find(name: &str) -> Result<Option<Self>, PlaceError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let user = User::from_name(name).ok().flatten().ok_or_else(|| PlaceError::User(name.to_owned()))?;
        Ok(Some(Self { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }

    /// Whether this user may pass a folder.
    fn may_pass(&self, folder: &fs::Metadata) -> bool {
        let bit = match (folder.uid() == self.uid, folder.gid() == self.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        folder.mode() & bit != 0
    }
}

/// The places of one engine.
#[derive(Clone, Debug)]
pub struct Place {
    /// As whom it runs; `None`: as we do.
    pub user: Option<EngineUser>,
    /// Ours: configuration, rules, output.
    pub folder: PathBuf,
    /// Its own: the packets of alerts.
    pub log: PathBuf,
    /// Ours: the socket that events come in on.
    run: PathBuf,
    /// Its own: the control socket.
    control_folder: PathBuf,
}

impl Place {
    /// The places below `folder`. Touches nothing.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn new(folder: &Path, user: &str) -> Result<Self, PlaceError> {
        let user = EngineUser::find(user)?;
        let mut run = folder.join("run");
        if run.join("own/control.sock").as_os_str().len() > SOCKET_PATH_LIMIT {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, folder.as_os_str().as_encoded_bytes());
            let name = format!("watchpost-{}", hex::encode(digest).get(..12).unwrap_or_default());
            let is_writable = |folder: &&&str| rustix::fs::access(**folder, rustix::fs::Access::WRITE_OK).is_ok();
            run = Path::new(SHORT_FOLDERS.iter().find(is_writable).copied().unwrap_or("/tmp")).join(name);
        }
        let (log, control_folder) = (folder.join("log"), run.join("own"));
        Ok(Self { user, folder: folder.to_owned(), log, run, control_folder })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("suricata.yaml")
    }

    /// The one file with the rules in force.
    #[must_use]
    pub fn rules(&self) -> PathBuf {
        self.folder.join("loaded.rules")
    }

    /// What the engine prints.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.folder.join("suricata.out")
    }

    /// The socket for events.
    #[must_use]
    pub fn eve(&self) -> PathBuf {
        self.run.join("eve.sock")
    }

    /// The control socket.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.control_folder.join("control.sock")
    }

    /// Makes the folders, with their owners, and takes a control socket away that an earlier engine left.
    ///
    /// # Errors
    /// When they cannot be made, or the engine's user cannot reach them.
    pub fn prepare(&self) -> Result<(), PlaceError> {
        for (folder, mode, is_own) in [
            (&self.folder, 0o755, false),
            (&self.log, 0o750, true),
            (&self.run, 0o711, false),
            (&self.control_folder, 0o700, true),
        ] {
            make(folder, mode, self.user.as_ref().filter(|_| is_own))?;
        }
        for folder in [&self.folder, &self.log, &self.control_folder] {
            self.check_the_way(folder)?;
        }
        remove(&self.control())
    }

    /// Hands the socket for events to the engine's user, and to nobody else.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hand_over_eve(&self) -> Result<(), PlaceError> {
        let path = self.eve();
        let broken = |source| PlaceError::Io { path: path.clone(), source };
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(broken)?;
        match &self.user {
            Some(user) => chown(&path, Some(user.uid), Some(user.gid)).map_err(broken),
            None => Ok(()),
        }
    }

    fn check_the_way(&self, to: &Path) -> Result<(), PlaceError> {
        let Some(user) = &self.user else { return Ok(()) };
        let real = fs::canonicalize(to).map_err(|source| PlaceError::Io { path: to.to_owned(), source })?;
        for folder in real.ancestors() {
            let found = fs::metadata(folder).map_err(|source| PlaceError::Io { path: folder.to_owned(), source })?;
            if !user.may_pass(&found) {
                return Err(PlaceError::Closed { user: user.name.clone(), folder: folder.to_owned() });
            }
        }
        Ok(())
    }
}

fn make(path: &Path, mode: u32, owner: Option<&EngineUser>) -> Result<(), PlaceError> {
    let broken = |source| PlaceError::Io { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(broken)?;
    let found = fs::symlink_metadata(path).map_err(broken)?;
    let us = [Uid::effective().as_raw(), owner.map_or(Uid::effective().as_raw(), |user| user.uid)];
    // In a folder that everybody may write, somebody may have been there first.
    if !found.is_dir() || !us.contains(&found.uid()) {
        return Err(PlaceError::Foreign(path.to_owned()));
    }
    if let Some(user) = owner {
        chown(path, Some(user.uid), Some(user.gid)).map_err(broken)?;
    } else if Uid::effective().is_root() {
        chown(path, Some(0), Some(Gid::effective().as_raw())).map_err(broken)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(broken)
}

/// Takes a file away that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), PlaceError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PlaceError::Io { path: path.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_paths_fit_however_deep_the_folder_lies() {
        let deep = Path::new("/srv").join("x".repeat(120));
        let place = Place::new(&deep, "nobody").unwrap();
        assert!(place.control().as_os_str().len() <= SOCKET_PATH_LIMIT);
        assert!(place.log.starts_with(&deep));
        let other = Place::new(&deep.join("y"), "nobody").unwrap();
        assert_ne!(place.control(), other.control());
    }

    #[test]
    fn a_folder_that_the_engine_may_not_pass_is_named() {
        let closed = tempfile::tempdir().unwrap();
        fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
        let place = Place::new(&closed.path().join("suricata"), "nobody").unwrap();
        if place.user.is_none() {
            return place.prepare().unwrap();
        }
        let error = place.prepare().unwrap_err();
        assert!(
            matches!(&error, PlaceError::Closed { folder, .. } if *folder == closed.path().canonicalize().unwrap())
        );
        fs::set_permissions(closed.path(), Permissions::from_mode(0o711)).unwrap();
        place.prepare().unwrap();
        assert_eq!(fs::metadata(&place.log).unwrap().uid(), place.user.unwrap().uid);
        assert_eq!(fs::metadata(&place.folder).unwrap().uid(), 0);
    }
}
