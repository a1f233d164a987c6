//! Every scenario beside this file, against what the specification says must come of it.
//!
//! `NAME.json` is played; `NAME.expected.json` holds what is checked, worked out by hand: `events` (of the kinds in
//! `only`, if given), `observations`, `sensors`, `rollouts`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program: whatever is wrong ends it")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use watchpost_core::rehearsal::{Scenario, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn names() -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(name) = name.strip_suffix(".expected.json") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn play(name: &str, seed: Option<u64>) -> Value {
    let scenario = Scenario::parse(&text(&format!("{name}.json"))).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::to_value(run(&scenario, seed)).unwrap()
}

fn of_kinds(events: &Value, only: Option<&Value>) -> Value {
    let is_wanted = |event: &&Value| only.is_none_or(|only| only.as_array().unwrap().contains(&event["event"]));
    events.as_array().unwrap().iter().filter(is_wanted).cloned().collect()
}

#[test]
fn every_scenario_comes_to_what_the_specification_says() {
    let names = names();
    assert!(names.len() >= 20, "the scenarios were not found");
    for name in names {
        let expected: Value = serde_json::from_str(&text(&format!("{name}.expected.json"))).unwrap();
        let mut came = play(&name, None);
        came["events"] = of_kinds(&came["events"], expected.get("only"));
        for key in ["events", "observations", "sensors", "rollouts"] {
            if let Some(wanted) = expected.get(key) {
                let (wanted, came) =
                    (serde_json::to_string_pretty(wanted).unwrap(), serde_json::to_string_pretty(&came[key]).unwrap());
                assert_eq!(came, wanted, "{name}, {key}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_no_scenario_needs_the_even_beat() {
    for name in names() {
        for seed in [1, 7] {
            let (once, twice) = (play(&name, Some(seed)), play(&name, Some(seed)));
            assert_eq!(once.to_string(), twice.to_string(), "{name}, seed {seed}");
        }
        let (even, moved) = (play(&name, None), play(&name, Some(1)));
        let versions = |came: &Value| {
            let sensors = came["sensors"].as_array().unwrap();
            sensors.iter().map(|sensor| sensor["version"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(versions(&even), versions(&moved), "{name}");
    }
}
