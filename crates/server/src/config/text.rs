//! The configuration file that `watchpost init` writes: every key with its default and what it is for.

use std::net::SocketAddr;

/// The text of a new configuration. It lies in the server's folder, so that folder is “.”.
#[must_use]
pub fn starting_text(portal: SocketAddr, gateway: SocketAddr) -> String {
    format!(
        r#"# Configuration of a Watchpost server. Read at start; unknown keys are refused.

# The server's folder: database, keys, repositories. Relative to this file.
data_dir = "."

[portal]
# Where the portal and the API listen. Without a certificate only a loopback address is allowed.
listen = "{portal}"
# Certificate chain and private key, both PEM; TLS 1.2 and 1.3.
# tls = {{ certificate = "portal.pem", private_key = "portal.key" }}

[gateway]
# Where sensor hosts call: TLS 1.3 with client certificates.
listen = "{gateway}"
# The name and port by which hosts call it, for the list of places that have to be reached.
# address = "gateway.corp.example:8443"

[limits]
# Largest release package that is taken, in bytes.
package_bytes = 536870912

# A domain whose directory is asked whether the domain controllers with sensors still exist; one section per domain.
# [[directory]]
# domain = "corp.example"
# Asked in turn. The certificate must bear the name that is written here.
# servers = ["dc1.corp.example:636", "dc2.corp.example:636"]
# ldaps, or starttls (port 389). There is no way without TLS.
# tls = "ldaps"
# Who signs the certificates of these servers, PEM.
# ca_file = "directory-ca.pem"
# An ordinary account that may read the domain: a DN, user@domain or DOMAIN\user.
# bind_dn = "watchpost@corp.example"
# The password and nothing else; readable by the server alone. It is read anew before every look.
# password_file = "directory-password"
# Time between two looks.
# check_every = "PT5M"
"#
    )
}
