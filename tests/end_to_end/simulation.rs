//! The short form of `cargo xtask scenario simulation`.

/// Stories, and the sensors of each. The long form has 500 stories.
const SEEDS: u64 = 60;
const SENSORS: usize = 200;

#[test]
fn no_rule_of_a_rollout_is_broken_in_two_weeks_of_faults() {
    let evidence = watchpost_tests::simulation::campaign(SENSORS, 1, SEEDS).unwrap();
    println!("{evidence:#}");
    assert_eq!((evidence["seeds"].as_u64(), evidence["violations"].as_u64()), (Some(SEEDS), Some(0)));
    // It is no proof when nothing happens.
    for what in ["cleared", "failed", "halted"] {
        assert!(evidence[what].as_u64() > Some(0), "{what}: {evidence}");
    }
}
