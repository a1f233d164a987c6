//! What holds for every sensor, whatever it says and whenever it is looked at.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalogue::Catalogue;
use crate::id::{SensorId, WorkspaceId};
use crate::policy::Policy;
use crate::sensor::SensorKind;
use crate::sync::{Report, ServiceState};
use crate::version::Version;

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);

#[derive(Clone, Debug)]
enum Step {
    Say(Value, bool),
    Wait(u64),
    Close(usize),
    Reopen(usize),
    Suppress(usize),
}

/// An instant near the start, or none.
fn since() -> impl Strategy<Value = Value> {
    proptest::option::of(-4_000_i64..4_000).prop_map(|seconds| match seconds {
        Some(seconds) => json!(Timestamp::from_millis(START.millis() + seconds * 1_000).to_string()),
        None => Value::Null,
    })
}

fn facts() -> impl Strategy<Value = Value> {
    let instants = proptest::collection::vec(since(), 8);
    let state = proptest::sample::select(vec!["starting", "running", "notRunning", "startFailed"]);
    (instants, state, any::<[bool; 6]>(), 0..3_u32, -600_i64..600).prop_map(|(at, state, is, refused, skew)| {
        let interface = |up: bool, silent: &Value, losing: &Value| {
            json!({ "selected": true, "present": true, "up": up, "silentSince": silent, "losingSince": losing })
        };
        let mut facts = json!({ "host": { "memoryShortSince": at[0], "processorShortSince": at[1],
            "diskLowSince": at[2], "clockAheadSeconds": skew, "system": { "id": "debian", "version": "11" } } });
        if is[0] {
            facts["interfaces"] = json!({ "a": interface(is[1], &at[3], &at[4]), "b": interface(is[2], &at[5], &at[4]) });
        }
        if is[3] {
            let since = if at[6].is_null() { json!(START.to_string()) } else { at[6].clone() };
            facts["engines"] = json!({ "suricata": { "state": state, "since": since, "rulesFailed": refused } });
            facts["events"] = json!({ "silentSince": at[7] });
        }
        if is[4] {
            facts["door"] = json!({ "ntlmAuditing": { "since": at[2] }, "sanity": { "since": at[3] } });
            facts["nameResolution"] = json!({ "attempts": 10, "failures": refused * 5 });
        }
        facts
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (facts(), any::<bool>()).prop_map(|(facts, running)| Step::Say(facts, running)),
        4 => (1..4_000_u64).prop_map(Step::Wait),
        1 => (0..9_usize).prop_map(Step::Close),
        1 => (0..9_usize).prop_map(Step::Reopen),
        1 => (0..9_usize).prop_map(Step::Suppress),
    ]
}

fn take(sensor: &mut Sensor, step: &Step, now: &mut Timestamp, policy: &Policy) {
    let person = |sensor: &mut Sensor, index: usize, act: &dyn Fn(&mut crate::health::Issue)| {
        let count = sensor.issues.len().max(1);
        sensor.issues.values_mut().nth(index % count).into_iter().for_each(act);
    };
    let at = *now;
    match step {
        Step::Say(facts, running) => {
            let before = sensor.last_contact.unwrap_or(sensor.created_at);
            sensor.contacts.heard(before, at, policy);
            let service = if *running { ServiceState::Running } else { ServiceState::Stopped };
            let facts = serde_json::from_value(facts.clone()).unwrap();
            let version = Some(Version::new(2, 254, 1, 0));
            let report = Report { version, service, facts, pulled_configuration: *running, ..Report::default() };
            sensor.checked_in(report, at);
        }
        Step::Wait(seconds) => *now = at + Duration::from_secs(*seconds),
        Step::Close(index) => person(sensor, *index, &|issue| issue.close(at)),
        Step::Reopen(index) => person(sensor, *index, &|issue| issue.reopen(at)),
        Step::Suppress(index) => person(sensor, *index, &|issue| {
            if issue.is_open() {
                issue.suppress(at + policy.health.suppressed_for, at);
            }
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_review_is_settled_and_nothing_flaps_before_the_instant_it_names(
        kind in proptest::sample::select(SensorKind::ALL.to_vec()),
        steps in proptest::collection::vec(step(), 1..25),
    ) {
        let (policy, catalogue) = (Policy::default(), Catalogue::default());
        let (id, workspace) = (SensorId::from_parts(START, 1), WorkspaceId::from_parts(START, 1));
        let mut sensor = Sensor::new(id, workspace, "S1".to_owned(), kind, START);
        let mut now = START;
        for step in &steps {
            take(&mut sensor, step, &mut now, &policy);
            let at = |now| Context { policy: &policy, catalogue: &catalogue, ready_at: None, now };
            review(&mut sensor, &at(now));
            let settled = sensor.issues.clone();
            prop_assert_eq!(review(&mut sensor, &at(now)), Vec::new(), "a second look changes nothing");
            prop_assert_eq!(&sensor.issues, &settled);
            let next = next_change(&sensor, &at(now));
            if let Some(next) = next {
                prop_assert!(next > now);
                let just_before = Timestamp::from_millis(next.millis() - 1);
                prop_assert_eq!(review(&mut sensor, &at(just_before)), Vec::new(), "before {}", next);
                prop_assert_eq!(&sensor.issues, &settled);
            }
        }
        // Left alone, it comes to rest: each instant lies after the one before, and there are not many.
        let mut looks = 0;
        while let Some(next) = next_change(&sensor, &Context { policy: &policy, catalogue: &catalogue, ready_at: None, now }) {
            prop_assert!(next > now);
            now = next;
            review(&mut sensor, &Context { policy: &policy, catalogue: &catalogue, ready_at: None, now });
            looks += 1;
            prop_assert!(looks < 100, "it never comes to rest");
        }
    }
}
