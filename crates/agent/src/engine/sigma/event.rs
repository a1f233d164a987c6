//! One audit event, whatever wrote it: fields under the names that Sigma rules use.
//!
//! Samba's events stay as they are. A Windows event offers its fields at the top level (`EventID`, `TargetUserName`, …)
//! in any of the three forms in which Windows events become JSON. Nothing is copied or rewritten.

use std::borrow::Cow;
use std::net::IpAddr;

use rsigma_eval::{Event, EventValue};
use serde_json::Value;
use watchpost_core::time::Timestamp;

use super::tree::Node;

/// The account of a logon without its domain and in lower case, for rules over events of any kind.
pub const ACCOUNT: &str = "watchpost.account";
/// The address a logon came from without its port, for rules over events of any kind.
pub const ADDRESS: &str = "watchpost.address";

/// What wrote an event, as far as rules tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Samba: a logon or an attempt.
    Authentication,
    /// Samba: a session was granted.
    Authorization,
    /// Samba: a password was changed or reset.
    PasswordChange,
    /// Samba: a membership was changed.
    GroupChange,
    /// Samba: an object of the directory was changed.
    DsdbChange,
    /// Windows, of this channel.
    Windows(Channel),
    /// Something else.
    Other,
}

/// The channel of a Windows event, as far as rules name it by a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// `Security`.
    Security,
    /// `System`.
    System,
    /// `Application`.
    Application,
    /// `Microsoft-Windows-Sysmon/Operational`.
    Sysmon,
    /// Any other, or none is named.
    Other,
}

/// The form in which a Windows event became JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `{"Event":{"System":{…},"EventData":{…}}}`: the XML of Windows turned into JSON, as `evtx_dump` does.
    Nested,
    /// `{"winlog":{"event_id":…,"event_data":{…}}}`: Winlogbeat, Elastic Agent.
    Winlog,
    /// `{"EventID":…,"TargetUserName":…}`: NXLog.
    Flat,
}

/// One event.
#[derive(Debug)]
pub struct AuditEvent<'a> {
    root: Node<'a>,
    kind: Kind,
    form: Form,
}

