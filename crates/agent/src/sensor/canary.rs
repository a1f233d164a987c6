//! The canary: an event that proves detection by going in where events go in and coming out where alerts come out.
//!
//! A line of an audit log can imitate its words, never its origin.

use serde_json::json;
use watchpost_core::time::Timestamp;

use super::alert::Raised;
use super::line::{Origin, RawLine};

/// The rule file whose alert counts as proof.
pub const RULE_FILE: &str = "watchpost-canary.yml";

fn account(generation: u64) -> String {
    format!("watchpost-canary-{generation}")
}

/// The event: a failed logon over SMB as a Samba domain controller records it, of an account that is the mark.
#[must_use]
pub fn line(generation: u64, now: Timestamp) -> RawLine {
    let account = account(generation);
    let event = json!({
        "timestamp": now.to_string(),
        "type": "Authentication",
        "Authentication": {
            "version": {"major": 1, "minor": 2}, "eventId": 4625, "logonId": "0", "logonType": 3,
            "status": "NT_STATUS_WRONG_PASSWORD",
            "localAddress": "ipv4:127.0.0.1:445", "remoteAddress": "ipv4:127.0.0.1:0",
            "serviceDescription": "SMB2", "authDescription": "NTLMSSP",
            "clientDomain": "WATCHPOST", "clientAccount": account, "workstation": null,
            "becameAccount": null, "becameDomain": null, "becameSid": null,
            "mappedAccount": account, "mappedDomain": "WATCHPOST",
            "netlogonComputer": null, "netlogonTrustAccount": null, "netlogonNegotiateFlags": "0x00000000",
            "netlogonSecureChannelType": 0, "netlogonTrustAccountSid": null,
            "passwordType": "NTLMv2", "duration": 0
        }
    });
    RawLine { origin: Origin::Canary { generation }, text: Some(event.to_string().into_bytes()) }
}

/// What an alert at the end of the pipeline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A real one.
    Real,
    /// The canary's own: proof for this generation.
    Proof(u64),
    /// Another rule that matched the canary; neither an alert nor a proof.
    Echo,
}

/// Judges an alert by its mark.
#[must_use]
pub fn judge(raised: &Raised) -> Verdict {
    match raised.origin {
        Origin::Log { .. } => Verdict::Real,
        Origin::Canary { generation } => {
            let is_marked = raised.alert.event.account.as_deref() == Some(account(generation).as_str());
            let is_own_rule = raised.alert.rule.rule_file == RULE_FILE;
            if is_marked && is_own_rule { Verdict::Proof(generation) } else { Verdict::Echo }
        }
    }
}
