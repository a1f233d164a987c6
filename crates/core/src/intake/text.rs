//! Texts of a host, made fit for a screen, a terminal or a log.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::content::RulesReport;
use crate::facts::{Facts, Measurements};

/// Most characters of one text of the facts.
const MAX_FACT: usize = 1_024;

/// Whether a character could do anything but be read: control characters, line ends, and those that turn the direction
/// of what follows.
fn is_misleading(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of at most `most` characters; what could mislead its reader is a blank.
#[must_use]
pub fn clean_line(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if is_misleading(c) { ' ' } else { c }).collect()
}

fn clean_value(value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
        Value::String(text) => Value::String(clean_line(&text, MAX_FACT)),
        Value::Array(items) => Value::Array(items.into_iter().map(clean_value).collect()),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (clean_line(&name, MAX_FACT), clean_value(value))).collect()
        }
    }
}

/// Every text in it, whatever its shape: a field that comes later is clean without anybody thinking of it.
fn clean<T: Serialize + DeserializeOwned + Default>(value: &T) -> T {
    let cleaned = serde_json::to_value(value).map(clean_value).and_then(serde_json::from_value);
    cleaned.unwrap_or_default()
}

/// The facts with every text in them cleaned.
#[must_use]
pub fn clean_facts(facts: &Facts) -> Facts {
    clean(facts)
}

/// What a host says of its rule packages, with every text in it cleaned.
#[must_use]
pub fn clean_rules(rules: &RulesReport) -> RulesReport {
    clean(rules)
}

/// Measurements with the names of interfaces cleaned.
#[must_use]
pub fn clean_measurements(mut measurements: Measurements) -> Measurements {
    if measurements.interfaces.keys().any(|name| name.chars().any(is_misleading)) {
        let interfaces = std::mem::take(&mut measurements.interfaces);
        measurements.interfaces =
            interfaces.into_iter().map(|(name, counters)| (clean_line(&name, MAX_FACT), counters)).collect();
    }
    measurements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::RulesFailure;
    use crate::facts::{EngineFacts, EngineKind, EngineState, InterfaceFacts, OperatingSystem};
    use crate::time::Timestamp;

    #[test]
    fn every_text_of_the_facts_is_cleaned_and_clean_facts_stay_what_they_are() {
        let mut facts = Facts::default();
        facts.interfaces.insert("eth1".to_owned(), InterfaceFacts { present: true, ..InterfaceFacts::default() });
        let engine = EngineFacts {
            state: EngineState::Running,
            since: Timestamp::from_millis(1_767_571_200_123),
            reason: String::new(),
            rules_loaded: 7,
            rules_failed: 1,
            rules_superseded: 0,
            complaints: vec!["rule 1".to_owned()],
            events_lost_since: None,
        };
        facts.engines.insert(EngineKind::Suricata, engine);
        assert_eq!(clean_facts(&facts), facts);

        let mut lied = facts.clone();
        lied.interfaces.insert("x\u{1b}[2J".to_owned(), InterfaceFacts::default());
        lied.engines.get_mut(&EngineKind::Suricata).unwrap().complaints = vec!["a\nb\u{202e}".to_owned()];
        lied.host.settings_refused = Some("\u{9b}31m".to_owned());
        lied.host.system = Some(OperatingSystem { id: "d\0".to_owned(), version: "1\t2".to_owned() });
        let clean = clean_facts(&lied);
        assert!(clean.interfaces.contains_key("x [2J"));
        assert_eq!(clean.engines[&EngineKind::Suricata].complaints, ["a b "]);
        assert_eq!(clean.host.settings_refused.as_deref(), Some(" 31m"));
        assert_eq!(clean.host.system, Some(OperatingSystem { id: "d ".to_owned(), version: "1 2".to_owned() }));
        let text = serde_json::to_string(&clean).unwrap();
        assert!(!text.chars().any(is_misleading) && !text.contains("\\u00"), "{text}");
        assert_eq!(clean_facts(&clean), clean);
    }

    #[test]
    fn rules_and_measurements_are_cleaned_too() {
        let at = Timestamp::from_millis(0);
        let failed = Some(RulesFailure { build: at, reason: "bad\r\nrule".to_owned(), at });
        let rules = RulesReport { failed, ..RulesReport::default() };
        assert_eq!(clean_rules(&rules).failed.unwrap().reason, "bad  rule");
        let mut measurements = Measurements::default();
        measurements.interfaces.insert("e\n".to_owned(), crate::facts::InterfaceCounters::default());
        assert_eq!(clean_measurements(measurements).interfaces.into_keys().collect::<Vec<_>>(), ["e "]);
    }
}
