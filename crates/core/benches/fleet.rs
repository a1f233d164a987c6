//! Ten simulated days of 500 sensors, in CPU time, beside the bar of one second: a calm fleet and a hard one.
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
/// Fewer sensors cleared than that, over all releases, and the fleet stood still: nothing was measured.
const WORTH_MEASURING: u32 = 800;
/// Runs; the fastest counts, because noise only ever adds.
const RUNS: usize = 5;

fn main() -> ExitCode {
    let reference = fastest(|| {
        std::hint::black_box(reference());
    });
    if reference.is_zero() {
        eprintln!("the kernel does not tell CPU time in /proc/thread-self/schedstat: nothing can be measured here");
        return ExitCode::FAILURE;
    }
    let bar = BAR.as_secs_f64() * reference.as_secs_f64() / REFERENCE_THERE.as_secs_f64();
    println!("reference: map and texts           {:>9.3} s CPU", reference.as_secs_f64());
    println!("bar, scaled to this machine        {bar:>9.3} s CPU");
    let mut is_met = true;
    for (name, scenario) in [("calm: 2 releases", calm()), ("hard: 6 releases, faults, coverage", hard())] {
        let Some((cleared, bytes)) = rehearse(&scenario).filter(|(cleared, _)| *cleared >= WORTH_MEASURING) else {
            eprintln!(
                "the bench's own scenario is refused, or clears hardly anybody: mend crates/core/benches/fleet.rs"
            );
            return ExitCode::FAILURE;
        };
        let rehearsal = fastest(|| {
            std::hint::black_box(rehearse(std::hint::black_box(&scenario)));
        });
        let ratio = rehearsal.as_secs_f64() / bar;
        println!("{name:<34} {:>9.3} s CPU, {cleared} cleared, {bytes} bytes", rehearsal.as_secs_f64());
        println!("  ratio to the bar (at most 1)     {ratio:>9.3}");
        is_met &= ratio <= 1.0;
    }
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is measured: read the scenario, run it, write the result.
fn rehearse(scenario: &str) -> Option<(u32, usize)> {
    let outcome = run(&Scenario::parse(scenario).ok()?, None);
    let cleared = outcome.rollouts.iter().map(|rollout| rollout.cleared).sum();
    Some((cleared, serde_json::to_vec(&outcome).ok()?.len()))
}

/// Two releases five days apart; a tenth of the fleet is delayed, one in fifty crashes on the first, one in twenty sleeps.
fn calm() -> String {
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

/// Six releases a day and a half apart, one a hotfix; every kind of fault, hosts that sleep every night, and zones of
/// which a part must keep watching.
fn hard() -> String {
    let mut sensors = String::new();
    for n in 0..SENSORS {
        let behaviour = match n % 25 {
            3 => r#", "behaviour": { "onUpdate": { "2.255.1.0": "crash", "2.257.1.0": "unhealthy" } }"#.to_owned(),
            8 => r#", "behaviour": { "onUpdate": { "2.256.1.0": "unhealthy", "2.259.1.0": "stall" } }"#.to_owned(),
            11 if n % 100 == 11 => r#", "behaviour": { "onUpdate": { "2.258.1.0": "silent" } }"#.to_owned(),
            1 | 6 | 16 | 21 => format!(r#", "behaviour": {{ "offline": [ {} ] }}"#, nights(n)),
            13 => r#", "behaviour": { "serviceStopped": [ { "from": "P1D", "to": "P2D" } ] }"#.to_owned(),
            18 => r#", "behaviour": { "noConfigPull": [ { "from": "P3D", "to": "P3DT6H" } ], "updateTakes": "PT8M" }"#
                .to_owned(),
            23 => r#", "behaviour": { "healthFacts": [
                   { "from": "PT5H", "to": "P4D", "issueType": "someEventsNotAnalyzed" } ] }"#
                .to_owned(),
            _ => String::new(),
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
    let zones: Vec<String> = (0..10).map(|zone| format!(r#"{{ "zone": "hq/z{zone}", "keepWatching": 30 }}"#)).collect();
    let versions = ["2.255.1.0", "2.256.1.0", "2.256.2.0", "2.257.1.0", "2.258.1.0", "2.259.1.0"];
    let releases: Vec<String> = (0..)
        .zip(versions)
        .map(|(n, version)| {
            let kind = if version == "2.256.2.0" { "hotfix" } else { "minor" };
            format!(r#"{{ "at": "PT{}H", "version": "{version}", "kind": "{kind}" }}"#, 1 + 36 * n)
        })
        .collect();
    format!(
        r#"{{ "start": "2026-01-05T00:00:00Z", "until": "P10D",
          "policy": {{ "failureBudget": {{ "percent": 20, "atLeast": 5 }}, "coverage": [ {} ] }},
          "catalogue": [ {{ "version": "2.254.1.0", "publishedAt": "2025-12-01T00:00:00Z" }} ],
          "sensors": [ {sensors} ], "releases": [ {} ],
          "observe": [ "P1D", "P3D", "P5D", "P7D", "P9D" ] }}"#,
        zones.join(", "),
        releases.join(", "),
    )
}

/// Nine nights of eight hours, begun at another minute by each host.
fn nights(n: usize) -> String {
    let night = |day: usize| format!(r#"{{ "from": "P{day}DT20H{0}M", "to": "P{1}DT4H{0}M" }}"#, n % 60, day + 1);
    (0..9).map(night).collect::<Vec<_>>().join(", ")
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
