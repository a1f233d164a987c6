//! The configuration file: TOML with comments, every key known, every value checked before anything starts.

mod directory;
mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use directory::{DirectoryServer, DirectorySettings, Protection};
pub use text::starting_text;

/// Largest configuration file that is read.
const MAX_CONFIG_BYTES: u64 = 256 * 1024;
/// Where portal and API listen by default.
pub const DEFAULT_PORTAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where sensor hosts call by default.
pub const DEFAULT_GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
/// Largest package that is taken by default.
const DEFAULT_PACKAGE_BYTES: u64 = 512 * 1024 * 1024;
/// Largest package that can be allowed.
const MOST_PACKAGE_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// The settings of a server, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's folder.
    pub data_dir: PathBuf,
    /// Where portal and API listen.
    pub portal: SocketAddr,
    /// Certificate chain and private key of the portal, both PEM; `None`: plain HTTP, on loopback only.
    pub tls: Option<TlsFiles>,
    /// Where sensor hosts call.
    pub gateway: SocketAddr,
    /// The name and port by which they call, where that is another one than what is listened on; for people alone.
    pub gateway_address: Option<(String, u16)>,
    /// Largest package that is taken, in bytes.
    pub max_package_bytes: u64,
    /// Directories that are asked which domain controllers still exist.
    pub directories: Vec<DirectorySettings>,
}

/// The portal's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub private_key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: PathBuf,
    #[serde(default)]
    portal: PortalPart,
    #[serde(default)]
    gateway: GatewayPart,
    #[serde(default)]
    limits: LimitsPart,
    #[serde(default)]
    directory: Vec<directory::DirectoryPart>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortalPart {
    listen: Option<SocketAddr>,
    tls: Option<TlsFiles>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayPart {
    listen: Option<SocketAddr>,
    address: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsPart {
    package_bytes: Option<u64>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {file} cannot be read; make one with `watchpost init --data-dir DIR`")]
    Read {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is absurdly large.
    #[error("the configuration {0} is larger than {MAX_CONFIG_BYTES} bytes; that is no configuration of ours")]
    TooLarge(PathBuf),
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("key {key}: {why}")]
    Syntax {
        /// Path of the key.
        key: String,
        /// What the parser says.
        why: String,
    },
    /// A value that cannot be.
    #[error("key {key}: {why}")]
    Value {
        /// Path of the key.
        key: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
}

impl Settings {
    /// Reads and checks a configuration file. Relative paths in it are relative to it.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown key, or a value cannot be.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Read { file: file.to_owned(), source };
        if std::fs::metadata(file).map_err(unreadable)?.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge(file.to_owned()));
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let folder = std::path::absolute(file).map_err(unreadable)?;
        Self::parse(&text, folder.parent().unwrap_or(Path::new("/")))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let syntax = |key: String, error: toml::de::Error| ConfigError::Syntax { key, why: error.message().to_owned() };
        let document = toml::Deserializer::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |at| text.get(..at.start).unwrap_or(text).lines().count().max(1));
            syntax(format!("on line {line}"), error)
        })?;
        let file: File = serde_path_to_error::deserialize(document)
            .map_err(|error| syntax(error.path().to_string(), error.into_inner()))?;
        let tls = file.portal.tls.map(|tls| TlsFiles {
            certificate: folder.join(tls.certificate),
            private_key: folder.join(tls.private_key),
        });
        let portal = file.portal.listen.unwrap_or(DEFAULT_PORTAL);
        if tls.is_none() && !portal.ip().is_loopback() {
            let why = format!(
                "{portal} can be reached from other machines, and there plain HTTP is not allowed; set [portal.tls], or listen on 127.0.0.1"
            );
            return Err(ConfigError::Value { key: "portal.listen", why });
        }
        let max_package_bytes = file.limits.package_bytes.unwrap_or(DEFAULT_PACKAGE_BYTES);
        if max_package_bytes == 0 || max_package_bytes > MOST_PACKAGE_BYTES {
            let why = format!("{max_package_bytes} is out of range; write 1 to {MOST_PACKAGE_BYTES}");
            return Err(ConfigError::Value { key: "limits.package_bytes", why });
        }
        let gateway = file.gateway.listen.unwrap_or(DEFAULT_GATEWAY);
        let gateway_address = file.gateway.address.as_deref().map(address).transpose()?;
        let directories = directory::check(file.directory, folder)?;
        Ok(Self {
            data_dir: folder.join(file.data_dir),
            portal,
            tls,
            gateway,
            gateway_address,
            max_package_bytes,
            directories,
        })
    }
}

/// A name or address with its port, `gateway.example:8443`.
fn address(text: &str) -> Result<(String, u16), ConfigError> {
    let refuse = || {
        let why = format!("“{text}” is no name with a port; write it as hosts call it, gateway.corp.example:8443");
        ConfigError::Value { key: "gateway.address", why }
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
    let port = port.parse::<u16>().ok().filter(|port| *port > 0 && is_host).ok_or_else(refuse)?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("/srv/watchpost")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_starting_text_is_valid_and_means_the_defaults() {
        let settings = parse(&starting_text(DEFAULT_PORTAL, DEFAULT_GATEWAY)).unwrap();
        assert_eq!(settings, parse("data_dir = \".\"").unwrap());
        assert_eq!(settings.data_dir, Path::new("/srv/watchpost/."));
        assert_eq!(settings.max_package_bytes, 536_870_912);
    }

    #[test]
    fn an_unknown_key_is_refused_by_its_path() {
        let refused = parse("data_dir = \".\"\n[portal]\nlsten = \"127.0.0.1:1\"\n").unwrap_err();
        assert_eq!(refused, "key portal.lsten: unknown field `lsten`, expected `listen` or `tls`");
        let refused = parse("data_dir = \".\"\n[limits]\npackage_bytes = \"many\"\n").unwrap_err();
        assert!(refused.starts_with("key limits.package_bytes: invalid type"), "{refused}");
        assert!(parse("data_dir = \".\"\n[portal\n").unwrap_err().starts_with("key on line 2"));
    }

    #[test]
    fn the_gateways_address_is_a_name_with_a_port() {
        let gateway = |address: &str| parse(&format!("data_dir = \".\"\n[gateway]\naddress = \"{address}\"\n"));
        let settings = gateway("gw.corp.example:8443").unwrap();
        assert_eq!(settings.gateway_address, Some(("gw.corp.example".to_owned(), 8443)));
        for bad in ["gw.corp.example", "https://gw:8443", "gw:0", ":8443", "gw\u{20}x:1"] {
            assert!(gateway(bad).unwrap_err().starts_with("key gateway.address"), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        let refused = parse("data_dir = \".\"\n[portal]\nlisten = \"0.0.0.0:80\"\n").unwrap_err();
        assert!(refused.starts_with("key portal.listen: 0.0.0.0:80 can be reached"), "{refused}");
        let tls = "data_dir = \".\"\n[portal]\nlisten = \"0.0.0.0:443\"\ntls = { certificate = \"c.pem\", private_key = \"k.pem\" }";
        assert_eq!(parse(tls).unwrap().tls.unwrap().certificate, Path::new("/srv/watchpost/c.pem"));
    }
}
