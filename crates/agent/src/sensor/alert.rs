//! An alert: which rule matched which event, in few enough words to be kept.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use watchpost_core::time::Timestamp;

use super::line::{Origin, RawLine};
use crate::engine::Match;
use crate::engine::sigma::event::{AuditEvent, Kind};
use crate::engine::sigma::tree::Node;

/// The longest text kept of any field of an event, in characters.
const FIELD_LIMIT: usize = 256;

/// One line of `alerts.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Derived from the rule, the event and its place in the log (of a correlation: the event that completed it, and the
    /// group): the same event read again gives the same id.
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
    /// Authentication, passwordChange, groupChange or dsdbChange; `windows` for an event of Windows.
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
    /// The Windows computer that wrote the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computer: Option<String>,
    /// The Windows channel it was written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// Windows events that say that a member was added to or removed from a group, whose name is then in `TargetUserName`.
const MEMBERSHIP: [i64; 6] = [4728, 4729, 4732, 4733, 4756, 4757];

impl EventSummary {
    /// The summary of one event.
    #[must_use]
    pub fn of(event: &AuditEvent<'_>) -> Self {
        match event.kind() {
            Kind::Windows(_) => Self::of_windows(event),
            Kind::Authentication
            | Kind::Authorization
            | Kind::PasswordChange
            | Kind::GroupChange
            | Kind::DsdbChange
            | Kind::Other => Self::of_samba(event),
        }
    }

    fn of_samba(event: &AuditEvent<'_>) -> Self {
        let root = event.root();
        let kind = text(root, &["type"]);
        let body = kind.as_deref().and_then(|kind| root.get(kind)).unwrap_or(&Node::Null);
        Self {
            timestamp: text(root, &["timestamp"]),
            event_id: body.get("eventId").and_then(Node::int),
            status: text(body, &["status"]),
            account: text(body, &["clientAccount", "mappedAccount", "becameAccount"]),
            remote_address: text(body, &["remoteAddress"]),
            service: text(body, &["serviceDescription"]),
            action: text(body, &["action", "operation"]),
            object: text(body, &["dn", "user"]),
            group: text(body, &["group"]),
            actor_sid: text(body, &["userSid"]),
            kind,
            ..Self::default()
        }
    }

    fn of_windows(event: &AuditEvent<'_>) -> Self {
        let system = |name| event.system(name).and_then(Node::text).map(cut);
        let data = |names: &[&str]| {
            let said = |name: &&str| event.data(name).and_then(Node::text).filter(|text| !matches!(*text, "" | "-"));
            names.iter().find_map(said).map(cut)
        };
        let event_id = event.id().and_then(Node::int);
        let is_membership = event_id.is_some_and(|id| MEMBERSHIP.contains(&id));
        let named = data(&["TargetUserName"]);
        let (account, group) = if is_membership { (data(&["SubjectUserName"]), named) } else { (named, None) };
        Self {
            timestamp: event.time_text().map(cut),
            kind: Some("windows".to_owned()),
            event_id,
            status: data(&["Status", "FailureCode"]),
            account: account.or_else(|| data(&["SubjectUserName"])),
            remote_address: data(&["IpAddress", "ClientAddress"]),
            service: data(&["ServiceName", "LogonProcessName"]),
            action: None,
            object: data(&["MemberName", "MemberSid", "ObjectDN", "ObjectName"]),
            group,
            actor_sid: data(&["SubjectUserSid"]),
            computer: system("Computer"),
            channel: system("Channel"),
        }
    }
}

/// The first of these fields that holds a text.
fn text(value: &Node<'_>, fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|field| value.get(field)?.text()).map(cut)
}

fn cut(text: &str) -> String {
    text.chars().take(FIELD_LIMIT).collect()
}

/// An alert on its way to the sink, still knowing where its event came from.
#[derive(Clone, Debug, PartialEq)]
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
    for (field, value) in rule.correlation.iter().flat_map(|found| &found.group) {
        for part in [field, value] {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
    }
    hex::encode(digest.finish()).chars().take(32).collect()
}
