//! What a host knows about itself: `etc/updater.json`, written by setup, read by the updater and the sensor.
//!
//! Holds no secret: the access key is used once, at enrolment, and never stored.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use watchpost_core::server_keys::ServerKey;

use crate::proxy_config::ProxyConfig;

/// The largest `updater.json` that is read.
const FILE_LIMIT: u64 = 64 * 1024;

/// The settings of one host. Unknown fields are ignored, so that an older sensor reads a newer updater's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostConfig {
    /// The sensor's name in the portal.
    pub name: String,
    /// The sensor type in its API word (`domainControllerIntegrated`, …).
    pub sensor_type: String,
    /// The domain the host belongs to.
    #[serde(default)]
    pub domain: Option<String>,
    /// The site the sensor is enrolled into, by name.
    #[serde(default)]
    pub site: Option<String>,
    /// The zone of that site, by name.
    #[serde(default)]
    pub zone: Option<String>,
    /// The gateway as `host:port`.
    pub server: String,
    /// SHA-256 (lower-case hex) of the gateway certificate's public key info.
    pub server_key_sha256: String,
    /// SHA-256 (lower-case hex) of the director repository's first root.
    pub director_root_sha256: String,
    /// The audit log (JSON lines) that the sensor watches; a network sensor has none.
    #[serde(default)]
    pub audit_log: Option<PathBuf>,
    /// Where the sensor writes its logs; `None`: below its folder.
    #[serde(default)]
    pub logs_path: Option<PathBuf>,
    /// The user that engines run as where the sensor itself runs as root.
    #[serde(default)]
    pub engine_user: Option<String>,
    /// The user that the sensor runs as; `None`: the updater's.
    #[serde(default)]
    pub sensor_user: Option<String>,
    /// The unit of systemd that runs the sensor; `None`: it is the updater's child.
    #[serde(default)]
    pub sensor_unit: Option<String>,
    /// The unit of systemd whose service is watched here; a major release may need it restarted.
    #[serde(default)]
    pub watched_unit: Option<String>,
    /// Whether this sensor asks for the delayed ring.
    #[serde(default)]
    pub delayed: bool,
    /// The proxy on the way to the gateway.
    #[serde(default)]
    pub proxy: Option<ProxyConfig>,
}

/// Why the host's settings could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HostConfigError {
    /// The file cannot be opened, read, written or renamed.
    #[error("the host's settings {path} cannot be used; check that the folder exists and belongs to this service")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any real one.
    #[error("the host's settings {path} are larger than {FILE_LIMIT} bytes; run setup again")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not the JSON that setup writes.
    #[error("the host's settings {path} are not valid; run setup again")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl HostConfig {
    /// Where the settings of the host folder `root` are.
    #[must_use]
    pub fn path(root: &Path) -> PathBuf {
        root.join("etc").join("updater.json")
    }

    /// The hash of the server's key; `None`: the settings name none that is whole.
    #[must_use]
    pub fn server_key(&self) -> Option<ServerKey> {
        self.server_key_sha256.parse().ok()
    }

    /// Reads the settings of the host folder `root`.
    ///
    /// # Errors
    /// When the file is missing, too large or not what setup writes.
    pub fn read(root: &Path) -> Result<Self, HostConfigError> {
        let path = Self::path(root);
        let mut bytes = Vec::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
            .map_err(|source| HostConfigError::Io { path: path.clone(), source })?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(HostConfigError::TooLarge { path });
        }
        serde_json::from_slice(&bytes).map_err(|source| HostConfigError::Invalid { path, source })
    }

    /// Writes the settings of the host folder `root`, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be made or the file cannot be written.
    pub fn write(&self, root: &Path) -> Result<(), HostConfigError> {
        let path = Self::path(root);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| HostConfigError::Invalid { path: path.clone(), source })?;
        write_whole(&path, &text).map_err(|source| HostConfigError::Io { path, source })
    }
}

/// Temporary file for its owner alone, fsync, rename, fsync of the folder.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(bytes)?;
    // Whoever could read the file before it is replaced still can: the sensor may be another user.
    if let Ok(before) = std::fs::metadata(path) {
        chown(temporary.path(), None, Some(before.gid()))?;
        std::fs::set_permissions(temporary.path(), before.permissions())?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|refused| refused.error)?;
    std::fs::File::open(folder)?.sync_all()
}

/// The settings of some host.
#[cfg(test)]
pub(crate) fn sample() -> HostConfig {
    HostConfig {
        name: "dc1".into(),
        sensor_type: "domainControllerIntegrated".into(),
        domain: Some("lab.test".into()),
        site: None,
        zone: None,
        server: "127.0.0.1:8443".into(),
        server_key_sha256: "00".repeat(32),
        director_root_sha256: "11".repeat(32),
        audit_log: Some("/var/log/samba/audit.json".into()),
        logs_path: None,
        engine_user: None,
        sensor_user: None,
        sensor_unit: None,
        watched_unit: None,
        delayed: false,
        proxy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        sample().write(root.path()).unwrap();
        assert_eq!(HostConfig::read(root.path()).unwrap(), sample());
    }

    #[test]
    fn who_could_read_the_settings_still_can_after_they_were_written_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        sample().write(root.path()).unwrap();
        let path = HostConfig::path(root.path());
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600, "nobody else's at first");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        sample().write(root.path()).unwrap();
        assert_eq!(mode(), 0o640);
    }

    #[test]
    fn unknown_fields_are_ignored_and_garbage_is_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let mut value = serde_json::to_value(sample()).unwrap();
        value["laterField"] = serde_json::json!(1);
        std::fs::write(HostConfig::path(root.path()), value.to_string()).unwrap();
        assert_eq!(HostConfig::read(root.path()).unwrap(), sample());
        std::fs::write(HostConfig::path(root.path()), "{").unwrap();
        assert!(matches!(HostConfig::read(root.path()), Err(HostConfigError::Invalid { .. })));
        std::fs::write(HostConfig::path(root.path()), vec![b' '; 70_000]).unwrap();
        assert!(matches!(HostConfig::read(root.path()), Err(HostConfigError::TooLarge { .. })));
    }
}
