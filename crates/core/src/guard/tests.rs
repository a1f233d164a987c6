//! The guard's decisions, with values from arithmetic on the reserve of 15 %.

use super::*;

const MIB: u64 = 1 << 20;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A host of two processors and 1,000 MiB.
fn host(busy: u64, available_mib: u64, used: Option<(u64, u64)>) -> Reading {
    Reading {
        memory: vec![Memory { total: 1_000 * MIB, available: available_mib * MIB }],
        processors: vec![Processors { total: 2 * ONE_PROCESSOR, busy }],
        used: used.map(|(processor, mib)| Used { memory: mib * MIB, processor }),
    }
}

fn guard() -> Guard {
    Guard::new(ResourcePolicy::default())
}

#[test]
fn the_sensor_gets_what_others_leave_less_the_reserve() {
    // 2,000 thousandths less 15 % and 5 % of margin are 1,600; others use busy − own.
    for (busy, own, expected) in [(0, 0, 1_600), (1_400, 0, 200), (1_600, 300, 300), (1_000, 1_000, 1_600)] {
        let verdict = guard().look(&host(busy, 900, Some((own, 50))), Duration::ZERO);
        assert_eq!(verdict.limits.processor, Some(expected), "{busy} busy, {own} of it the sensor's");
    }
    // Nothing is left, and the sensor still gets 5 % of the host.
    let full = guard().look(&host(2_000, 900, Some((0, 50))), Duration::ZERO);
    assert_eq!(full.limits.processor, Some(100));
}

#[test]
fn a_load_that_comes_is_respected_at_once_and_one_that_goes_after_five_looks() {
    let mut guard = guard();
    let mut limit = |at: u64, busy: u64| guard.look(&host(busy, 900, Some((0, 50))), seconds(at)).limits.processor;
    assert_eq!(limit(0, 0), Some(1_600));
    assert_eq!(limit(1, 1_400), Some(200));
    assert_eq!([2, 3, 4, 5].map(|at| limit(at, 0)), [Some(200); 4]);
    assert_eq!(limit(6, 0), Some(1_600));
}

#[test]
fn the_narrowest_of_the_host_and_the_groups_around_the_sensor_counts() {
    let mut reading = host(200, 900, Some((100, 50)));
    reading.processors.push(Processors { total: ONE_PROCESSOR, busy: 800 });
    reading.memory.push(Memory { total: 400 * MIB, available: 100 * MIB });
    let limits = guard().look(&reading, Duration::ZERO).limits;
    // 800 − (800 − 100), and 50 + (100 − 60).
    assert_eq!(
        (limits.processor, limits.memory),
        (Some(100), Some(128 * MIB)),
        "40 MiB more, but never below the floor"
    );
    reading.memory[1].available = 300 * MIB;
    assert_eq!(guard().look(&reading, Duration::ZERO).limits.memory, Some(290 * MIB));
}

#[test]
fn a_memory_limit_leaves_the_reserve_and_does_not_follow_a_sensor_that_grows_into_it() {
    let mut guard = guard();
    let mut limit = |at: u64, available: u64, own: u64| {
        guard.look(&host(0, available, Some((0, own))), seconds(at)).limits.memory.unwrap() / MIB
    };
    // 400 + (600 − 150).
    assert_eq!(limit(0, 600, 400), 850);
    // Nothing is left: what it has, and an eighth.
    assert_eq!(limit(1, 140, 400), 450);
    assert_eq!(limit(2, 100, 440), 450, "it has grown, the limit has not");
    assert_eq!(limit(3, 140, 200), 225);
    assert_eq!(limit(4, 200, 200), 250, "50 above the reserve");
}

#[test]
fn three_breaches_in_a_row_restart_the_sensor_and_no_second_time_for_ten_minutes() {
    let mut guard = guard();
    let mut restarts =
        |available: u64, seconds_at: u64| guard.look(&host(0, available, Some((0, 300))), seconds(seconds_at)).restart;
    // Breaches at 0 and 10, enough at 20: counted anew.
    assert!(![(149, 0), (149, 10), (150, 20), (149, 30), (149, 40)].iter().any(|(free, at)| restarts(*free, *at)));
    assert!(!restarts(149, 49), "a look between two checks is no check");
    assert!(restarts(149, 50));
    assert!((60..650).step_by(10).all(|at| !restarts(10, at)));
    assert!(restarts(10, 650));
}

#[test]
fn memory_is_short_from_the_first_breach_until_three_checks_in_a_row_found_enough() {
    let mut guard = guard();
    let mut is_short =
        |available: u64, at: u64| guard.look(&host(0, available, Some((0, 300))), seconds(at)).memory_is_short;
    assert_eq!(
        [(150, 0), (149, 10), (500, 20), (500, 30)].map(|(free, at)| is_short(free, at)),
        [false, true, true, true]
    );
    assert!(is_short(149, 40), "once more");
    assert_eq!([50, 60, 70].map(|at| is_short(500, at)), [true, true, false]);
}

#[test]
fn what_was_not_read_decides_nothing_and_a_sensor_that_does_not_run_is_not_restarted() {
    let verdict = guard().look(&Reading::default(), Duration::ZERO);
    assert_eq!(verdict.limits, Limits { processor: None, memory: None });
    let mut guard = guard();
    assert!((0..100).step_by(10).all(|at| {
        let verdict = guard.look(&host(0, 10, None), seconds(at));
        verdict.memory_is_short && !verdict.restart
    }));
}
