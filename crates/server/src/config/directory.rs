//! `[[directory]]`: a domain whose directory is asked which domain controllers still exist.
//!
//! It never holds a password, only the name of the file with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use watchpost_core::policy::DirectoryPolicy;
use watchpost_core::time::{format_duration, parse_duration};

use super::ConfigError;

/// Most domains.
const MAX_DIRECTORIES: usize = 64;
/// Most servers of one domain.
const MAX_SERVERS: usize = 16;
/// Longest name of a domain, a server or an account.
const MAX_NAME: usize = 512;
/// The shortest and the longest time between two looks.
const CHECK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
/// Port of LDAP over TLS.
const LDAPS_PORT: u16 = 636;
/// Port of LDAP, where TLS is asked for.
const LDAP_PORT: u16 = 389;

/// How the connection is protected. There is no way without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// TLS from the first byte.
    Ldaps,
    /// TLS after the StartTLS operation, before anything else.
    StartTls,
}

/// One server of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryServer {
    /// The name its certificate must bear, or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySettings {
    /// Its name (FQDN), in lower case.
    pub domain: String,
    /// Its servers, asked in turn.
    pub servers: Vec<DirectoryServer>,
    /// How the connection is protected.
    pub tls: Protection,
    /// Who signs its servers' certificates, PEM.
    pub ca_file: PathBuf,
    /// The account that asks: a DN, `user@domain` or `DOMAIN\user`.
    pub bind_dn: String,
    /// File with its password and nothing else.
    pub password_file: PathBuf,
    /// Time between two looks.
    pub check_every: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectoryPart {
    domain: String,
    servers: Vec<String>,
    tls: Protection,
    ca_file: PathBuf,
    bind_dn: String,
    password_file: PathBuf,
    check_every: Option<String>,
}

