//! `watchpost-updater check-connection`: what stands between this host and its server, by a word of its own.
//!
//! Asks one question that changes nothing on the server, over the way that every other request takes.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use watchpost_clock::Clock;
pub use watchpost_core::connection::Verdict;
use watchpost_core::connection::{ConnectionCheck, Occasion};
use watchpost_core::policy::HealthPolicy;
use watchpost_core::time::Timestamp;
use watchpost_protocol::{Code, PingReply};

use crate::host::disk::Disk;
use crate::host_config::{HostConfig, HostConfigError};
use crate::identity::{IdentityError, Keyring};
use crate::proxy_config::{ProxyConfigError, proxy_of};
use crate::transport::{Client, Timeouts, TransportError};
use crate::updater::{Layout, in_one_line, server_keys};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The server that was asked.
    pub server: String,
    /// The proxy on the way.
    pub proxy: Option<String>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why, and what to do about it.
    pub message: String,
    /// How far this host's clock is ahead of the server's.
    pub clock_ahead_seconds: Option<i64>,
}

/// Why nothing could be asked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The host is not set up.
    #[error("this host is not set up; run `watchpost-updater setup` first")]
    Config(#[from] HostConfigError),
    /// There is no identity.
    #[error("this host has no identity; run `watchpost-updater setup` again")]
    NotEnrolled,
    /// The identity cannot be read.
    #[error("the host's identity cannot be used")]
    Identity(#[from] IdentityError),
    /// The settings name no hash.
    #[error("the host's settings name no valid server key; run `watchpost-updater setup` again")]
    Hash,
    /// The proxy of the settings cannot be used.
    #[error("the proxy of the host's settings cannot be used")]
    Proxy(#[from] ProxyConfigError),
    /// The address of the settings cannot be used.
    #[error("the connection to the server cannot be set up")]
    Transport(#[from] TransportError),
}

/// Asks the server of the host in `root`.
///
/// # Errors
/// When the host's own settings let nothing be asked.
pub async fn check(root: &Path, clock: &Clock, timeouts: Timeouts) -> Result<Finding, CheckError> {
    let config = HostConfig::read(root)?;
    let held = Keyring::of_host(root).open()?.ok_or(CheckError::NotEnrolled)?;
    let trusted = server_keys::trusted(root, &config).ok_or(CheckError::Hash)?;
    let proxy = proxy_of(root, &config)?;
    let shown = proxy.as_ref().map(ToString::to_string);
    let client = Client::through(proxy, &config.server, trusted, held.cur()?, timeouts)?;
    let answer = client.ping().await;
    let finding = judge(config.server, shown, &answer, clock.now());
    note(root, &finding, clock.now());
    Ok(finding)
}

/// Leaves what was found for the updater, which tells it at the next check-in. Whoever may not write there still reads
/// the answer.
fn note(root: &Path, finding: &Finding, now: Timestamp) {
    let check = ConnectionCheck::new(finding.verdict, now, Occasion::ByHand, &finding.message);
    let path = Layout::new(root).connection_note();
    let kept = serde_json::to_vec(&check).map_err(std::io::Error::from);
    let kept = kept.and_then(|bytes| Disk::default().replace(&path, &bytes));
    if let Err(error) = kept {
        tracing::info!("what was found is not told to the server: {error}");
    }
}

/// What an answer, or the want of one, means.
fn judge(server: String, proxy: Option<String>, answer: &Result<PingReply, TransportError>, now: Timestamp) -> Finding {
    let (verdict, message, clock_ahead_seconds) = match answer {
        Ok(reply) => {
            let ahead = now.millis().saturating_sub(reply.server_time.millis()).saturating_div(1000);
            let (verdict, message) = judge_reply(reply.is_enrolled, ahead);
            (verdict, message, Some(ahead))
        }
        Err(error) => (judge_error(error), in_one_line(error), None),
    };
    Finding { server, proxy, verdict, message, clock_ahead_seconds }
}

fn judge_reply(is_enrolled: bool, ahead: i64) -> (Verdict, String) {
    let tolerated = HealthPolicy::default().clock_skew;
    if !is_enrolled {
        let message = "the server knows no sensor with this host's certificate: it was deleted or its certificate was \
                       revoked; run `watchpost-updater setup` with a current access key";
        return (Verdict::UnknownKey, message.to_owned());
    }
    if Duration::from_secs(ahead.unsigned_abs()) > tolerated {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        let off = ahead.unsigned_abs();
        return (Verdict::ClockWrong, format!("this host's clock is {off} s {side} the server's; correct it"));
    }
    (Verdict::Ok, "the server answers, has the right key, and knows this host".to_owned())
}

pub(crate) fn judge_error(error: &TransportError) -> Verdict {
    match error {
        TransportError::Address(_) | TransportError::Identity(_) | TransportError::Sink(_) => Verdict::HostBroken,
        TransportError::Dns { .. } => Verdict::NameNotResolved,
        TransportError::Connect { .. } => Verdict::NoConnection,
        TransportError::ProxyUnreachable { .. } => Verdict::ProxyUnreachable,
        TransportError::ProxyAuthentication { .. } => Verdict::ProxyAuthentication,
        TransportError::ProxyRefused { .. } => Verdict::ProxyRefused,
        TransportError::ProxyGarbage { .. } => Verdict::NoProxy,
        TransportError::TlsTooOld { .. } => Verdict::TlsTooOld,
        TransportError::Intercepted { .. } => Verdict::Intercepted,
        TransportError::Untrusted { .. } => Verdict::Untrusted,
        TransportError::Tls { .. } => Verdict::TlsFailed,
        TransportError::Timeout { .. } | TransportError::Lost { .. } => Verdict::NoAnswer,
        TransportError::Garbage { .. } | TransportError::TooLarge { .. } => Verdict::NoGateway,
        TransportError::Refused { code, .. } => match code {
            Some(Code::TooManyRequests) => Verdict::RateLimited,
            Some(Code::SensorUnknown) => Verdict::UnknownKey,
            Some(Code::NotFound | Code::MethodNotAllowed) => Verdict::NoGateway,
            Some(_) | None => Verdict::Unavailable,
        },
    }
}
