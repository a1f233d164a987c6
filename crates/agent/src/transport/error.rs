//! Why talking to the server failed, told apart by what a person or the updater would do about it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use watchpost_protocol::{Code, WireError};

use super::tls::MadeByOthers;

/// Why a request to the server failed. Every request may be repeated; none is half done on the server.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The configured address is no `host:port`.
    #[error("“{0}” is not the address of a server: write host:port, as in watchpost.example:8443")]
    Address(String),
    /// The host's own certificate cannot be used.
    #[error("the client certificate of this host cannot be used; run setup again")]
    Identity(#[source] rustls::Error),
    /// The name of the server has no address.
    #[error("the server's name {host} cannot be resolved; check the name and this host's DNS")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No connection.
    #[error("no connection to {server}; check that the server runs and that no firewall stands between")]
    Connect {
        /// The server.
        server: String,
        /// What the system said about the last address that was tried.
        #[source]
        source: io::Error,
    },
    /// No connection to the proxy.
    #[error("no connection to the proxy {proxy}; check its address and that it runs")]
    ProxyUnreachable {
        /// The proxy.
        proxy: String,
        /// What the system said about the last address that was tried.
        #[source]
        source: io::Error,
    },
    /// The proxy wants credentials, or other ones.
    #[error("the proxy {proxy} {}", if *had_some {
        "refuses the user name and password it was given; correct them with `watchpost-updater proxy`"
    } else {
        "wants a user name and a password; give them with `watchpost-updater proxy`"
    })]
    ProxyAuthentication {
        /// The proxy.
        proxy: String,
        /// Whether it was given any.
        had_some: bool,
    },
    /// The proxy opens no way to the server.
    #[error(
        "the proxy {proxy} answers {status} and opens no way to the server; have it allow CONNECT to its name and port"
    )]
    ProxyRefused {
        /// The proxy.
        proxy: String,
        /// The HTTP status.
        status: u16,
    },
    /// What answers at the proxy's address is none.
    #[error("what answers at {proxy} is no HTTP proxy; check the address")]
    ProxyGarbage {
        /// The proxy.
        proxy: String,
        /// Where reading its answer failed.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// Somebody answers with a key that the access key does not name, self-signed: another server.
    #[error(
        "{server} is not the server this host was told to trust: its key is another one; if the server was set up anew, \
         the host needs a new access key"
    )]
    Untrusted {
        /// The server.
        server: String,
    },
    /// Somebody between answers with a certificate that an authority made: a proxy or firewall that opens TLS.
    #[error(
        "the connection to {server} is intercepted: its certificate was made by “{issuer}”; exempt {server} from TLS \
         inspection"
    )]
    Intercepted {
        /// The server.
        server: String,
        /// Who made the certificate, as it says itself.
        issuer: String,
    },
    /// The server, or who stands between, speaks no TLS 1.3.
    #[error("{server} speaks no TLS 1.3; whatever stands between this host and the server has to let it pass")]
    TlsTooOld {
        /// The server.
        server: String,
    },
    /// The TLS handshake failed for another reason.
    #[error("the TLS handshake with {server} failed; it needs TLS 1.3 from end to end")]
    Tls {
        /// The server.
        server: String,
        /// What TLS said.
        #[source]
        source: io::Error,
    },
    /// The server took too long.
    #[error("{doing} took longer than {}; try again later", seconds(*limit))]
    Timeout {
        /// What it was doing.
        doing: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// The connection ended before the answer did.
    #[error("the connection to the server was lost while {doing}; try again")]
    Lost {
        /// What was going on.
        doing: &'static str,
        /// What the connection said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server understood and said no.
    #[error("the server refused ({word}): {message}")]
    Refused {
        /// The stable word, if this build knows it.
        code: Option<Code>,
        /// The stable word as it came.
        word: String,
        /// Why, for a person.
        message: String,
        /// When the server would like to hear of this host again.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the protocol says.
    #[error("the server's answer makes no sense: {what}")]
    Garbage {
        /// What is wrong with it.
        what: &'static str,
        /// Where reading it failed.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The answer is larger than is read.
    #[error("the server's answer is larger than {limit} bytes")]
    TooLarge {
        /// How much is read.
        limit: u64,
    },
    /// What arrived could not be stored.
    #[error("what was downloaded could not be written; check that the disk has room")]
    Sink(#[source] io::Error),
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

impl TransportError {
    /// The code of a refusal, if this is one that this build knows.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        if let Self::Refused { code, .. } = self { *code } else { None }
    }

    /// Whether the proxy said no: nothing but its settings, or ours, will change that.
    #[must_use]
    pub fn is_refusal_of_proxy(&self) -> bool {
        matches!(self, Self::ProxyAuthentication { .. } | Self::ProxyRefused { .. })
    }

    /// Whether the connection broke or fell silent, so that going on where it stopped makes sense.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Timeout { .. } | Self::Connect { .. } | Self::ProxyUnreachable { .. })
    }

    pub(super) fn garbage(what: &'static str) -> Self {
        Self::Garbage { what, source: None }
    }

    pub(super) fn unreadable(source: WireError) -> Self {
        Self::Garbage { what: "a message does not keep to the protocol", source: Some(Box::new(source)) }
    }

    /// What a failed handshake means.
    pub(super) fn handshake(server: &str, source: io::Error) -> Self {
        let server = server.to_owned();
        match tls_error(&source) {
            Some(rustls::Error::InvalidCertificate(why)) => match issuer(why) {
                Some(issuer) => Self::Intercepted { server, issuer },
                None => Self::Untrusted { server },
            },
            Some(
                rustls::Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig)
                | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
            ) => Self::TlsTooOld { server },
            Some(_) | None => Self::Tls { server, source },
        }
    }

    /// What a failed exchange on an established connection means.
    pub(super) fn exchange(server: &str, doing: &'static str, source: hyper::Error) -> Self {
        if source.is_parse() {
            return Self::Garbage { what: "it is not HTTP", source: Some(Box::new(source)) };
        }
        // With TLS 1.3 a server's alert about our side of the handshake arrives with the first answer.
        let alert = io_error(&source).filter(|inner| matches!(tls_error(inner), Some(rustls::Error::AlertReceived(_))));
        if let Some(alert) = alert {
            let source = io::Error::new(alert.kind(), alert.to_string());
            return Self::Tls { server: server.to_owned(), source };
        }
        Self::Lost { doing, source: Box::new(source) }
    }
}

/// Who made the certificate that is not the server's own.
fn issuer(why: &CertificateError) -> Option<String> {
    let CertificateError::Other(other) = why else { return None };
    other.0.downcast_ref::<MadeByOthers>().map(|made| made.issuer.clone())
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    error.source().and_then(|source| source.downcast_ref())
}
