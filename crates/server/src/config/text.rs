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

[limits]
# Largest release package that is taken, in bytes.
package_bytes = 536870912
"#
    )
}
