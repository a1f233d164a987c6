//! What events leave in the evidence store: alerts with their line of the timeline, and glimpses of devices.
//!
//! Turns one set of values into another; keeps nothing but which glimpses were noted a moment ago.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use serde_json::{Map, Value};
use watchpost_core::evidence::{Alert, AlertLevel, MAX_TEXT, Sighting, TimelineEntry};
use watchpost_core::facts::EngineKind;
use watchpost_core::time::Timestamp;

use super::alert::Raised;
use super::canary::{self, Verdict};
use crate::engine::sigma::event::{AuditEvent, Kind, samba_address};
use crate::engine::sigma::tree::Node;

/// How often the same device is noted: the evidence store keeps the minute.
const NOTED_EVERY: i64 = 60_000;
/// The most devices that are remembered as noted; beyond it all are forgotten, and noted once more.
const NOTED: usize = 4_096;

/// An alert and what the timeline says of it; written only if the alert is new.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// The alert.
    pub alert: Alert,
    /// The line of the timeline.
    pub entry: TimelineEntry,
}

/// What one batch of events leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Alerts, canaries left out.
    pub alerts: Vec<Traced>,
    /// Devices that were seen.
    pub sightings: Vec<Sighting>,
}

impl Trace {
    /// The trace of a batch.
    #[must_use]
    pub fn of(raised: &[Raised], sightings: &[Sighting]) -> Self {
        let real = raised.iter().filter(|raised| canary::judge(raised) == Verdict::Real);
        Self { alerts: real.map(traced).collect(), sightings: sightings.to_vec() }
    }

    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.sightings.is_empty()
    }
}

