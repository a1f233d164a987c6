//! The proxy of a host: its address in `etc/updater.json`, its password beside it in a file that only root may read.
//!
//! The password is never on a command line that stays, in a log, or in a message.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::disk::read_limited;
use crate::host_config::{HostConfig, HostConfigError, write_whole};
use crate::transport::{Credentials, Proxy, ProxyError};

/// The largest password file that is read.
pub const PASSWORD_BYTES: u64 = 1024;

/// What the host's settings say of its proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyConfig {
    /// Its address, `http://host:port`.
    pub url: String,
    /// Who this host is to it; `None`: it asks nobody.
    #[serde(default)]
    pub user_name: Option<String>,
}

/// Why the host's proxy cannot be used or set.
#[derive(Debug, thiserror::Error)]
pub enum ProxyConfigError {
    /// The address or the credentials are none.
    #[error("the proxy cannot be used")]
    Proxy(#[from] ProxyError),
    /// A user without a password.
    #[error("the proxy's user has no password: name a file with it, --proxy-user-password-file")]
    NoPassword,
    /// A password without a user.
    #[error("the proxy's password belongs to nobody: name its user, --proxy-user-name")]
    NoUser,
    /// The password cannot be read or written.
    #[error("the proxy's password {path} cannot be used; check that the folder belongs to this service")]
    Password {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The settings cannot be read or written.
    #[error(transparent)]
    Config(#[from] HostConfigError),
}

/// Where the password of the host folder `root` is.
#[must_use]
pub fn password_path(root: &Path) -> PathBuf {
    root.join("etc").join("proxy-password")
}

/// Credentials of a user and the text of a password file; a line's end after the password is none of it.
///
/// # Errors
/// When one of the two is missing.
pub fn credentials(
    user_name: Option<String>,
    password: Option<String>,
) -> Result<Option<Credentials>, ProxyConfigError> {
    match (user_name, password) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(ProxyConfigError::NoPassword),
        (None, Some(_)) => Err(ProxyConfigError::NoUser),
        (Some(user_name), Some(password)) => {
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            Ok(Some(Credentials { user_name, password }))
        }
    }
}

/// The proxy that the settings of the host folder `root` name, with its password.
///
/// # Errors
/// When they name one that cannot be used.
pub fn proxy_of(root: &Path, config: &HostConfig) -> Result<Option<Proxy>, ProxyConfigError> {
    let Some(ProxyConfig { url, user_name }) = &config.proxy else { return Ok(None) };
    let password = match user_name {
        Some(_) => Some(read_password(&password_path(root))?),
        None => None,
    };
    let credentials = credentials(user_name.clone(), password)?;
    Ok(Some(Proxy::new(url, credentials.as_ref())?))
}

/// Reads a password file.
///
/// # Errors
/// When it is missing, too large, or no text.
pub fn read_password(path: &Path) -> Result<String, ProxyConfigError> {
    let failed = |source| ProxyConfigError::Password { path: path.to_owned(), source };
    let found = read_limited(path, PASSWORD_BYTES).map_err(failed)?;
    let bytes = found.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    String::from_utf8(bytes).map_err(|_| failed(io::ErrorKind::InvalidData.into()))
}

/// Keeps the password of a proxy that is about to be named in the settings: before them, so that settings never name a
/// user whose password is not there.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn keep_password(root: &Path, credentials: Option<&Credentials>) -> Result<(), ProxyConfigError> {
    let Some(credentials) = credentials else { return Ok(()) };
    let path = password_path(root);
    let failed = |source| ProxyConfigError::Password { path: path.clone(), source };
    write_whole(&path, credentials.password.as_bytes()).map_err(failed)
}

/// Sets or clears the proxy of a host that is set up. The running updater takes it at its next start.
///
/// # Errors
/// When the host is not set up, or the proxy cannot be used or kept. What was set before still holds then.
pub fn set_proxy(root: &Path, url: Option<&str>, credentials: Option<&Credentials>) -> Result<(), ProxyConfigError> {
    let mut config = HostConfig::read(root)?;
    config.proxy = match url {
        Some(url) => {
            Proxy::new(url, credentials)?;
            keep_password(root, credentials)?;
            Some(ProxyConfig { url: url.to_owned(), user_name: credentials.map(|who| who.user_name.clone()) })
        }
        None => None,
    };
    config.write(root)?;
    if credentials.is_none() {
        let path = password_path(root);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(ProxyConfigError::Password { path, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::host_config::sample;

    fn clerk() -> Credentials {
        Credentials { user_name: "CORP\\clerk".into(), password: "s3cret".into() }
    }

    #[test]
    fn a_proxy_that_was_set_is_used_and_its_password_is_for_the_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        sample().write(root.path()).unwrap();
        set_proxy(root.path(), Some("http://p:8080"), Some(&clerk())).unwrap();
        let config = HostConfig::read(root.path()).unwrap();
        assert_eq!(proxy_of(root.path(), &config).unwrap().unwrap().to_string(), "p:8080");
        let path = password_path(root.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(HostConfig::path(root.path())).unwrap();
        assert!(text.contains("clerk") && !text.contains("s3cret"), "{text}");
        set_proxy(root.path(), None, None).unwrap();
        assert_eq!(HostConfig::read(root.path()).unwrap(), sample());
        assert!(!path.exists());
    }

    #[test]
    fn what_is_wrong_is_refused_and_what_was_set_before_holds() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(set_proxy(root.path(), Some("p:1"), None), Err(ProxyConfigError::Config(_))));
        sample().write(root.path()).unwrap();
        set_proxy(root.path(), Some("p:1"), None).unwrap();
        let before = HostConfig::read(root.path()).unwrap();
        assert!(matches!(set_proxy(root.path(), Some("https://p:1"), None), Err(ProxyConfigError::Proxy(_))));
        assert_eq!(HostConfig::read(root.path()).unwrap(), before);
        assert!(matches!(credentials(Some("a".into()), None), Err(ProxyConfigError::NoPassword)));
        assert!(matches!(credentials(None, Some("a".into())), Err(ProxyConfigError::NoUser)));
        let read = credentials(Some("a".into()), Some("b c\r\n".into())).unwrap().unwrap();
        assert_eq!(read.password, "b c");
    }

    #[test]
    fn settings_that_name_a_user_without_a_password_are_an_error_and_not_a_direct_way() {
        let root = tempfile::tempdir().unwrap();
        let proxy = Some(ProxyConfig { url: "p:1".into(), user_name: Some("a".into()) });
        let config = HostConfig { proxy, ..sample() };
        assert!(matches!(proxy_of(root.path(), &config), Err(ProxyConfigError::Password { .. })));
    }
}
