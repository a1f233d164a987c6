//! The catalogue is whole, its numbers are stable, and its words are the API's.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_type_has_one_entry_and_its_word() {
    let kinds: BTreeSet<_> = entries().map(|entry| entry.kind).collect();
    assert_eq!(kinds, IssueType::all().collect(), "each type once");
    assert_eq!(entries().count(), kinds.len());
    for entry in entries() {
        assert_eq!(serde_json::to_value(entry.kind).unwrap(), entry.word);
        assert_eq!(IssueType::from_word(entry.word), Some(entry.kind));
    }
}

#[test]
fn numbers_are_unique_and_the_documented_ones_are_kept() {
    let ids: BTreeSet<_> = entries().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), entries().count());
    let id = |word| IssueType::from_word(word).unwrap().entry().id;
    assert_eq!(id("sensorStoppedCommunicating"), 1011);
    assert_eq!(id("sensorServiceFailedToStart"), 1018);
    assert_eq!(id("objectAuditingIncomplete"), 1031);
}

#[test]
fn the_documented_catalogues_are_whole() {
    let of = |list: &str| entries().filter(|e| e.documented.is_some_and(|d| d.starts_with(list))).count();
    assert_eq!(of("identity"), 33, "31 numbers, 18 in three parts");
    assert_eq!(of("network"), 12, "11 messages, and overloaded");
    for number in 1..=31 {
        let wanted = format!("identity {number}");
        let is_it = |documented: &str| documented == wanted || documented.trim_end_matches(['a', 'b', 'c']) == wanted;
        assert!(entries().any(|entry| entry.documented.is_some_and(is_it)), "{wanted}");
    }
}

#[test]
fn severity_follows_the_category_of_a_message() {
    for entry in entries() {
        match entry.category {
            Some(Category::Critical) => assert_eq!(entry.severity, Severity::High, "{}", entry.word),
            Some(Category::Warning) => assert_eq!(entry.severity, Severity::Medium, "{}", entry.word),
            Some(Category::Healthy) => assert!(!entry.counts(), "{}", entry.word),
            None => assert!(entry.counts()),
        }
    }
}

#[test]
fn every_entry_says_what_it_is_and_what_to_do() {
    for entry in entries() {
        let word = entry.word;
        assert!(!entry.title.is_empty() && !entry.trigger.is_empty() && !entry.description.is_empty(), "{word}");
        assert!(!entry.remediation.is_empty(), "{word}");
        match entry.measured {
            Measured::By(text) | Measured::Door(text) | Measured::NotYet(text) => assert!(!text.is_empty(), "{word}"),
        }
        assert_eq!(entry.sensors == Sensors::None, (1400..1500).contains(&entry.id) || entry.id == 1131, "{word}");
    }
}

/// The catalogue as the tables of the operators' guide.
fn tables() -> String {
    let mut text = String::new();
    for (heading, part) in [
        ("Identity sensors: the documented types", &[identity::ENTRIES, auditing::ENTRIES][..]),
        ("Network sensors: the documented messages", &[network::ENTRIES]),
        ("Our own types of a sensor", &[engine::ENTRIES]),
        ("Our own types of the control plane", &[server::ENTRIES]),
    ] {
        text.push_str(&format!("\n### {heading}\n\n"));
        text.push_str(
            "| no. | id | type | title | severity | scope | generation | sensors | opens when | measured by |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
        for entry in part.iter().flat_map(|entries| entries.iter()) {
            let documented = entry.documented.unwrap_or("–");
            let number = documented.trim_start_matches("identity ").trim_start_matches("network ");
            let measured = match entry.measured {
                Measured::By(what) => what.to_owned(),
                Measured::Door(field) => format!("door only: `{field}`"),
                Measured::NotYet(why) => format!("nothing yet: {why}"),
            };
            let category = entry.category.map(|category| format!(" ({})", category.word())).unwrap_or_default();
            text.push_str(&format!(
                "| {number} | {} | `{}` | {} | {}{category} | {} | {} | {} | {} | {measured} |\n",
                entry.id,
                entry.word,
                entry.title,
                entry.severity.word(),
                entry.scope.word(),
                entry.generation.word(),
                entry.sensors.word(),
                entry.trigger,
            ));
        }
    }
    text
}

#[test]
fn the_guide_shows_the_catalogue_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operators/health-issues.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let marker = "<!-- The tables below are the catalogue; a test compares them with it. -->\n";
    let (_, shown) = guide.split_once(marker).unwrap();
    assert!(shown == tables(), "put this below the marker of {path}:\n{}", tables());
}

#[test]
fn at_least_fifteen_documented_types_are_measured() {
    let measured = entries().filter(|e| e.documented.is_some() && matches!(e.measured, Measured::By(_)));
    assert!(measured.count() >= 15);
}
