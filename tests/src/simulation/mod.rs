//! A fleet through two weeks of faults, in virtual time, once for each seed: the product's planner, updaters, certificates
//! and rule packages, under a control plane that is killed and put back, and hosts whose clocks, power and wires fail.
//!
//! The hosts are those of the rehearsal. What differs from it is what may go wrong.

pub mod member;
pub mod story;
pub mod watch;
pub mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use self::story::Story;
use self::world::World;

/// The longest that three check-ins take, after the last late answer.
const THREE_CHECK_INS: Duration = Duration::from_secs(300 + 3 * 66);
/// Seeds between two lines of progress.
const ROUND: u64 = 20;

/// What one story came to.
#[derive(Default)]
struct Totals {
    looks: u64,
    started: u64,
    cleared: u64,
    failed: u64,
    halted: u64,
    skipped: BTreeMap<String, u64>,
}

/// Plays `seeds` stories from the seed `first` on, each with so many sensors.
///
/// # Errors
/// At the first story in which something does not hold: says its seed, and how to play it again.
pub fn campaign(sensors: usize, first: u64, seeds: u64) -> anyhow::Result<Value> {
    let mut totals = Totals::default();
    for seed in first..first + seeds {
        play(sensors, seed, &mut totals).with_context(|| {
            format!(
                "seed {seed} with {sensors} sensors, commit {}; again: cargo xtask scenario simulation --sensors {sensors} \
                 --seed {seed} --seeds 1",
                commit()
            )
        })?;
        if (seed - first) % ROUND == ROUND - 1 {
            eprintln!("simulation: {} of {seeds} seeds, {} sensors started", seed - first + 1, totals.started);
        }
    }
    Ok(json!({
        "scenario": "simulation",
        "commit": commit(),
        "sensors": sensors,
        "firstSeed": first,
        "seeds": seeds,
        "days": 14,
        "violations": 0,
        "looksOfThePlanner": totals.looks,
        "started": totals.started,
        "cleared": totals.cleared,
        "failed": totals.failed,
        "halted": totals.halted,
        "skipped": totals.skipped,
    }))
}

fn play(sensors: usize, seed: u64, totals: &mut Totals) -> anyhow::Result<()> {
    let story = Story::of(seed, sensors);
    let mut world = World::begin(&story, &story.behaviours);
    world.play_until(story.calm + Duration::from_secs(300))?;
    let asked: Vec<u64> = world.plane.fleet.values().map(|sensor| sensor.update.desired.generation).collect();
    world.play_until(story.calm + THREE_CHECK_INS)?;
    for (member, asked) in world.members.iter().zip(asked).filter(|(member, _)| member.talks(world.now)) {
        let (knows, sensor) = (member.report(world.now).generation, &world.plane.fleet[&member.id]);
        anyhow::ensure!(knows >= asked, "{} does not know what it was asked three check-ins ago", sensor.name);
        let is_known = world.plane.pins[&member.id].role(member.identity.presents()).is_some();
        anyhow::ensure!(
            is_known,
            "{} presents what is not accepted, three check-ins after the last fault",
            sensor.name
        );
        let silence = world.now.since(sensor.last_contact.unwrap_or(story.start));
        anyhow::ensure!(
            silence <= Duration::from_secs(66),
            "{} was not heard for {} s",
            sensor.name,
            silence.as_secs()
        );
    }
    world.play_until(story.calm + Duration::from_secs(60 * 60))?;
    world.watch.nothing_hangs(&world.plane, world.now)?;
    world.play_until(story.end)?;
    world.watch.nothing_hangs(&world.plane, world.now)?;
    world.watch.has_converged(&world.plane, &world.members, world.now)?;
    let watch = &world.watch;
    totals.looks += watch.looks;
    totals.started += watch.started;
    totals.cleared += watch.cleared;
    totals.failed += watch.failed;
    totals.halted += watch.halted;
    for (reason, count) in &watch.skipped {
        *totals.skipped.entry(reason.clone()).or_default() += count;
    }
    Ok(())
}

/// The commit that is checked out, where that can be told.
fn commit() -> String {
    let mut git = std::process::Command::new("git");
    let said = git.args(["rev-parse", "--short", "HEAD"]).current_dir(crate::tools::checkout()).output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    if said.is_empty() { "unknown".to_owned() } else { said }
}
