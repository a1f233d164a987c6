//! What is refused, and where it says so; the beat of check-ins.

use std::time::Duration;

use super::beat::Beat;
use super::*;
use crate::policy::ContactPolicy;
use crate::time::Timestamp;

/// A scenario with these members beside start and until.
fn refused(rest: &str) -> String {
    let text = format!(r#"{{"start": "2026-01-05T00:00:00Z", "until": "P1D", {rest}}}"#);
    match Scenario::parse(&text) {
        Ok(_) => panic!("taken: {rest}"),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}")
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_with_the_path_of_its_key() {
    for (rest, path) in [
        (r#""sensors": [{"name": "A", "foo": 1}]"#, "sensors[0].foo"),
        (r#""sensors": [{"name": "A"}, {"name": "A"}]"#, "sensors[1].name"),
        (r#""sensors": [], "polcy": {}"#, "polcy"),
        (r#""sensors": [], "policy": {"failureBudget": {"percnt": 1}}"#, "policy.failureBudget.percnt"),
        (r#""sensors": [], "policy": {"maxInFlight": 0}"#, "policy.maxInFlight"),
        (r#""sensors": [], "policy": {"checkIn": "PT0S"}"#, "policy.checkIn"),
        (r#""sensors": [], "observe": ["PT1M", "noon"]"#, "observe[1]"),
        (
            r#""sensors": [], "catalogue": [{"version": "2.254.1.0", "publishedAt": "then"}]"#,
            "catalogue[0].publishedAt",
        ),
        (r#""sensors": [], "releases": [{"at": "1h", "version": "2.254.1.0"}]"#, "releases[0].at"),
        (r#""sensors": [], "operator": [{"at": "PT1H", "do": "retry"}]"#, "operator[0].sensor"),
        (r#""sensors": [], "operator": [{"at": "PT1H", "do": "pause", "version": "2.1.1.1"}]"#, "operator[0].version"),
        (
            r#""sensors": [{"name": "A", "behaviour": {"offline": [{"from": "PT2H", "to": "PT1H"}]}}]"#,
            "sensors[0].behaviour.offline[0].to",
        ),
        (
            r#""sensors": [{"name": "A", "behaviour": {"healthFacts": [{"from": "PT2H", "to": "PT3H", "issueType": "x"}]}}]"#,
            "sensors[0].behaviour.healthFacts[0].issueType",
        ),
        (
            r#""sensors": [], "releases": [{"at": "PT2H", "version": "2.2.2.2"}], "operator": [{"at": "PT1H", "do": "pause", "version": "2.2.2.2"}]"#,
            "operator[0].at",
        ),
        (r#""policy": {}"#, "missing field `sensors`"),
    ] {
        let said = refused(rest);
        assert!(said.contains(path), "{said} does not name {path}");
    }
    assert!(Scenario::parse("no json").is_err());
    assert!(Scenario::parse(r#"{"start": "2026-01-05", "until": "P1D", "sensors": []}"#).is_err());
    assert!(Scenario::parse(r#"{"start": "2026-01-05T00:00:00Z", "until": "P1D", "sensors": []} {}"#).is_err());
}

#[test]
fn check_ins_keep_their_interval_and_with_a_seed_move_by_a_tenth_of_it_at_most() {
    let (start, contact) = (Timestamp::from_millis(1_767_571_200_000), ContactPolicy::default());
    let interval = contact.check_in;
    let even = Beat::new(start, &contact, None);
    assert_eq!(even.next(start), start);
    assert_eq!(even.next(start + Duration::from_millis(1)), start + interval);
    assert_eq!(even.last(start + Duration::from_secs(119)), start + interval);
    let moved = Beat::new(start, &contact, Some((7, 3)));
    let (mut at, mut gaps) = (moved.next(start), Vec::new());
    assert_eq!(at, start, "the first one is at the start");
    for _ in 0..500 {
        let next = moved.next(at + Duration::from_millis(1));
        assert_eq!(moved.last(next), next);
        assert_eq!(moved.last(next - Duration::from_millis(1)), at);
        gaps.push(next.since(at).as_secs());
        at = next;
    }
    assert!(gaps.iter().all(|gap| (54..=66).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != 60), "a seed moves them");
}
