//! Several releases over a healthy fleet: everybody ends on the newest, nothing fails, nothing is lost.

use proptest::prelude::*;
use serde_json::{Value, json};
use watchpost_core::rehearsal::{Scenario, run};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_healthy_fleet_ends_on_the_newest_release(
        hosts in proptest::collection::vec((any::<bool>(), 1..200_u64), 1..10),
        gaps in proptest::collection::vec(0..2_000_u64, 1..5),
        cap in proptest::option::of(1..4_u32),
        seed in proptest::option::of(any::<u64>()),
    ) {
        let sensors: Vec<Value> = hosts.iter().enumerate().map(|(index, (delayed, takes))| json!({
            "name": format!("S{index}"), "version": "2.254.1.0", "delayed": delayed,
            "behaviour": {"updateTakes": format!("PT{takes}S")},
        })).collect();
        let mut at = 0;
        let releases: Vec<Value> = gaps.iter().enumerate().map(|(index, gap)| {
            at += gap;
            json!({"at": format!("PT{at}S"), "version": format!("2.{}.1.0", 255 + index)})
        }).collect();
        let policy = cap.map_or(json!({}), |cap| json!({"maxInFlight": cap}));
        let text = json!({"start": "2026-01-05T00:00:00Z", "until": "P6D", "policy": policy, "sensors": sensors, "releases": releases});
        let outcome = run(&Scenario::parse(&text.to_string()).unwrap(), seed);
        let newest = format!("2.{}.1.0", 254 + gaps.len());
        for sensor in &outcome.sensors {
            prop_assert_eq!(sensor.version.unwrap().to_string(), newest.clone());
            prop_assert_eq!(&sensor.sensor_status, "upToDate");
        }
        prop_assert!(!outcome.events.iter().any(|e| e.event == "failed" || e.event == "reverted" || e.event == "skipped"));
        for rollout in &outcome.rollouts {
            prop_assert_eq!(&rollout.state, "completed");
            prop_assert_eq!((rollout.failed, rollout.skipped, rollout.pending), (0, 0, 0));
        }
    }
}
