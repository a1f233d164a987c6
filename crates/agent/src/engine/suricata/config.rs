//! What Suricata is told: its `suricata.yaml`, rendered from a few values. Pure.
//!
//! Every value that came from elsewhere is written as a quoted YAML text, so that none can become a key. What a rule may
//! do beyond looking at packets (scripts, files written by data sets) is switched off.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What counts as home when nobody says what does: the private ranges (decision 29).
pub const PRIVATE_NETWORKS: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
/// The least that Suricata takes as the size of one packet file.
const SMALLEST_PACKET_FILE: u64 = 4 * 1024 * 1024;
/// The cluster of the first interface; each has its own.
const FIRST_CLUSTER: usize = 99;

/// What the configuration is rendered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuricataSettings {
    /// What it listens on.
    pub interfaces: BTreeSet<String>,
    /// What counts as home, as CIDR blocks; none: [`PRIVATE_NETWORKS`].
    pub home_networks: BTreeSet<String>,
    /// Where it may write: its log and the packets of alerts.
    pub log_folder: PathBuf,
    /// The one file with all rules.
    pub rules_file: PathBuf,
    /// The socket that events go to.
    pub eve_socket: PathBuf,
    /// The socket that it makes to be asked on.
    pub control_socket: PathBuf,
    /// Bytes of packets that are kept in all.
    pub packet_bytes: u64,
    /// In how many files.
    pub packet_files: u32,
    /// Threads for each interface.
    pub threads: u32,
}

/// The text of `suricata.yaml`.
#[must_use]
pub fn render(settings: &SuricataSettings) -> String {
    let mut yaml = String::from("%YAML 1.1\n---\n");
    // Writing to a text cannot fail.
    let _ = write!(
        yaml,
        "vars:\n  address-groups:\n    HOME_NET: {}\n{GROUPS}\
         default-log-dir: {}\ndefault-rule-path: {}\nrule-files:\n  - {}\n{FIXED}outputs:\n  - eve-log:\n      \
         enabled: yes\n      filetype: unix_stream\n      filename: {}\n{EVE}  - pcap-log:\n      enabled: yes\n      \
         filename: packets.pcap\n      mode: normal\n      conditional: alerts\n      limit: {}\n      max-files: {}\n\
         unix-command:\n  enabled: yes\n  filename: {}\naf-packet:\n",
        quoted(&home(&settings.home_networks)),
        quoted_path(&settings.log_folder),
        quoted_path(settings.rules_file.parent().unwrap_or(Path::new("/"))),
        quoted_path(&settings.rules_file),
        quoted_path(&settings.eve_socket),
        (settings.packet_bytes / u64::from(settings.packet_files.max(1))).max(SMALLEST_PACKET_FILE),
        settings.packet_files.max(1),
        quoted_path(&settings.control_socket),
    );
    for (cluster, interface) in (FIRST_CLUSTER..).zip(&settings.interfaces) {
        let _ = write!(
            yaml,
            "  - interface: {}\n    cluster-id: {cluster}\n    cluster-type: cluster_flow\n    defrag: yes\n    \
             use-mmap: yes\n    tpacket-v3: yes\n    threads: {}\n",
            quoted(interface),
            settings.threads.max(1),
        );
    }
    yaml
}

/// The networks of home as Suricata writes them.
fn home(networks: &BTreeSet<String>) -> String {
    if networks.is_empty() {
        return format!("[{}]", PRIVATE_NETWORKS.join(","));
    }
    let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
    format!("[{}]", networks.join(","))
}