impl<'a> AuditEvent<'a> {
    /// The event on a line; `None` if the line is no JSON object.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().and_then(Self::of)
    }

    /// The event that a document is; `None` if it is no object.
    #[must_use]
    pub fn of(root: Node<'a>) -> Option<Self> {
        if !matches!(root, Node::Map(_)) {
            return None;
        }
        let mut event = Self { kind: samba(&root).unwrap_or(Kind::Other), root, form: Form::Flat };
        if let (Kind::Other, Some(form)) = (event.kind, windows(&event.root)) {
            event.form = form;
            event.kind = Kind::Windows(channel(event.system("Channel").and_then(Node::text)));
        }
        Some(event)
    }

    /// What wrote it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The document.
    #[must_use]
    pub fn root(&self) -> &Node<'a> {
        &self.root
    }

    /// Of a Samba event: what is said under the name of its type.
    #[must_use]
    pub fn body(&self) -> Option<&Node<'a>> {
        self.root.get(self.kind.samba_type()?)
    }

    /// What rules find under `EventID`, or under `eventId` of a Samba event.
    #[must_use]
    pub fn id(&self) -> Option<&Node<'a>> {
        let flat = match self.kind {
            Kind::Windows(_) => "EventID",
            Kind::Authentication => "Authentication.eventId",
            Kind::Authorization => "Authorization.eventId",
            Kind::PasswordChange => "passwordChange.eventId",
            Kind::GroupChange => "groupChange.eventId",
            Kind::DsdbChange => "dsdbChange.eventId",
            Kind::Other => return None,
        };
        self.root.get(flat).or_else(|| match self.kind {
            Kind::Windows(_) => self.system("EventID"),
            Kind::Authentication
            | Kind::Authorization
            | Kind::PasswordChange
            | Kind::GroupChange
            | Kind::DsdbChange
            | Kind::Other => self.body()?.get("eventId"),
        })
    }

    /// Of a Windows event: a field of its data.
    #[must_use]
    pub fn data(&self, name: &str) -> Option<&Node<'a>> {
        let data = match self.form {
            Form::Nested => {
                let event = self.root.get("Event")?;
                event.get("EventData").or_else(|| first_of(event.get("UserData")?))?
            }
            Form::Winlog => {
                let winlog = self.root.get("winlog")?;
                winlog.get("event_data").or_else(|| winlog.get("user_data"))?
            }
            Form::Flat => &self.root,
        };
        data.get(name).map(plain).or_else(|| match data {
            Node::List(items) => named(items, name),
            Node::Map(_) => match data.get("Data")? {
                Node::List(items) => named(items, name),
                Node::Map(_) => named(std::slice::from_ref(data.get("Data")?), name),
                Node::Null | Node::Bool(_) | Node::Int(_) | Node::Float(_) | Node::Text(_) => None,
            },
            Node::Null | Node::Bool(_) | Node::Int(_) | Node::Float(_) | Node::Text(_) => None,
        })
    }

    /// Of a Windows event: what the system says of it, under the name it has in Windows' own XML.
    #[must_use]
    pub fn system(&self, name: &str) -> Option<&Node<'a>> {
        match self.form {
            Form::Nested => nested_system(self.root.get("Event")?.get("System")?, name),
            Form::Winlog => winlog_system(&self.root, name),
            Form::Flat => self.root.get(name).or_else(|| self.root.get(flat_name(name)?)).map(plain),
        }
    }

    /// When it happened, by its own word.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        instant(self.time_text()?)
    }

    /// When it happened, as written.
    #[must_use]
    pub fn time_text(&self) -> Option<&str> {
        let own = match self.kind {
            Kind::Windows(_) => self.system("TimeCreated").and_then(Node::text),
            Kind::Authentication
            | Kind::Authorization
            | Kind::PasswordChange
            | Kind::GroupChange
            | Kind::DsdbChange
            | Kind::Other => None,
        };
        own.or_else(|| ["timestamp", "@timestamp", "EventTime"].iter().find_map(|name| self.root.get(name)?.text()))
    }

    /// The account that logged on or tried to, without its domain, in lower case.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        let named = match self.kind {
            Kind::Windows(_) => self.data("TargetUserName").and_then(Node::text),
            Kind::Authentication | Kind::Authorization => {
                let body = self.body()?;
                ["mappedAccount", "clientAccount", "account"].iter().find_map(|name| body.get(name)?.text())
            }
            Kind::PasswordChange | Kind::GroupChange | Kind::DsdbChange | Kind::Other => None,
        }?;
        let bare = named.split_once('\\').map_or(named, |(_, account)| account);
        let bare = bare.split_once('@').map_or(bare, |(account, _)| account);
        (!matches!(bare, "" | "-")).then(|| bare.to_lowercase())
    }

    /// The address it came from.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.kind {
            Kind::Windows(_) => {
                let text = ["IpAddress", "ClientAddress"].iter().find_map(|name| self.data(name)?.text())?;
                text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
            }
            Kind::Authentication
            | Kind::Authorization
            | Kind::PasswordChange
            | Kind::GroupChange
            | Kind::DsdbChange => samba_address(self.body()?.get("remoteAddress")?.text()?),
            Kind::Other => None,
        }
    }
}

impl Kind {
    /// The word under which Samba writes events of this kind.
    #[must_use]
    pub fn samba_type(self) -> Option<&'static str> {
        match self {
            Self::Authentication => Some("Authentication"),
            Self::Authorization => Some("Authorization"),
            Self::PasswordChange => Some("passwordChange"),
            Self::GroupChange => Some("groupChange"),
            Self::DsdbChange => Some("dsdbChange"),
            Self::Windows(_) | Self::Other => None,
        }
    }
}