impl std::fmt::Display for DirectoryServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_ipv6 = self.host.contains(':');
        if is_ipv6 { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Checks all `[[directory]]` sections; paths are relative to `folder`.
pub(super) fn check(parts: Vec<DirectoryPart>, folder: &Path) -> Result<Vec<DirectorySettings>, ConfigError> {
    if parts.len() > MAX_DIRECTORIES {
        return Err(wrong("directory", format!("there are {} of them; at most {MAX_DIRECTORIES}", parts.len())));
    }
    let mut checked: Vec<DirectorySettings> = Vec::new();
    for part in parts {
        let one = check_one(part, folder)?;
        if checked.iter().any(|other| other.domain == one.domain) {
            let why = format!("{} is there twice; name all its servers in one section", one.domain);
            return Err(wrong("directory.domain", why));
        }
        checked.push(one);
    }
    Ok(checked)
}

fn check_one(part: DirectoryPart, folder: &Path) -> Result<DirectorySettings, ConfigError> {
    let domain = part.domain.to_ascii_lowercase();
    let is_domain = is_host(&domain) && domain.contains('.') && domain.len() <= MAX_NAME;
    if !is_domain {
        let why = format!("“{}” is no fully qualified domain name; write one such as corp.example", part.domain);
        return Err(wrong("directory.domain", why));
    }
    if part.servers.is_empty() || part.servers.len() > MAX_SERVERS {
        let why = format!("{} has {} servers; name 1 to {MAX_SERVERS}", domain, part.servers.len());
        return Err(wrong("directory.servers", why));
    }
    let servers = part.servers.iter().map(|text| server(text, part.tls)).collect::<Result<_, _>>()?;
    if part.bind_dn.is_empty() || part.bind_dn.len() > MAX_NAME || part.bind_dn.chars().any(char::is_control) {
        let why = "name the account that asks: a DN, user@domain or DOMAIN\\user; asking as nobody is not supported";
        return Err(wrong("directory.bind_dn", why));
    }
    let check_every = match &part.check_every {
        None => DirectoryPolicy::default().check_every,
        Some(text) => parse_duration(text).map_err(|error| wrong("directory.check_every", error.to_string()))?,
    };
    if check_every < CHECK_EVERY.0 || check_every > CHECK_EVERY.1 {
        let (least, most) = (format_duration(CHECK_EVERY.0), format_duration(CHECK_EVERY.1));
        return Err(wrong("directory.check_every", format!("write {least} to {most}")));
    }
    Ok(DirectorySettings {
        domain,
        servers,
        tls: part.tls,
        ca_file: folder.join(part.ca_file),
        bind_dn: part.bind_dn,
        password_file: folder.join(part.password_file),
        check_every,
    })
}

fn server(text: &str, tls: Protection) -> Result<DirectoryServer, ConfigError> {
    let usual = match tls {
        Protection::Ldaps => LDAPS_PORT,
        Protection::StartTls => LDAP_PORT,
    };
    let refuse = || wrong("directory.servers", format!("“{text}” is no server; write dc1.corp.example:636"));
    let (host, port) = match (text.strip_prefix('['), text.rsplit_once(':')) {
        (Some(rest), _) => {
            let (host, port) = rest.split_once(']').ok_or_else(refuse)?;
            (host, port.strip_prefix(':'))
        }
        (None, Some((host, port))) => (host, Some(port)),
        (None, None) => (text, None),
    };
    let port = port.map_or(Ok(usual), |port| port.parse().map_err(|_| refuse()))?;
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    if port == 0 || host.len() > MAX_NAME || !(is_address || is_host(host)) {
        return Err(refuse());
    }
    Ok(DirectoryServer { host: host.to_owned(), port })
}

fn is_host(text: &str) -> bool {
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    text.split('.').all(is_label)
}

fn wrong(key: &'static str, why: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn parse(extra: &str) -> Result<Vec<DirectorySettings>, String> {
        let text = format!(
            "data_dir = \".\"\n[[directory]]\ndomain = \"Lab.test\"\nca_file = \"ca.pem\"\nbind_dn = \"watch@lab.test\"\n\
             password_file = \"/etc/pw\"\n{extra}\n"
        );
        let settings = Settings::parse(&text, Path::new("/srv")).map_err(|error| error.to_string())?;
        Ok(settings.directories)
    }

    #[test]
    fn a_section_is_read_with_its_defaults() {
        let one = parse("servers = [\"dc1.lab.test\", \"10.0.0.1:3269\", \"[fd00::1]:636\"]\ntls = \"ldaps\"").unwrap();
        let servers: Vec<_> = one[0].servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["dc1.lab.test:636", "10.0.0.1:3269", "[fd00::1]:636"]);
        assert_eq!(one[0].domain, "lab.test");
        assert_eq!(one[0].check_every, Duration::from_secs(300));
        assert_eq!(one[0].ca_file, Path::new("/srv/ca.pem"));
        let one = parse("servers = [\"dc1.lab.test\"]\ntls = \"starttls\"\ncheck_every = \"PT1M\"").unwrap();
        assert_eq!((one[0].servers[0].port, one[0].check_every), (389, Duration::from_secs(60)));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        for (extra, key) in [
            ("servers = []\ntls = \"ldaps\"", "key directory.servers"),
            ("servers = [\"ldap://dc1\"]\ntls = \"ldaps\"", "key directory.servers"),
            ("servers = [\"dc1.lab.test:0\"]\ntls = \"ldaps\"", "key directory.servers"),
            ("servers = [\"dc1.lab.test\"]\ntls = \"none\"", "key directory[0].tls"),
            ("servers = [\"dc1.lab.test\"]\ntls = \"ldaps\"\ncheck_every = \"PT0S\"", "key directory.check_every"),
            ("servers = [\"dc1.lab.test\"]\ntls = \"ldaps\"\npassword = \"x\"", "key directory[0].password"),
        ] {
            let refused = parse(extra).unwrap_err();
            assert!(refused.starts_with(key), "{extra}: {refused}");
        }
    }
}