fn traced(raised: &Raised) -> Traced {
    let alert = &raised.alert;
    let mut event = match serde_json::to_value(&alert.event) {
        Ok(Value::Object(event)) => event,
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) | Err(_) => Map::new(),
    };
    if let Some(found) = &alert.rule.correlation {
        event.insert("correlated".to_owned(), found.value.into());
        for (field, value) in &found.group {
            event.insert(format!("correlatedBy {field}"), cut(value).into());
        }
    }
    let remote = alert.event.remote_address.as_deref();
    let address = remote.and_then(|text| samba_address(text).or_else(|| text.parse().ok()));
    let computer = alert.event.computer.clone().map(|name| cut(&name));
    let devices: BTreeSet<String> =
        address.map(|address| address.to_canonical().to_string()).into_iter().chain(computer).collect();
    let mut text = alert.rule.rule_title.clone();
    if let Some(account) = alert.event.account.as_deref().or(alert.event.object.as_deref()) {
        text.push_str(&format!(" ({account})"));
    }
    Traced {
        entry: TimelineEntry { at: alert.at, kind: "alert".to_owned(), text: cut(&text), devices: devices.clone() },
        alert: Alert {
            id: alert.id.clone(),
            at: alert.at,
            engine: EngineKind::Sigma,
            rule_id: cut(&alert.rule.rule_id),
            rule_title: cut(&alert.rule.rule_title),
            level: AlertLevel::from_word(&alert.rule.level),
            event,
            devices,
            has_packets: false,
        },
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// Which devices were noted a moment ago.
#[derive(Debug, Default)]
pub struct Glimpses {
    noted: HashMap<IpAddr, i64>,
}

impl Glimpses {
    /// Notes the device that a logon came from, unless it was noted within the minute.
    pub fn note(&mut self, event: &AuditEvent<'_>, now: Timestamp, sightings: &mut Vec<Sighting>) {
        let Some(address) = event.address().filter(|address| !address.is_loopback() && !address.is_unspecified())
        else {
            return;
        };
        let minute = now.millis().div_euclid(NOTED_EVERY);
        if self.noted.get(&address) == Some(&minute) {
            return;
        }
        if self.noted.len() >= NOTED {
            self.noted.clear();
        }
        self.noted.insert(address, minute);
        sightings.push(Sighting {
            at: event.time().unwrap_or(now).min(now),
            address: Some(address.to_string()),
            hardware: None,
            name: workstation(event),
            protocol: protocol(event).map(str::to_owned),
            is_server: false,
        });
    }
}

/// The name that the device gave itself.
fn workstation(event: &AuditEvent<'_>) -> Option<String> {
    let name = match event.kind() {
        Kind::Windows(_) => event.data("WorkstationName").or_else(|| event.data("Workstation"))?.text()?,
        Kind::Authentication => event.body()?.get("workstation")?.text()?,
        Kind::Authorization | Kind::PasswordChange | Kind::GroupChange | Kind::DsdbChange | Kind::Other => return None,
    };
    let name = name.trim_start_matches('\\').trim();
    (!matches!(name, "" | "-")).then(|| cut(name))
}

fn protocol(event: &AuditEvent<'_>) -> Option<&'static str> {
    match event.kind() {
        Kind::Windows(_) => match event.id().and_then(Node::int)? {
            4768..=4772 => Some("kerberos"),
            _ => None,
        },
        Kind::Authentication | Kind::Authorization => match event.body()?.get("serviceDescription")?.text()? {
            "Kerberos KDC" => Some("kerberos"),
            "LDAP" => Some("ldap"),
            "SMB" | "SMB2" => Some("smb"),
            _ => None,
        },
        Kind::PasswordChange | Kind::GroupChange | Kind::DsdbChange | Kind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Correlation, Match};
    use crate::sensor::alert::EventSummary;
    use crate::sensor::alert::raise;
    use crate::sensor::line::{Origin, RawLine};

    const NOW: Timestamp = Timestamp::from_millis(1_795_246_300_000);

    fn logon(port: u16) -> String {
        format!(
            r#"{{"timestamp":"2026-11-21T07:31:12.919307+0000","type":"Authentication","Authentication":{{"eventId":4625,
            "remoteAddress":"ipv4:10.88.0.1:{port}","serviceDescription":"SMB2","clientAccount":"clerk1",
            "workstation":"\\\\CLIENT1"}}}}"#
        )
    }

    #[test]
    fn a_device_is_noted_once_a_minute_with_what_it_said_of_itself() {
        let (mut glimpses, mut seen) = (Glimpses::default(), Vec::new());
        for (port, after) in [(1, 0), (2, 1), (3, 120)] {
            let text = logon(port);
            let event = AuditEvent::parse(text.as_bytes()).unwrap();
            glimpses.note(&event, NOW + std::time::Duration::from_secs(after), &mut seen);
        }
        let expected = Sighting {
            at: "2026-11-21T07:31:12.919Z".parse().unwrap(),
            address: Some("10.88.0.1".to_owned()),
            hardware: None,
            name: Some("CLIENT1".to_owned()),
            protocol: Some("smb".to_owned()),
            is_server: false,
        };
        assert_eq!(seen, [expected.clone(), expected]);
    }

    #[test]
    fn an_alert_keeps_its_id_and_says_who_and_where_and_a_canary_leaves_nothing() {
        let text = logon(1);
        let event = AuditEvent::parse(text.as_bytes()).unwrap();
        let group = [("watchpost.address".to_owned(), "10.88.0.1".to_owned())].into();
        let rule = Match {
            rule_id: "r".into(),
            rule_title: "Many".into(),
            level: "high".into(),
            rule_file: "r.yml".into(),
            correlation: Some(Correlation { group, value: 5.0 }),
        };
        let line = RawLine { origin: Origin::Log { epoch: 0, inode: 1, offset: 2 }, text: Some(text.clone().into()) };
        let raised = raise(rule.clone(), &line, &EventSummary::of(&event), NOW);
        let canary = RawLine { origin: Origin::Canary { generation: 1 }, ..line };
        let echo = raise(rule, &canary, &EventSummary::of(&event), NOW);
        let trace = Trace::of(&[raised.clone(), echo], &[]);
        let [traced] = trace.alerts.as_slice() else { panic!("{trace:?}") };
        assert_eq!((&traced.alert.id, traced.alert.level), (&raised.alert.id, AlertLevel::High));
        assert_eq!(traced.alert.devices, ["10.88.0.1".to_owned()].into());
        assert_eq!(traced.alert.event["account"], "clerk1");
        assert_eq!(traced.alert.event["correlated"], 5.0);
        assert_eq!(traced.entry.text, "Many (clerk1)");
    }
}
