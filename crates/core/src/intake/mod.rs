//! What of a sensor's words is believed: texts become clean and short, lists short, instants plausible, ids ids.
//!
//! The other side may lie. What is only too long or misleading is cut and cleaned; what cannot be evidence is refused.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::evidence::{Alert, Batch, Device, MAX_DEVICE_TRAITS, MAX_TEXT};
use crate::policy::Policy;
use crate::time::Timestamp;

pub use text::{clean_facts, clean_line, clean_measurements, clean_rules};

/// Hex digits of an alert's id.
pub const ALERT_ID_DIGITS: usize = 32;
/// Most names and values of one event that are kept.
pub const MAX_EVENT_FIELDS: usize = 64;

/// Why a whole batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disbelieved {
    /// An alert without an id that could be one.
    #[error("the id of an alert is not {ALERT_ID_DIGITS} hex digits; nothing of the batch was taken")]
    AlertId,
    /// A device without a key.
    #[error("a device has no key; nothing of the batch was taken")]
    DeviceKey,
    /// A number beyond what can be counted.
    #[error("the number of the last item is beyond {}; nothing of the batch was taken", i64::MAX)]
    Through,
}

/// The batch as it may be kept at `now`: each alert and each device once, everything within its limits.
///
/// # Errors
/// When something in it cannot be evidence.
pub fn believe(batch: Batch, now: Timestamp, policy: &Policy) -> Result<Batch, Disbelieved> {
    if i64::try_from(batch.through).is_err() {
        return Err(Disbelieved::Through);
    }
    let instants = Plausible { now, ahead: policy.intake.clock_tolerance };
    let mut alerts = BTreeMap::new();
    for alert in batch.alerts {
        let alert = believe_alert(alert, instants, policy.retention.alerts)?;
        alerts.entry(alert.id.clone()).or_insert(alert);
    }
    let mut devices = BTreeMap::new();
    for device in batch.devices {
        let device = believe_device(device, instants, policy.retention.devices)?;
        // Of one device that comes twice the later one counts: the stream has an order.
        devices.insert(device.key.clone(), device);
    }
    let (alerts, devices) = (alerts.into_values().collect(), devices.into_values().collect());
    Ok(Batch { stream: batch.stream, through: batch.through, alerts, devices })
}

/// Which instants of a sensor are taken for true.
#[derive(Clone, Copy)]
struct Plausible {
    now: Timestamp,
    ahead: Duration,
}

impl Plausible {
    /// An instant that may be true. One that what is kept for `kept` cannot have says that the sensor's clock is lost:
    /// the instant of arrival is then the nearest to the truth.
    fn instant(self, at: Timestamp, kept: Duration) -> Timestamp {
        if at < self.now - kept { self.now } else { at.min(self.now + self.ahead) }
    }
}

fn believe_alert(alert: Alert, instants: Plausible, kept: Duration) -> Result<Alert, Disbelieved> {
    let id = alert.id.to_ascii_lowercase();
    if id.len() != ALERT_ID_DIGITS || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Disbelieved::AlertId);
    }
    let line = |text: &str| clean_line(text, MAX_TEXT);
    Ok(Alert {
        id,
        at: instants.instant(alert.at, kept),
        engine: alert.engine,
        rule_id: line(&alert.rule_id),
        rule_title: line(&alert.rule_title),
        level: alert.level,
        event: believe_event(alert.event),
        devices: some(alert.devices.iter().map(|name| line(name))),
        has_packets: alert.has_packets,
    })
}

/// Names and values alone: what is nested becomes its text.
fn believe_event(event: Map<String, Value>) -> Map<String, Value> {
    let value = |value: Value| match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
        Value::String(text) => Value::String(clean_line(&text, MAX_TEXT)),
        Value::Array(_) | Value::Object(_) => Value::String(clean_line(&value.to_string(), MAX_TEXT)),
    };
    event.into_iter().take(MAX_EVENT_FIELDS).map(|(name, one)| (clean_line(&name, MAX_TEXT), value(one))).collect()
}

fn believe_device(device: Device, instants: Plausible, kept: Duration) -> Result<Device, Disbelieved> {
    let key = clean_line(&device.key, MAX_TEXT);
    if key.trim().is_empty() {
        return Err(Disbelieved::DeviceKey);
    }
    let last_seen = instants.instant(device.last_seen, kept);
    Ok(Device {
        key,
        addresses: latest(&device.addresses),
        hardware: device.hardware.map(|text| clean_line(&text, MAX_TEXT)),
        names: latest(&device.names),
        serves: some(device.serves.iter().map(|text| clean_line(text, MAX_TEXT))),
        uses: some(device.uses.iter().map(|text| clean_line(text, MAX_TEXT))),
        first_seen: device.first_seen.max(Timestamp::default()).min(last_seen),
        last_seen,
        replaces: latest(&device.replaces),
    })
}