/// A YAML text between double quotes. What no value here may hold is left out rather than escaped.
fn quoted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 2);
    safe.push('"');
    for character in text.chars().filter(|character| !character.is_control()) {
        if matches!(character, '"' | '\\') {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe.push('"');
    safe
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The groups that published rules use.
const GROUPS: &str = r#"    EXTERNAL_NET: "!$HOME_NET"
    HTTP_SERVERS: "$HOME_NET"
    SMTP_SERVERS: "$HOME_NET"
    SQL_SERVERS: "$HOME_NET"
    DNS_SERVERS: "$HOME_NET"
    TELNET_SERVERS: "$HOME_NET"
    AIM_SERVERS: "$EXTERNAL_NET"
    DC_SERVERS: "$HOME_NET"
    DNP3_SERVER: "$HOME_NET"
    DNP3_CLIENT: "$HOME_NET"
    MODBUS_CLIENT: "$HOME_NET"
    MODBUS_SERVER: "$HOME_NET"
    ENIP_CLIENT: "$HOME_NET"
    ENIP_SERVER: "$HOME_NET"
  port-groups:
    HTTP_PORTS: "80"
    SHELLCODE_PORTS: "!80"
    ORACLE_PORTS: 1521
    SSH_PORTS: 22
    DNP3_PORTS: 20000
    MODBUS_PORTS: 502
    FILE_DATA_PORTS: "[$HTTP_PORTS,110,143]"
    FTP_PORTS: 21
    GENEVE_PORTS: 6081
    VXLAN_PORTS: 4789
    TEREDO_PORTS: 3544
"#;

/// What does not depend on the host. Without `stats` there is no `dump-counters`; nothing of it goes to a file.
const FIXED: &str = r#"classification-file: /etc/suricata/classification.config
reference-config-file: /etc/suricata/reference.config
stats:
  enabled: yes
  interval: 10
logging:
  default-log-level: notice
  outputs:
    - console: { enabled: yes }
datasets: { rules: { allow-write: no, allow-absolute-filenames: no } }
security: { limit-noproc: yes, lua: { allow-rules: no } }
runmode: workers
max-pending-packets: 1024
flow: { memcap: 64mb, hash-size: 16384, prealloc: 1000 }
stream: { memcap: 32mb, checksum-validation: no, reassembly: { memcap: 64mb } }
defrag: { memcap: 8mb, hash-size: 16384, prealloc: 100, max-frags: 16384, trackers: 1000, timeout: 60 }
host: { hash-size: 1024, prealloc: 100, memcap: 8mb }
detect: { profile: medium, delayed-detect: no }
app-layer:
  protocols:
    krb5: { enabled: yes }
    snmp: { enabled: yes }
    tls: { enabled: yes, detection-ports: { dp: 443 } }
    http: { enabled: yes }
    smb: { enabled: yes, detection-ports: { dp: "139, 445" } }
    dns:
      tcp: { enabled: yes, detection-ports: { dp: 53 } }
      udp: { enabled: yes, detection-ports: { dp: 53 } }
    dhcp: { enabled: yes }
    modbus: { enabled: yes, detection-ports: { dp: 502 }, stream-depth: 0 }
    dnp3: { enabled: yes, detection-ports: { dp: 20000 } }
    enip: { enabled: yes, detection-ports: { dp: 44818, sp: 44818 } }
    ftp: { enabled: yes }
    ssh: { enabled: yes }
    smtp: { enabled: yes }
    rfb: { enabled: yes }
    ntp: { enabled: yes }
    rdp: { enabled: yes }
    ike: { enabled: yes }
    dcerpc: { enabled: yes }
"#;

/// Which events come. `enip` has no logger in 7.0: naming it is fatal.
const EVE: &str = r"      ethernet: yes
      types:
        - alert: { payload: yes, payload-buffer-size: 4kb, payload-printable: no, packet: yes, metadata: yes }
        - flow
        - dns
        - dhcp: { enabled: yes, extended: yes }
        - krb5
        - smb
        - tls: { extended: no }
        - http: { extended: no }
        - modbus
        - dnp3
        - anomaly: { enabled: yes, types: { decode: no, stream: no, applayer: yes } }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_a_key() {
        assert_eq!(quoted("eth0\"\n  x: \\y"), "\"eth0\\\"  x: \\\\y\"");
    }

    #[test]
    fn home_is_the_private_ranges_unless_somebody_says_otherwise() {
        assert_eq!(home(&BTreeSet::new()), "[10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7]");
        assert_eq!(home(&BTreeSet::from(["10.1.0.0/16".to_owned()])), "[10.1.0.0/16]");
    }
}