/// The address in Samba's `ipv4:10.0.0.1:445` or `ipv6:fe80::1:445`.
#[must_use]
pub fn samba_address(text: &str) -> Option<IpAddr> {
    let (address, _port) = text.strip_prefix("ipv4:").or_else(|| text.strip_prefix("ipv6:"))?.rsplit_once(':')?;
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn samba(root: &Node<'_>) -> Option<Kind> {
    let word = root.get("type")?.text()?;
    let kinds = [Kind::Authentication, Kind::Authorization, Kind::PasswordChange, Kind::GroupChange, Kind::DsdbChange];
    let kind = kinds.into_iter().find(|kind| kind.samba_type() == Some(word))?;
    matches!(root.get(word), Some(Node::Map(_))).then_some(kind)
}

fn windows(root: &Node<'_>) -> Option<Form> {
    if root.get("Event").is_some_and(|event| matches!(event.get("System"), Some(Node::Map(_)))) {
        return Some(Form::Nested);
    }
    if root.get("winlog").is_some_and(|winlog| winlog.get("event_id").is_some()) {
        return Some(Form::Winlog);
    }
    root.get("EventID").map(|_| Form::Flat)
}

fn channel(name: Option<&str>) -> Channel {
    let Some(name) = name else { return Channel::Other };
    let known = [
        ("Security", Channel::Security),
        ("System", Channel::System),
        ("Application", Channel::Application),
        ("Microsoft-Windows-Sysmon/Operational", Channel::Sysmon),
    ];
    known.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map_or(Channel::Other, |(_, channel)| channel)
}

/// How converters name the attributes and the text of an XML element.
const ATTRIBUTES: [&str; 3] = ["#attributes", "$", "@attributes"];
const TEXTS: [&str; 4] = ["#text", "_", "Value", "$value"];

/// The text of an element that has attributes, or the value itself.
fn plain<'s, 'a>(node: &'s Node<'a>) -> &'s Node<'a> {
    TEXTS.iter().find_map(|name| node.get(name)).unwrap_or(node)
}

fn attribute<'s, 'a>(node: &'s Node<'a>, name: &str) -> Option<&'s Node<'a>> {
    let direct = || node.get(name).or_else(|| node.get(&format!("@{name}")));
    ATTRIBUTES.iter().find_map(|group| node.get(group)?.get(name)).or_else(direct)
}

fn named<'s, 'a>(items: &'s [Node<'a>], name: &str) -> Option<&'s Node<'a>> {
    let item = items.iter().find(|item| attribute(item, "Name").and_then(Node::text) == Some(name))?;
    TEXTS.iter().find_map(|text| item.get(text))
}

fn first_of<'s, 'a>(node: &'s Node<'a>) -> Option<&'s Node<'a>> {
    match node {
        Node::Map(members) => members.iter().map(|(_, value)| value).find(|value| matches!(value, Node::Map(_))),
        Node::Null | Node::Bool(_) | Node::Int(_) | Node::Float(_) | Node::Text(_) | Node::List(_) => None,
    }
}

fn nested_system<'s, 'a>(system: &'s Node<'a>, name: &str) -> Option<&'s Node<'a>> {
    match name {
        "Provider_Name" => attribute(system.get("Provider")?, "Name"),
        "TimeCreated" => attribute(system.get("TimeCreated")?, "SystemTime").or_else(|| system.get("TimeCreated")),
        _ => system.get(name).map(plain),
    }
}

fn winlog_system<'s, 'a>(root: &'s Node<'a>, name: &str) -> Option<&'s Node<'a>> {
    let winlog = root.get("winlog")?;
    match name {
        "EventID" => winlog.get("event_id"),
        "Channel" => winlog.get("channel"),
        "Computer" => winlog.get("computer_name"),
        "Provider_Name" => winlog.get("provider_name"),
        "EventRecordID" => winlog.get("record_id"),
        "TimeCreated" => root.get("@timestamp"),
        _ => None,
    }
}

fn flat_name(name: &str) -> Option<&'static str> {
    match name {
        "Computer" => Some("Hostname"),
        "Provider_Name" => Some("SourceName"),
        "EventRecordID" => Some("RecordNumber"),
        "TimeCreated" => Some("EventTime"),
        _ => None,
    }
}

/// An instant as audit logs write it: RFC 3339, also with a blank for the `T`; without an offset it counts as UTC.
fn instant(text: &str) -> Option<Timestamp> {
    let parsed = text.parse().ok();
    parsed.or_else(|| format!("{text}Z").parse().ok())
}

impl Event for AuditEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        if let Some(found) = self.root.field(path) {
            return Some(found);
        }
        match path {
            ACCOUNT => return self.account().map(|account| EventValue::Str(Cow::Owned(account))),
            ADDRESS => return self.address().map(|address| EventValue::Str(Cow::Owned(address.to_string()))),
            _ => {}
        }
        match self.kind {
            Kind::Windows(_) => self.system(path).or_else(|| self.data(path)).map(Node::value),
            Kind::Authentication
            | Kind::Authorization
            | Kind::PasswordChange
            | Kind::GroupChange
            | Kind::DsdbChange
            | Kind::Other => None,
        }
    }

    fn any_string_value(&self, is: &dyn Fn(&str) -> bool) -> bool {
        self.root.any_text(is)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut found = Vec::new();
        self.root.texts(&mut found);
        found
    }

    fn to_json(&self) -> Value {
        self.root.json()
    }
}

#[cfg(test)]
mod tests;
