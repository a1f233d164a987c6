//! Facts as they travel: whatever a host has and an engine says, they fit the limit of a report.
//!
//! What people chose is told before what merely is there, and what decides before what explains.

use super::{EngineFacts, Facts, InterfaceFacts, MAX_FACTS_BYTES};

/// Most interfaces that are told although nobody selected them.
pub const MAX_OTHER_INTERFACES: usize = 32;
/// Most characters of a text.
pub const MAX_TEXT: usize = 300;
/// What containers come and go with: no news, unless somebody selected one.
const PASSING_INTERFACES: &str = "veth";

impl Facts {
    /// The same within the limits, and as they are if they are within them already.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        self.engines.values_mut().for_each(EngineFacts::clip);
        if let Some(why) = &mut self.host.settings_refused {
            clip(why);
        }
        if let Some(system) = &mut self.host.system {
            clip(&mut system.id);
            clip(&mut system.version);
        }
        let mut others = 0;
        self.interfaces.retain(|name, interface| {
            let is_told = interface.selected || !name.starts_with(PASSING_INTERFACES) && others < MAX_OTHER_INTERFACES;
            others += usize::from(is_told && !interface.selected);
            is_told
        });
        self.shrink();
        self
    }

    /// Gives up one thing after the other until the rest fits.
    fn shrink(&mut self) {
        let steps: [fn(&mut Self, usize); 6] = [
            |facts, _| facts.engines.values_mut().for_each(|engine| engine.complaints.truncate(1)),
            |facts, over| facts.drop_interfaces(over, |interface| !interface.selected),
            |facts, _| facts.engines.values_mut().for_each(|engine| engine.complaints.clear()),
            |facts, over| facts.drop_interfaces(over, InterfaceFacts::is_fine),
            |facts, _| facts.door = super::DoorFacts::default(),
            |facts, over| facts.drop_interfaces(over, |_| true),
        ];
        for step in steps {
            let over = size_of(self).saturating_sub(MAX_FACTS_BYTES);
            if over == 0 {
                return;
            }
            step(self, over);
        }
    }

    /// Drops such interfaces, the last by name first, until so many bytes are saved.
    fn drop_interfaces(&mut self, over: usize, is_such: impl Fn(&InterfaceFacts) -> bool) {
        let mut saved = 0;
        let mut dropped = Vec::new();
        for (name, interface) in self.interfaces.iter().rev().filter(|(_, interface)| is_such(interface)) {
            if saved >= over {
                break;
            }
            saved += size_of(name) + size_of(interface);
            dropped.push(name.clone());
        }
        for name in dropped {
            self.interfaces.remove(&name);
        }
    }
}

impl InterfaceFacts {
    /// Whether there is nothing to say of it.
    fn is_fine(&self) -> bool {
        self.present && self.up && self.silent_since.is_none() && self.losing_since.is_none()
    }
}

impl EngineFacts {
    fn clip(&mut self) {
        clip(&mut self.reason);
        self.complaints.truncate(Self::MAX_COMPLAINTS);
        self.complaints.iter_mut().for_each(clip);
    }
}

fn clip(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
}

fn size_of<T: serde::Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::door::Check;
    use super::super::{EngineKind, EngineState, OperatingSystem};
    use super::*;
    use crate::time::Timestamp;

    fn interface(selected: bool) -> InterfaceFacts {
        InterfaceFacts { selected, present: true, up: true, ..InterfaceFacts::default() }
    }

    fn engine(text: &str) -> EngineFacts {
        EngineFacts {
            state: EngineState::StartFailed,
            since: Timestamp::from_millis(0),
            reason: text.to_owned(),
            rules_loaded: 0,
            rules_failed: 9,
            rules_superseded: 0,
            complaints: vec![text.to_owned(); 50],
            events_lost_since: None,
        }
    }

    fn is_within(facts: &Facts) -> bool {
        size_of(facts) <= MAX_FACTS_BYTES
    }

    #[test]
    fn a_host_with_a_thousand_interfaces_tells_those_that_are_selected_and_a_few_others() {
        let mut facts = Facts::default();
        for number in 0..1_000 {
            facts.interfaces.insert(format!("vlan{number:03}"), interface(number % 100 == 99));
            facts.interfaces.insert(format!("veth{number:03}"), interface(number == 500));
        }
        let fitted = facts.fitted();
        let selected = fitted.interfaces.values().filter(|interface| interface.selected).count();
        assert_eq!((fitted.interfaces.len(), selected), (32 + 11, 11));
        assert!(fitted.interfaces.contains_key("vlan999") && fitted.interfaces.contains_key("veth500"));
        assert!(fitted.interfaces.contains_key("vlan000") && !fitted.interfaces.contains_key("vlan033"));
        assert!(!fitted.interfaces.contains_key("veth000"));
        assert_eq!(fitted.clone().fitted(), fitted, "what fits stays as it is");
    }

    #[test]
    fn of_too_many_selected_interfaces_those_with_trouble_are_told() {
        let mut facts = Facts::default();
        for number in 0..1_000 {
            facts.interfaces.insert(format!("eth{number:03}"), InterfaceFacts { up: number != 999, ..interface(true) });
        }
        let fitted = facts.fitted();
        assert!(is_within(&fitted) && fitted.interfaces.len() > 300, "{}", fitted.interfaces.len());
        assert!(fitted.interfaces.contains_key("eth999") && !fitted.interfaces.contains_key("eth998"));
    }

    #[test]
    fn long_texts_are_clipped_and_complaints_give_way_to_what_decides() {
        let long = "\u{1}".repeat(8 * 1024);
        let mut facts = Facts::default();
        for kind in [EngineKind::Sigma, EngineKind::Suricata] {
            facts.engines.insert(kind, engine(&long));
        }
        facts.host.settings_refused = Some("ä".repeat(8 * 1024));
        facts.host.system = Some(OperatingSystem { id: long.clone(), version: long });
        facts.interfaces.insert("eth0".to_owned(), interface(true));
        facts.door.backup = Some(Check { problems: vec!["p".repeat(160); 10], since: None });
        let fitted = facts.fitted();
        assert!(is_within(&fitted));
        let sigma = &fitted.engines[&EngineKind::Sigma];
        assert_eq!((sigma.reason.chars().count(), sigma.rules_failed, sigma.complaints.len()), (300, 9, 1));
        assert_eq!(fitted.host.settings_refused.as_ref().unwrap().chars().count(), 300);
        assert!(fitted.interfaces.contains_key("eth0") && fitted.door.backup.is_some());
    }

    proptest! {
        #[test]
        fn whatever_was_observed_fits(
            count in 0..600_usize,
            width in 1..200_usize,
            share in 1..5_usize,
            text in "\\PC{0,400}",
            problems in 0..400_usize,
        ) {
            let mut facts = Facts::default();
            for number in 0..count {
                let name = format!("{number:0width$}");
                facts.interfaces.insert(name, InterfaceFacts { up: number % 3 == 0, ..interface(number % share == 0) });
            }
            facts.engines.insert(EngineKind::Suricata, engine(&text));
            facts.door.sanity = Some(Check { problems: vec![text.clone(); problems], since: None });
            facts.host.settings_refused = Some(text);
            prop_assert!(is_within(&facts.fitted()));
        }
    }
}
