//! How large a piece of evidence may be: whatever the traffic says, an item fits a batch.
//!
//! Nothing is refused for its size. It is cut, and says so.

use std::net::IpAddr;

use serde_json::Value;

use super::{Alert, MAX_DEVICE_TRAITS, MAX_TEXT};

/// Most bytes of one alert in its JSON form: two fit a batch with room to spare.
pub const MAX_ALERT_BYTES: usize = 16 * 1024;
/// Most members of an alert's event.
pub const MAX_EVENT_FIELDS: usize = 64;
/// Most bytes of a name that a device is known by; a DNS name has fewer.
pub const MAX_NAME_BYTES: usize = 256;
/// Most bytes of a protocol's word.
pub const MAX_WORD_BYTES: usize = 32;
/// The member of a cut alert's event that says so.
pub const CUT: &str = "cut";

/// The beginning of `text`, at most so many bytes and whole characters.
#[must_use]
pub fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The beginning of `text`, at most [`MAX_TEXT`] characters.
#[must_use]
pub fn clip_text(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

/// A name or word as it is kept: without control characters, trimmed and clipped; `None` when nothing is left.
#[must_use]
pub fn clean(text: &str, bytes: usize) -> Option<String> {
    let visible: String = text.chars().filter(|c| !c.is_control()).collect();
    let kept = clip(visible.trim(), bytes).trim_end();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// The address of one device in its usual form; `None` for what is no address, or stands for many or for none.
#[must_use]
pub fn network_address(text: &str) -> Option<String> {
    let address: IpAddr = text.parse().ok()?;
    let is_everybody = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let is_of_one = !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_everybody);
    is_of_one.then(|| address.to_canonical().to_string())
}

/// The hardware address of one device, lower case with colons; `None` for what is none, or stands for many or for none.
#[must_use]
pub fn hardware_address(text: &str) -> Option<String> {
    let mut octets = [0_u8; 6];
    let mut parts = text.split([':', '-']);
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 2)?;
        let is_hex = part.bytes().all(|b| b.is_ascii_hexdigit());
        *octet = u8::from_str_radix(part, 16).ok().filter(|_| is_hex)?;
    }
    let [first, ..] = octets;
    let is_of_one = parts.next().is_none() && first & 1 == 0 && octets != [0; 6];
    is_of_one.then(|| octets.map(|octet| format!("{octet:02x}")).join(":"))
}

impl Alert {
    /// This alert with its texts clipped, and cut until it has at most [`MAX_ALERT_BYTES`].
    #[must_use]
    pub fn bounded(&self) -> Self {
        let mut alert = self.clone();
        for text in [&mut alert.id, &mut alert.rule_id, &mut alert.rule_title] {
            *text = clip_text(text).to_owned();
        }
        if alert.event.len() > MAX_EVENT_FIELDS {
            let first = alert.event.into_iter().take(MAX_EVENT_FIELDS);
            alert.event = first.chain([(CUT.to_owned(), Value::Bool(true))]).collect();
        }
        for value in alert.event.values_mut() {
            bound_value(value);
        }
        alert.devices = self.devices.iter().take(MAX_DEVICE_TRAITS).map(|name| clip_text(name).to_owned()).collect();
        while json_bytes(&alert) > MAX_ALERT_BYTES {
            let Some(last) = alert.event.keys().rfind(|key| *key != CUT).cloned() else { break };
            alert.event.remove(&last);
            alert.event.insert(CUT.to_owned(), Value::Bool(true));
        }
        if json_bytes(&alert) > MAX_ALERT_BYTES {
            alert.devices.clear(); // Names of nothing but four-byte characters; the event is gone already.
        }
        alert
    }
}

/// A text is clipped; what nests becomes its JSON text, clipped.
fn bound_value(value: &mut Value) {
    let kept = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => return,
        Value::String(text) => clip_text(text).to_owned(),
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if text.len() <= MAX_TEXT {
                return;
            }
            clip_text(&text).to_owned()
        }
    };
    *value = Value::String(kept);
}

fn json_bytes(alert: &Alert) -> usize {
    serde_json::to_vec(alert).map_or(usize::MAX, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{AlertLevel, MAX_BATCH_BYTES};
    use crate::facts::EngineKind;
    use crate::time::Timestamp;

    fn alert(event: serde_json::Map<String, Value>) -> Alert {
        Alert {
            id: "00".repeat(16),
            at: Timestamp::from_millis(0),
            engine: EngineKind::Sigma,
            rule_id: "r".to_owned(),
            rule_title: "t".to_owned(),
            level: AlertLevel::High,
            event,
            devices: std::collections::BTreeSet::new(),
            has_packets: false,
        }
    }

    #[test]
    fn an_alert_within_its_bounds_stays_as_it_is() {
        let event = [("port".to_owned(), Value::from(502)), ("a".to_owned(), serde_json::json!(["x", "y"]))];
        let alert = alert(event.into_iter().collect());
        assert_eq!(alert.bounded(), alert);
    }

    #[test]
    fn an_enormous_alert_is_cut_and_says_so() {
        let event = (0..5_000).map(|n| (format!("k{n:04}"), Value::from("\u{1}\u{1F600}".repeat(10_000)))).collect();
        let mut alert = alert(event);
        alert.devices = (0..100).map(|n| format!("{n}{}", "\u{1F600}".repeat(1_000))).collect();
        alert.rule_title = "\"".repeat(100_000);
        let bounded = alert.bounded();
        let bytes = serde_json::to_vec(&bounded).unwrap().len();
        assert!(bytes <= MAX_ALERT_BYTES, "{bytes}");
        const { assert!(MAX_ALERT_BYTES < MAX_BATCH_BYTES) };
        assert_eq!(bounded.event.get(CUT), Some(&Value::Bool(true)));
        assert_eq!(bounded.rule_title.chars().count(), MAX_TEXT);
        assert_eq!(bounded.bounded(), bounded);
    }

    #[test]
    fn addresses_that_stand_for_one_device_are_taken() {
        for (text, kept) in [("10.0.0.1", "10.0.0.1"), ("FE80::0:1", "fe80::1"), ("::ffff:10.0.0.1", "10.0.0.1")] {
            assert_eq!(network_address(text).as_deref(), Some(kept));
        }
        for bad in ["", "x", "0.0.0.0", "::", "255.255.255.255", "224.0.0.251", "ff02::1", "127.0.0.1", "10.0.0.1/8"] {
            assert_eq!(network_address(bad), None, "{bad}");
        }
        assert_eq!(hardware_address("AA-bb-0C-01-02-03").as_deref(), Some("aa:bb:0c:01:02:03"));
        for bad in
            ["", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:ff:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb", "0:0:0:0:0:0"]
        {
            assert_eq!(hardware_address(bad), None, "{bad}");
        }
        assert_eq!(hardware_address("00:00:00:00:00:00"), None);
        assert_eq!(hardware_address("+1:00:00:00:00:02"), None);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(clip("aäb", 2), "a");
        assert_eq!(clip("aäb", 3), "aä");
        assert_eq!(clip_text(&"ä".repeat(300)).chars().count(), MAX_TEXT);
        assert_eq!(clean(" a\u{0}\nb ", 9).as_deref(), Some("ab"));
        assert_eq!(clean("\n", 9), None);
    }
}
