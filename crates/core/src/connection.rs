//! The way between a host and its server: what a look at it came to, and whom a host must be able to reach at all.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Most characters of what a check says for people.
pub const MESSAGE_CHARS: usize = 300;

/// What the way to the server comes to. The first that is wrong; everything before it is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything is right.
    Ok,
    /// A name has no address: the server's, or the proxy's where there is one.
    NameNotResolved,
    /// Nothing answers at the server's address.
    NoConnection,
    /// Nothing answers at the proxy's address.
    ProxyUnreachable,
    /// The proxy wants credentials, or other ones.
    ProxyAuthentication,
    /// The proxy opens no way to the server.
    ProxyRefused,
    /// What answers at the proxy's address is none.
    NoProxy,
    /// Who answers speaks no TLS 1.3.
    TlsTooOld,
    /// Something on the way opens TLS.
    Intercepted,
    /// Another server answers.
    Untrusted,
    /// TLS failed for another reason.
    TlsFailed,
    /// No answer in time, or none to its end.
    NoAnswer,
    /// What answers is no gateway.
    NoGateway,
    /// The server asks this host to come back later.
    RateLimited,
    /// The server is starting, stopping or failing.
    Unavailable,
    /// The server knows no sensor with this host's certificate: never enrolled, deleted, or revoked.
    UnknownKey,
    /// The host's clock is far from the server's. Nothing rests on it; what it writes down is dated wrong.
    ClockWrong,
    /// This host itself is not fit to ask.
    HostBroken,
}

impl Verdict {
    /// Whether the other side said no, as opposed to something having failed.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::UnknownKey | Self::RateLimited | Self::ProxyAuthentication | Self::ProxyRefused)
    }
}

/// Why there is a look to tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Occasion {
    /// Somebody ran `check-connection` on the host.
    ByHand,
    /// The host could not check in for a while.
    Trouble,
}

/// The last look of a host at its way to the server, as far as there was a reason to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCheck {
    /// What it came to.
    pub verdict: Verdict,
    /// When, by the host's clock; of a trouble, when it began.
    pub at: Timestamp,
    /// Why it looked.
    pub occasion: Occasion,
    /// For people.
    pub message: String,
}

impl ConnectionCheck {
    /// A look of a host, with its message cut to what is told.
    #[must_use]
    pub fn new(verdict: Verdict, at: Timestamp, occasion: Occasion, message: &str) -> Self {
        let plain = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self { verdict, at, occasion, message: plain.take(MESSAGE_CHARS).collect() }
    }

    /// The same, whoever sent it, with nothing in it that a terminal or a row would suffer from.
    #[must_use]
    pub fn cleaned(&self) -> Self {
        Self::new(self.verdict, self.at, self.occasion, &self.message)
    }
}

/// Who opens a connection. Nobody ever opens one to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opener {
    /// Every host of a sensor.
    Host,
    /// The control plane.
    ControlPlane,
    /// Browsers and scripts of people.
    People,
}

impl Opener {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ControlPlane => "controlPlane",
            Self::People => "people",
        }
    }
}

/// A place that somebody must be able to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Who opens the connection.
    pub from: Opener,
    /// Name or address; `None`: the configuration does not say.
    pub host: Option<String>,
    /// TCP port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: &'static str,
    /// What for.
    pub purpose: String,
}

/// What the configuration says of places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The gateway, as hosts call it.
    pub gateway: (Option<String>, u16),
    /// The portal and the API, and whether with TLS.
    pub portal: (Option<String>, u16, bool),
    /// The directory servers of each domain.
    pub directories: Vec<(String, String, u16)>,
}

/// Every place that has to be reached, and nothing else: a firewall may close the rest.
#[must_use]
pub fn endpoints(places: &Places) -> Vec<Endpoint> {
    let (host, port) = places.gateway.clone();
    let purpose = "enrolment, check-ins, signed metadata, packages, evidence".to_owned();
    let mut all =
        vec![Endpoint { from: Opener::Host, host, port, protocol: "TLS 1.3, with a client certificate", purpose }];
    let (host, port, is_secure) = places.portal.clone();
    let protocol = if is_secure { "HTTPS" } else { "HTTP, on that machine alone" };
    all.push(Endpoint { from: Opener::People, host, port, protocol, purpose: "portal and API".to_owned() });
    for (domain, host, port) in &places.directories {
        all.push(Endpoint {
            from: Opener::ControlPlane,
            host: Some(host.clone()),
            port: *port,
            protocol: "LDAP with TLS",
            purpose: format!("asking which domain controllers of {domain} exist"),
        });
    }
    all
}

/// The rows as CSV, with a heading; a text that a spreadsheet would take for a formula is not among them.
#[must_use]
pub fn csv(endpoints: &[Endpoint]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut lines = "from,direction,host,port,transport,protocol,purpose\r\n".to_owned();
    for endpoint in endpoints {
        let host = endpoint.host.as_deref().unwrap_or_default();
        let (protocol, purpose) = (quoted(endpoint.protocol), quoted(&endpoint.purpose));
        let (from, port) = (endpoint.from.word(), endpoint.port);
        lines.push_str(&format!("{from},outbound,{},{port},tcp,{protocol},{purpose}\r\n", quoted(host)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_reaches_one_place_and_the_list_says_what_the_configuration_says() {
        let places = Places {
            gateway: (Some("gw.corp.example".to_owned()), 8443),
            portal: (None, 443, true),
            directories: vec![("corp.example".to_owned(), "dc1.corp.example".to_owned(), 636)],
        };
        let all = endpoints(&places);
        let from_hosts: Vec<_> = all.iter().filter(|endpoint| endpoint.from == Opener::Host).collect();
        assert_eq!(from_hosts.len(), 1);
        assert_eq!((from_hosts[0].host.as_deref(), from_hosts[0].port), (Some("gw.corp.example"), 8443));
        let text = csv(&all);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "host,outbound,\"gw.corp.example\",8443,tcp,\"TLS 1.3, with a client certificate\",\
             \"enrolment, check-ins, signed metadata, packages, evidence\""
        );
        assert!(lines[2].starts_with("people,outbound,\"\",443,tcp,\"HTTPS\""), "{text}");
        assert!(lines[3].starts_with("controlPlane,outbound,\"dc1.corp.example\",636,tcp"), "{text}");
    }

    #[test]
    fn what_a_host_says_is_one_short_line() {
        let check =
            ConnectionCheck::new(Verdict::NoAnswer, Timestamp::from_millis(0), Occasion::ByHand, &"a\n".repeat(400));
        assert_eq!(check.message.chars().count(), MESSAGE_CHARS);
        assert!(!check.message.contains('\n'));
        let evil = ConnectionCheck { message: "\u{1b}[2J".repeat(200), ..check };
        assert!(evil.cleaned().message.chars().count() == MESSAGE_CHARS && !evil.cleaned().message.contains('\u{1b}'));
    }
}
