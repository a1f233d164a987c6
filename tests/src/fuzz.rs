//! Mutated packages, messages, records and metadata, fed to what reads them: never a panic, never a long think.
//!
//! It runs on the stable compiler and in this process. The same seed gives the same inputs, so whatever is found comes back.

mod mutate;
mod targets;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use watchpost_clock::Clock;

use self::mutate::mutated;
use self::targets::{Target, targets};
use crate::kill::Chance;

/// The longest that one input may take. The largest package of the seeds takes some milliseconds.
const SLOWEST: Duration = Duration::from_secs(5);
/// Inputs that are printed of each target.
const TOLD: usize = 5;
/// Inputs between two looks at the clock.
const ROUND: u32 = 64;

/// What one target came to.
#[derive(Default)]
struct Found {
    inputs: u64,
    taken: u64,
    slowest: Duration,
    panics: Vec<String>,
}

/// Feeds every target for its share of `seconds`; gives the evidence.
///
/// # Errors
/// When an input made something panic, or took too long: the evidence names it.
pub fn campaign(seconds: u64, seed: u64) -> anyhow::Result<Value> {
    let scratch = tempfile::tempdir()?;
    let targets = targets(scratch.path())?;
    let share = Duration::from_secs(seconds) / u32::try_from(targets.len())?;
    count_quietly();
    let mut rows = Vec::new();
    let mut is_well = true;
    for (number, target) in (0..).zip(&targets) {
        let found = feed(target, share, Chance::new(seed.wrapping_add(number)));
        is_well &= found.panics.is_empty() && found.slowest < SLOWEST && found.inputs > 0;
        rows.push(json!({
            "target": target.name,
            "seeds": target.seeds.len(),
            "inputs": found.inputs,
            "taken": found.taken,
            "slowestMillis": u64::try_from(found.slowest.as_millis())?,
            "panics": found.panics.len(),
            "panicking": found.panics.iter().take(TOLD).collect::<Vec<_>>(),
        }));
        eprintln!("fuzz: {} inputs of {}", found.inputs, target.name);
    }
    let evidence = json!({ "scenario": "fuzz", "seed": seed, "seconds": seconds, "targets": rows });
    anyhow::ensure!(is_well, "something panicked or thought for too long: {evidence:#}");
    Ok(evidence)
}

thread_local! {
    /// Whether this thread feeds an input: what panics then is counted, and need not be printed a thousand times.
    static FEEDS: Cell<bool> = const { Cell::new(false) };
}

/// Has panics of whatever is fed not printed; all others are, as before.
fn count_quietly() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !FEEDS.get() {
                before(panic);
            }
        }));
    });
}

fn feed(target: &Target, share: Duration, mut chance: Chance) -> Found {
    let clock = Clock::system();
    let (begun, mut found) = (clock.instant(), Found::default());
    while clock.instant().duration_since(begun) < share {
        for _ in 0..ROUND {
            let input = mutated(&target.seeds, &mut chance);
            one(target, &input, &clock, &mut found);
        }
    }
    found
}

fn one(target: &Target, input: &[u8], clock: &Clock, found: &mut Found) {
    let before: Instant = clock.instant();
    FEEDS.set(true);
    let fed = catch_unwind(AssertUnwindSafe(|| (target.feed)(input)));
    FEEDS.set(false);
    found.slowest = found.slowest.max(clock.instant().duration_since(before));
    found.inputs += 1;
    match fed {
        Ok(is_taken) => found.taken += u64::from(is_taken),
        Err(_) => found.panics.push(hex::encode(input)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_panics_is_found() {
        let brittle = Target {
            name: "brittle",
            seeds: vec![b"whole".to_vec()],
            feed: Box::new(|bytes| {
                assert!(bytes.len() < 20, "found");
                true
            }),
        };
        count_quietly();
        let found = feed(&brittle, Duration::from_millis(200), Chance::new(1));
        assert!(!found.panics.is_empty() && found.taken > 0, "{} inputs", found.inputs);
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let seeds = vec![b"one seed".to_vec(), b"another seed".to_vec()];
        let inputs = |seed| {
            let mut chance = Chance::new(seed);
            (0..50).map(|_| mutated(&seeds, &mut chance)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }
}