/// The most recent of what a device is known by: they come last.
fn latest(texts: &[String]) -> Vec<String> {
    let skipped = texts.len().saturating_sub(MAX_DEVICE_TRAITS);
    texts.iter().skip(skipped).map(|text| clean_line(text, MAX_TEXT)).collect()
}

fn some(texts: impl Iterator<Item = String>) -> BTreeSet<String> {
    texts.take(MAX_DEVICE_TRAITS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evidence::AlertLevel;
    use crate::facts::EngineKind;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn alert(id: &str) -> Alert {
        Alert {
            id: id.to_owned(),
            at: NOW,
            engine: EngineKind::Sigma,
            rule_id: "r".to_owned(),
            rule_title: "t".to_owned(),
            level: AlertLevel::High,
            event: Map::new(),
            devices: BTreeSet::new(),
            has_packets: false,
        }
    }

    fn believed(alerts: Vec<Alert>, devices: Vec<Device>) -> Result<Batch, Disbelieved> {
        believe(Batch { stream: "s".into(), through: 1, alerts, devices }, NOW, &Policy::default())
    }

    #[test]
    fn an_instant_is_at_most_five_minutes_ahead_and_one_out_of_retention_is_that_of_arrival() {
        let minute = Duration::from_secs(60);
        for (said, taken) in [
            (NOW, NOW),
            (NOW + minute * 5, NOW + minute * 5),
            (NOW + minute * 6, NOW + minute * 5),
            (Timestamp::from_millis(i64::MAX), NOW + minute * 5),
            (NOW - DAY * 90, NOW - DAY * 90),
            (NOW - DAY * 91, NOW),
            (Timestamp::from_millis(i64::MIN), NOW),
        ] {
            let one = Alert { at: said, ..alert(&"0".repeat(32)) };
            let device = Device { key: "k".into(), first_seen: said, last_seen: said, ..Device::default() };
            let batch = believed(vec![one], vec![device]).unwrap();
            assert_eq!(batch.alerts[0].at, taken, "{said}");
            let device = &batch.devices[0];
            assert_eq!(device.last_seen, taken);
            assert!(device.first_seen <= device.last_seen && device.first_seen.millis() >= 0);
        }
    }

    #[test]
    fn what_cannot_be_evidence_is_refused() {
        for id in ["", "0a", &"g".repeat(32), &"0".repeat(33), &"ä".repeat(16)] {
            assert_eq!(believed(vec![alert(id)], vec![]), Err(Disbelieved::AlertId), "{id}");
        }
        for key in ["", "  ", "\n"] {
            let device = Device { key: key.to_owned(), ..Device::default() };
            assert_eq!(believed(vec![], vec![device]), Err(Disbelieved::DeviceKey));
        }
        let batch = Batch { through: u64::MAX, ..Batch::default() };
        assert_eq!(believe(batch, NOW, &Policy::default()), Err(Disbelieved::Through));
    }

    #[test]
    fn texts_and_lists_are_cut_and_cleaned_and_nothing_is_kept_twice() {
        let mut hostile = alert(&"AB".repeat(16));
        hostile.rule_title = format!("\u{1b}[2J{}", "x".repeat(1_000));
        hostile.event = (0..100).map(|n| (format!("f{n:03}"), json!({ "deep": ["\u{7}", n] }))).collect();
        hostile.devices = (0..100).map(|n| format!("d{n}\n")).collect();
        let batch = believed(vec![hostile, alert(&"ab".repeat(16))], vec![]).unwrap();
        let [kept] = batch.alerts.as_slice() else { panic!("the same id twice") };
        assert_eq!(kept.id, "ab".repeat(16));
        assert_eq!(kept.rule_title.chars().count(), MAX_TEXT);
        assert!(kept.rule_title.starts_with(" [2Jxx"));
        assert_eq!((kept.event.len(), kept.devices.len()), (MAX_EVENT_FIELDS, MAX_DEVICE_TRAITS));
        assert_eq!(kept.event["f001"], json!("{\"deep\":[\"\\u0007\",1]}"));
        assert!(kept.devices.iter().all(|name| !name.contains('\n')));

        let addresses: Vec<_> = (0..40).map(|n| format!("10.0.0.{n}")).collect();
        let first = Device { key: "k".into(), names: vec!["old".into()], ..Device::default() };
        let second = Device { key: "k".into(), addresses, ..Device::default() };
        let batch = believed(vec![], vec![first, second]).unwrap();
        let [device] = batch.devices.as_slice() else { panic!("the same device twice") };
        assert!(device.names.is_empty(), "the later word counts");
        assert_eq!(device.addresses.len(), MAX_DEVICE_TRAITS);
        assert_eq!(device.addresses.last().unwrap(), "10.0.0.39", "the most recent are kept");
    }
}
