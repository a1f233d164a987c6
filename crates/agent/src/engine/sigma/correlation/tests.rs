//! Windows in event time: thresholds to the second, order, bounds, and what survives a restart.

use std::path::Path;

use super::*;
use crate::engine::sigma::Sigma;
use crate::engine::sigma::event::AuditEvent;
use crate::engine::{Engine as _, Match};

const BASE: &str =
    "title: Base\nid: base\nname: base\nlogsource:\n  product: samba\ndetection:\n  s:\n    a: 1\n  condition: s\n";
const OTHER: &str =
    "title: Other\nid: other\nlogsource:\n  product: samba\ndetection:\n  s:\n    a: 2\n  condition: s\n";

fn correlation(id: &str, kind: &str, rules: &str, rest: &str) -> String {
    format!(
        "title: {id}\nid: {id}\ncorrelation:\n  type: {kind}\n  rules: [{rules}]\n  group-by: [u]\n  timespan: 10m\n{rest}\nlevel: high\n"
    )
}

fn engine(files: &[(&str, &str)]) -> Sigma {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    Sigma::load(folder.path()).unwrap()
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

/// An event so many seconds after a fixed instant.
fn event(seconds: u32, a: u32, user: &str, value: &str) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(r#"{{"timestamp":"2026-01-05T{h:02}:{m:02}:{s:02}.000000+0000","a":{a},"u":"{user}","v":"{value}"}}"#)
}

fn feed(sigma: &mut Sigma, text: &str) -> Vec<Match> {
    sigma.evaluate(&AuditEvent::parse(text.as_bytes()).unwrap(), true)
}

/// At which of these events each rule fired, by the events' positions.
fn fired(sigma: &mut Sigma, events: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, text) in events.iter().enumerate() {
        found.extend(feed(sigma, text).into_iter().map(|rule| (number, rule.rule_id)));
    }
    found
}

