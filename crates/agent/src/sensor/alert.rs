//! An alert: which rule matched which event, in few enough words to be kept.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use watchpost_core::time::Timestamp;

use super::line::{Origin, RawLine};
use crate::engine::Match;

/// The longest text kept of any field of an event, in characters.
const FIELD_LIMIT: usize = 256;

/// One line of `alerts.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Derived from the rule, the event and its place in the log: the same event read again gives the same id.
    pub id: String,
    /// When it was raised.
    pub at: Timestamp,
    /// The rule that matched.
    #[serde(flatten)]
    pub rule: Match,
    /// What happened.
    pub event: EventSummary,
}

/// What an alert says of its event. Absent fields are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSummary {
    /// The event's own time, as written in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Authentication, passwordChange, groupChange or dsdbChange.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The Windows event id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<i64>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The account that logged on or tried to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<String>,
    /// The service that was addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Added, Removed, Reset, Add, Modify, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The object that was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The group whose membership changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_sid: Option<String>,
}

impl EventSummary {
    /// The summary of one event of a domain controller's audit log.
    #[must_use]
    pub fn of(event: &Value) -> Self {
        let kind = text(event, &["type"]);
        let body = kind.as_deref().and_then(|kind| event.get(kind)).unwrap_or(&Value::Null);
        Self {
            timestamp: text(event, &["timestamp"]),
            event_id: body.get("eventId").and_then(Value::as_i64),
            status: text(body, &["status"]),
            account: text(body, &["clientAccount", "mappedAccount", "becameAccount"]),
            remote_address: text(body, &["remoteAddress"]),
            service: text(body, &["serviceDescription"]),
            action: text(body, &["action", "operation"]),
            object: text(body, &["dn", "user"]),
            group: text(body, &["group"]),
            actor_sid: text(body, &["userSid"]),
            kind,
        }
    }
}

/// The first of these fields that holds a text.
fn text(value: &Value, fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|field| value.get(field)?.as_str()).map(|text| text.chars().take(FIELD_LIMIT).collect())
}

/// An alert on its way to the sink, still knowing where its event came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// Where the event came from.
    pub origin: Origin,
    /// The alert.
    pub alert: Alert,
}

/// The alert that `rule` raises for the event on `line`.
#[must_use]
pub fn raise(rule: Match, line: &RawLine, event: &EventSummary, now: Timestamp) -> Raised {
    let id = id(&rule, line);
    Raised { origin: line.origin.clone(), alert: Alert { id, at: now, rule, event: event.clone() } }
}

fn id(rule: &Match, line: &RawLine) -> String {
    let mut digest = Context::new(&SHA256);
    digest.update(rule.rule_id.as_bytes());
    let place = match line.origin {
        Origin::Log { epoch, inode, offset } => [0, epoch, inode, offset],
        Origin::Canary { generation } => [1, generation, 0, 0],
    };
    for number in place {
        digest.update(&number.to_be_bytes());
    }
    digest.update(line.text.as_deref().unwrap_or_default());
    hex::encode(digest.finish()).chars().take(32).collect()
}
