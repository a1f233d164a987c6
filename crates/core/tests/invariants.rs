//! What holds in every rehearsal, whatever the fleet, its faults and the people do.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program: whatever is wrong ends it")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use watchpost_core::rehearsal::{EventRow, Outcome, Scenario, run};
use watchpost_core::time::parse_duration;

const NEWEST: &str = "2.255.1.0";
/// Staging deadline, clearance deadline and the check-ins that tell of it: no attempt is under way for longer.
const LONGEST_FLIGHT: u64 = (30 + 10 + 3) * 60;
/// The scenario lasts three days.
const LENGTH: u64 = 3 * 24 * 60 * 60;

#[derive(Clone, Debug)]
struct Host {
    zone: usize,
    delayed: bool,
    on_update: &'static str,
    takes: u64,
    offline: Option<(u64, u64)>,
}

fn host(is_always_on: bool) -> impl Strategy<Value = Host> {
    let faults: &[&str] = if is_always_on {
        &["ok", "ok", "ok", "crash", "unhealthy", "stall"]
    } else {
        &["ok", "ok", "crash", "unhealthy", "stall", "silent"]
    };
    let offline = proptest::option::of((0..LENGTH, 60..20_000_u64))
        .prop_map(move |window| window.filter(|_| !is_always_on).map(|(from, lasts)| (from, from + lasts)));
    let on_update = proptest::sample::select(faults.to_vec());
    (0..3_usize, any::<bool>(), on_update, 1..300_u64, offline)
        .prop_map(|(zone, delayed, on_update, takes, offline)| Host { zone, delayed, on_update, takes, offline })
}

fn scenario(hosts: &[Host], policy: Value, operator: Value) -> Scenario {
    let seconds = |count: u64| format!("PT{count}S");
    let sensor = |(index, host): (usize, &Host)| {
        let windows: Vec<Value> =
            host.offline.iter().map(|(from, to)| json!({"from": seconds(*from), "to": seconds(*to)})).collect();
        json!({
            "name": format!("S{index}"), "version": "2.254.1.0", "zone": format!("z{}", host.zone), "delayed": host.delayed,
            "behaviour": {"onUpdate": {NEWEST: host.on_update}, "updateTakes": seconds(host.takes), "offline": windows},
        })
    };
    let sensors: Vec<Value> = hosts.iter().enumerate().map(sensor).collect();
    let text = json!({
        "start": "2026-01-05T00:00:00Z", "until": seconds(LENGTH), "policy": policy, "operator": operator, "sensors": sensors,
        "catalogue": [{"version": "2.254.1.0", "publishedAt": "2025-12-01T00:00:00Z"}],
        "releases": [{"at": "PT1H", "version": NEWEST}],
    });
    Scenario::parse(&text.to_string()).unwrap()
}

fn seconds_of(event: &EventRow) -> u64 {
    parse_duration(&event.at).unwrap().as_secs()
}

/// Calls `look` after every event with who is in flight since when.
fn follow(outcome: &Outcome, mut look: impl FnMut(&EventRow, &BTreeMap<String, u64>)) {
    let mut flying = BTreeMap::new();
    for event in &outcome.events {
        if let Some(sensor) = &event.sensor {
            match event.event.as_str() {
                "started" => {
                    assert_eq!(flying.insert(sensor.clone(), seconds_of(event)), None, "started twice: {event:?}")
                }
                "cleared" | "reverted" | "failed" => {
                    assert!(flying.remove(sensor).is_some(), "ended what was not under way: {event:?}");
                }
                _ => {}
            }
        }
        look(event, &flying);
    }
}

fn in_time_order(outcome: &Outcome) -> bool {
    outcome.events.windows(2).all(|pair| seconds_of(&pair[0]) <= seconds_of(&pair[1]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_in_flight_for_ever_and_never_more_than_allowed(
        hosts in proptest::collection::vec(host(false), 1..14),
        cap in proptest::option::of(1..4_usize),
        seed in proptest::option::of(any::<u64>()),
        pause in 3600..10_000_u64,
    ) {
        let policy = cap.map_or(json!({}), |cap| json!({"maxInFlight": cap}));
        let operator = json!([
            {"at": format!("PT{pause}S"), "do": "pause", "version": NEWEST},
            {"at": format!("PT{}S", pause + 5_000), "do": "resume", "version": NEWEST},
            {"at": "PT60H", "do": "retry", "sensor": "S0"},
        ]);
        let scenario = scenario(&hosts, policy, operator);
        let outcome = run(&scenario, seed);
        prop_assert!(in_time_order(&outcome));
        let mut last = 0;
        follow(&outcome, |event, flying| {
            last = seconds_of(event);
            assert!(flying.len() <= cap.unwrap_or(1), "too many: {flying:?} at {event:?}");
            for (sensor, since) in flying {
                assert!(last - since <= LONGEST_FLIGHT, "{sensor} is in flight for ever, at {event:?}");
            }
        });
        prop_assert_eq!(serde_json::to_string(&outcome).unwrap(), serde_json::to_string(&run(&scenario, seed)).unwrap());
        let row = &outcome.rollouts[0];
        prop_assert_eq!(row.cleared + row.failed + row.skipped + row.pending, u32::try_from(hosts.len()).unwrap());
    }

    #[test]
    fn no_zone_is_ever_left_short_and_whoever_can_be_updated_is(
        hosts in proptest::collection::vec(host(true), 1..14),
        cap in 1..6_usize,
        keep in 0..4_usize,
        seed in proptest::option::of(any::<u64>()),
    ) {
        // Everybody may fail here: what is looked at is who is taken when.
        let coverage: Vec<Value> = (0..3).map(|zone| json!({"zone": format!("z{zone}"), "keepWatching": keep})).collect();
        let budget = json!({"percent": 100, "atLeast": 100});
        let policy = json!({"maxInFlight": cap, "coverage": coverage, "failureBudget": budget});
        let outcome = run(&scenario(&hosts, policy, json!([])), seed);
        let zone_of = |sensor: &str| hosts[sensor[1..].parse::<usize>().unwrap()].zone;
        let size = |zone: usize| hosts.iter().filter(|host| host.zone == zone).count();
        follow(&outcome, |event, flying| {
            for zone in 0..3 {
                let away = flying.keys().filter(|sensor| zone_of(sensor) == zone).count();
                assert!(away == 0 || size(zone) - away >= keep, "zone {zone} is short at {event:?}");
            }
        });
        for (host, sensor) in hosts.iter().zip(&outcome.sensors) {
            let may_be_taken = size(host.zone) > keep && !host.delayed;
            let wanted = if may_be_taken && host.on_update == "ok" { NEWEST } else { "2.254.1.0" };
            prop_assert_eq!(sensor.version.unwrap().to_string(), wanted, "{:?}", host);
            let is_bad = may_be_taken && matches!(host.on_update, "crash" | "unhealthy");
            prop_assert_eq!(!sensor.bad_versions.is_empty(), is_bad, "{:?}", host);
        }
    }
}