#[test]
fn a_count_is_complete_at_the_last_second_of_its_span_and_not_one_later() {
    let rule = correlation("c", "event_count", "base", "  condition:\n    gte: 3");
    let files = [("a.yml", BASE), ("c.yml", rule.as_str())];
    let at = |seconds: [u32; 3]| seconds.map(|second| event(second, 1, "x", ""));
    assert_eq!(fired(&mut engine(&files), &at([0, 1, 600])), [(2, "c".to_owned())]);
    assert_eq!(fired(&mut engine(&files), &at([0, 1, 601])), []);
    // Groups are apart, and an event without its group's field is in none.
    let mut mixed: Vec<String> = ["x", "y", "x", "y"].iter().map(|user| event(1, 1, user, "")).collect();
    mixed.extend([r#"{"timestamp":"2026-01-05T00:00:01Z","a":1}"#.to_owned(), r#"{"a":1,"u":"x"}"#.to_owned()]);
    assert_eq!(fired(&mut engine(&files), &mixed), []);
    let found = feed(&mut engine(&[("a.yml", BASE), ("c.yml", &rule.replace("gte: 3", "gte: 1"))]), &mixed[0]);
    let correlation = found[0].correlation.as_ref().unwrap();
    assert_eq!((correlation.group["u"].as_str(), correlation.value), ("x", 1.0));
}

#[test]
fn whoever_goes_on_is_reported_once_in_each_span() {
    let rule = correlation("c", "event_count", "base", "  condition:\n    gte: 3");
    let mut sigma = engine(&[("a.yml", BASE), ("c.yml", &rule)]);
    let events: Vec<String> = (0..1_500).map(|second| event(second, 1, "x", "")).collect();
    // Complete at 2; quiet for 600 s; three more from 602 on.
    let at: Vec<usize> = fired(&mut sigma, &events).into_iter().map(|(number, _)| number).collect();
    assert_eq!(at, [2, 604, 1_206]);
}

#[test]
fn different_values_are_counted_once_each() {
    let rule = correlation("c", "value_count", "base", "  condition:\n    field: v\n    gte: 3");
    let mut sigma = engine(&[("a.yml", BASE), ("c.yml", &rule)]);
    let values = ["p", "p", "q", "p", "q", "p", "r"];
    let events: Vec<String> = (0..).zip(values).map(|(second, value)| event(second, 1, "x", value)).collect();
    assert_eq!(fired(&mut sigma, &events), [(6, "c".to_owned())]);
    // What was seen again counts from then on: p at 500 is still there at 700, q at 2 is not.
    let mut sigma = engine(&[("a.yml", BASE), ("c.yml", &rule)]);
    let events = [(0, "p"), (2, "q"), (500, "p"), (700, "r"), (701, "s")].map(|(s, v)| event(s, 1, "x", v));
    assert_eq!(fired(&mut sigma, &events), [(4, "c".to_owned())]);
}

#[test]
fn together_is_in_any_order_and_ordered_is_not() {
    let together = correlation("t", "temporal", "base, other", "");
    let ordered = correlation("o", "temporal_ordered", "base, other", "");
    let files = [("a.yml", BASE), ("b.yml", OTHER), ("o.yml", &ordered), ("t.yml", &together)];
    let forward = [event(0, 1, "x", ""), event(1, 2, "x", "")];
    let backward = [event(0, 2, "x", ""), event(1, 1, "x", "")];
    assert_eq!(fired(&mut engine(&files), &forward), [(1, "o".to_owned()), (1, "t".to_owned())]);
    assert_eq!(fired(&mut engine(&files), &backward), [(1, "t".to_owned())]);
    assert_eq!(fired(&mut engine(&files), &[event(0, 1, "x", ""), event(601, 2, "x", "")]), []);
}

#[test]
fn correlations_rest_on_one_another_and_silent_rules_raise_nothing_unless_asked_to() {
    let below = correlation("below", "event_count", "base", "  condition:\n    gte: 2");
    let above = correlation("above", "value_count", "below", "  condition:\n    field: u\n    gte: 2")
        .replace("group-by: [u]", "group-by: []");
    let mut sigma = engine(&[("a.yml", BASE), ("b.yml", &below), ("c.yml", &above)]);
    assert_eq!(sigma.rules().complaints, Vec::<String>::new());
    let events = ["x", "x", "y", "y"].map(|user| event(1, 1, user, ""));
    let expected = [(1, "below"), (3, "above"), (3, "below")].map(|(number, id)| (number, id.to_owned()));
    let mut found = fired(&mut sigma, &events);
    found.sort();
    assert_eq!(found, expected);
    let loud = format!("{below}generate: true\n");
    let mut sigma = engine(&[("a.yml", BASE), ("b.yml", &loud)]);
    assert_eq!(fired(&mut sigma, &events[..1]), [(0, "base".to_owned())]);
}

#[test]
fn a_correlation_without_its_rules_or_in_a_circle_or_beyond_the_limits_is_refused() {
    let files = [
        ("a.yml", BASE.to_owned()),
        ("b.yml", correlation("b", "event_count", "nothing", "  condition:\n    gte: 2")),
        ("c.yml", correlation("c", "event_count", "d", "  condition:\n    gte: 2")),
        ("d.yml", correlation("d", "event_count", "c", "  condition:\n    gte: 2")),
        ("e.yml", correlation("e", "event_count", "base", "  condition:\n    gte: 1001")),
        ("f.yml", correlation("base", "event_count", "base", "  condition:\n    gte: 2")),
    ];
    let sigma = engine(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    assert_eq!((sigma.rules().loaded, sigma.rules().failed), (1, 5), "{:#?}", sigma.rules().complaints);
}

#[test]
fn filters_take_away_from_the_rules_they_name() {
    let filter = "title: F\nid: f\nlogsource:\n  product: samba\nfilter:\n  rules: [base]\n  known:\n    u: svc\n  condition: not known\n";
    let mut sigma = engine(&[("a.yml", BASE), ("f.yml", filter), ("g.yml", &filter.replace("[base]", "[gone]"))]);
    assert_eq!((sigma.rules().loaded, sigma.rules().failed), (2, 1), "{:#?}", sigma.rules().complaints);
    assert_eq!(feed(&mut sigma, &event(0, 1, "svc", "")).len(), 0);
    assert_eq!(feed(&mut sigma, &event(0, 1, "x", "")).len(), 1);
}

#[test]
fn a_restart_between_any_two_events_changes_nothing() {
    let files = [
        ("a.yml", BASE.to_owned()),
        ("b.yml", OTHER.to_owned()),
        ("c.yml", correlation("c", "event_count", "base", "  condition:\n    gte: 4")),
        ("d.yml", correlation("d", "value_count", "base", "  condition:\n    field: v\n    gte: 3")),
        ("e.yml", correlation("e", "temporal_ordered", "base, other", "")),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let events: Vec<String> = (0..400_u32)
        .map(|n| {
            event(
                n * 7 % 900 + n,
                1 + n % 5 / 4,
                ["x", "y", "z"][n as usize % 3],
                ["p", "q", "r", "s"][n as usize / 2 % 4],
            )
        })
        .collect();
    let whole = fired(&mut engine(&files), &events);
    assert!(whole.len() > 10, "{whole:?}");
    let mut pieces = Vec::new();
    let mut sigma = engine(&files);
    for (number, text) in events.iter().enumerate() {
        let state = sigma.state();
        sigma = engine(&files);
        sigma.restore(&state);
        let read = |state: &[u8]| serde_json::from_slice::<serde_json::Value>(state).unwrap();
        assert_eq!(read(&sigma.state()), read(&state));
        pieces.extend(feed(&mut sigma, text).into_iter().map(|rule| (number, rule.rule_id)));
    }
    assert_eq!(pieces, whole);
}

#[test]
fn a_rule_with_another_wording_starts_anew_and_the_others_go_on() {
    let (c, d) = (
        correlation("c", "event_count", "base", "  condition:\n    gte: 2"),
        correlation("d", "event_count", "base", "  condition:\n    gte: 2"),
    );
    let mut before = engine(&[("a.yml", BASE), ("c.yml", &c), ("d.yml", &d)]);
    feed(&mut before, &event(0, 1, "x", ""));
    let mut after = engine(&[("a.yml", BASE), ("c.yml", &c), ("d.yml", &format!("{d}status: stable\n"))]);
    after.restore(&before.state());
    assert!(after.is_changed(), "what was counted is still to be made durable");
    assert_eq!(fired(&mut after, &[event(1, 1, "x", "")]), [(0, "c".to_owned())]);
    after.restore(b"not a state");
}

#[test]
fn what_is_kept_is_bounded_however_many_groups_and_values_there_are() {
    let (c, d) = (
        correlation("c", "event_count", "base", "  condition:\n    gte: 1000"),
        correlation("d", "value_count", "base", "  condition:\n    field: v\n    gte: 1000"),
    );
    let mut sigma = engine(&[("a.yml", BASE), ("c.yml", &c), ("d.yml", &d)]);
    let long = "v".repeat(10_000);
    for n in 0..12_000 {
        feed(&mut sigma, &event(n / 100, 1, &format!("user{n}"), &format!("{long}{n}")));
    }
    let (groups, hits) = sigma.book.sizes();
    assert!(groups <= GROUPS && groups > GROUPS / 2, "{groups}");
    assert!(hits <= HITS, "{hits}");
    for n in 0..2_500 {
        feed(&mut sigma, &event(200, 1, "one", &n.to_string()));
    }
    assert!(sigma.book.sizes().1 <= HITS);
    assert!(sigma.state().len() < 8 * 1024 * 1024, "{}", sigma.state().len());
}

#[test]
fn a_clock_that_was_far_ahead_does_not_fill_a_window_for_ever() {
    let rule = correlation("c", "event_count", "base", "  condition:\n    gte: 3");
    let mut sigma = engine(&[("a.yml", BASE), ("c.yml", &rule)]);
    let events = [event(80_000, 1, "x", ""), event(80_001, 1, "x", ""), event(0, 1, "x", ""), event(1, 1, "x", "")];
    assert_eq!(fired(&mut sigma, &events), []);
    assert_eq!(fired(&mut sigma, &[event(2, 1, "x", "")]), [(0, "c".to_owned())]);
}

#[test]
fn a_canary_is_not_counted() {
    let rule = correlation("c", "event_count", "base", "  condition:\n    gte: 1");
    let mut sigma = engine(&[("a.yml", BASE), ("c.yml", &rule)]);
    let text = event(0, 1, "x", "");
    assert!(sigma.evaluate(&AuditEvent::parse(text.as_bytes()).unwrap(), false).is_empty());
    assert!(!sigma.is_changed());
}
