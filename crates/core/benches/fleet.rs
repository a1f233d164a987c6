//! Ten simulated days of 500 sensors, in CPU time, beside the bar of one second.
//!
//! The machine is measured in the same run by a piece of work that never changes, so the verdict is a ratio and not a stopwatch.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use watchpost_core::rehearsal::{Scenario, run};

/// Sensors of the fleet.
const SENSORS: usize = 500;
/// CPU time the rehearsal may take on the machine on which the bar was set.
const BAR: Duration = Duration::from_secs(1);
/// CPU time of one reference on that machine.
const REFERENCE_THERE: Duration = Duration::from_millis(REFERENCE_MS);
/// Measured with this file, in the release profile, on two cores of a virtual machine.
const REFERENCE_MS: u64 = 140;
/// Fewer sensors cleared than that, over both releases, and the fleet stood still: nothing was measured.
const WORTH_MEASURING: u32 = 800;
/// Runs; the fastest counts, because noise only ever adds.
const RUNS: usize = 5;

fn main() -> ExitCode {
    let scenario = scenario();
    let Some((cleared, bytes)) = rehearse(&scenario).filter(|(cleared, _)| *cleared >= WORTH_MEASURING) else {
        eprintln!("the bench's own scenario is refused, or clears hardly anybody: mend crates/core/benches/fleet.rs");
        return ExitCode::FAILURE;
    };
    println!("{cleared} sensors cleared, {bytes} bytes of result");
    let reference = fastest(|| {
        std::hint::black_box(reference());
    });
    if reference.is_zero() {
        eprintln!("the kernel does not tell CPU time in /proc/thread-self/schedstat: nothing can be measured here");
        return ExitCode::FAILURE;
    }
    let rehearsal = fastest(|| {
        std::hint::black_box(rehearse(std::hint::black_box(&scenario)));
    });
    let bar = BAR.as_secs_f64() * reference.as_secs_f64() / REFERENCE_THERE.as_secs_f64();
    let ratio = rehearsal.as_secs_f64() / bar;
    println!("reference                          {:>9.3} s CPU", reference.as_secs_f64());
    println!("500 sensors, ten days              {:>9.3} s CPU", rehearsal.as_secs_f64());
    println!("bar, scaled to this machine        {bar:>9.3} s CPU");
    println!("ratio to the bar (at most 1)       {ratio:>9.3}");
    if ratio <= 1.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is measured: read the scenario, run it, write the result.
fn rehearse(scenario: &str) -> Option<(u32, usize)> {
    let outcome = run(&Scenario::parse(scenario).ok()?, None);
    let cleared = outcome.rollouts.iter().map(|rollout| rollout.cleared).sum();
    Some((cleared, serde_json::to_vec(&outcome).ok()?.len()))
}

/// Two releases five days apart; a tenth of the fleet is delayed, one in fifty crashes on the first, one in twenty sleeps.
fn scenario() -> String {
    let mut sensors = String::new();
    for n in 0..SENSORS {
        let behaviour = match n % 100 {
            7 | 57 => r#", "behaviour": { "onUpdate": { "2.255.1.0": "crash" } }"#,
            3 | 23 | 43 | 63 | 83 => r#", "behaviour": { "offline": [ { "from": "PT5H", "to": "PT40H" } ] }"#,
            _ => "",
        };
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(
            sensors,
            r#"{comma}{{ "name": "DC{n:03}", "type": "domainControllerIntegrated", "zone": "hq/z{}",
              "version": "2.254.1.0", "delayed": {}{behaviour} }}"#,
            n % 10,
            n % 10 == 9,
        );
    }
    format!(
        r#"{{ "start": "2026-01-05T00:00:00Z", "until": "P10D",
          "catalogue": [ {{ "version": "2.254.1.0", "publishedAt": "2025-12-01T00:00:00Z" }} ],
          "sensors": [ {sensors} ],
          "releases": [ {{ "at": "PT1H", "version": "2.255.1.0", "kind": "minor" }},
                        {{ "at": "P5D", "version": "2.256.1.0", "kind": "minor" }} ],
          "observe": [ "P1D", "P5D", "P9D" ] }}"#
    )
}

/// Work of the kind that a rehearsal does, fixed for ever: an ordered map is filled and emptied, and small texts are made.
fn reference() -> u64 {
    let mut queue = std::collections::BTreeMap::new();
    let mut state = 1_u64;
    let mut sum = 0_u64;
    for n in 0..400_000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        queue.insert(state >> 20, format!("PT{}S", state >> 40));
        if n % 4 == 3
            && let Some((key, text)) = queue.pop_first()
        {
            sum = sum.wrapping_add(key ^ text.len() as u64);
        }
    }
    sum
}

fn fastest(work: impl Fn()) -> Duration {
    let once = || {
        let before = cpu_time();
        work();
        cpu_time().saturating_sub(before)
    };
    std::iter::repeat_with(once).take(RUNS).min().unwrap_or_default()
}

/// CPU time of this thread, as the kernel counts it.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}
