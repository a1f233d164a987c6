//! A fleet through two weeks of faults, in virtual time, once for each seed: the product's planner, updaters, certificates
//! and rule packages, under a control plane that is killed and put back, and hosts whose clocks, power and wires fail.
//!
//! The hosts are those of the rehearsal. What differs from it is what may go wrong.

pub mod member;
pub mod story;
pub mod watch;
pub mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use self::story::Story;
use self::world::World;

/// The longest that three check-ins take, after the last late answer.
const THREE_CHECK_INS: Duration = Duration::from_secs(300 + 3 * 66);
/// Seeds between two lines of progress.
const ROUND: u64 = 20;

/// What stories came to.
#[derive(Default)]
struct Totals {
    seeds: u64,
    looks: u64,
    started: u64,
    cleared: u64,
    failed: u64,
    halted: u64,
    skipped: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.looks += other.looks;
        self.started += other.started;
        self.cleared += other.cleared;
        self.failed += other.failed;
        self.halted += other.halted;
        for (reason, count) in other.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
    }
}

/// The stories that are still to be played, for as many threads as there are processors.
struct Stack {
    sensors: usize,
    next: AtomicU64,
    end: u64,
    played: AtomicU64,
    is_broken: AtomicBool,
}

impl Stack {
    /// Plays one story after the other until none is left, or one is broken.
    fn work(&self) -> anyhow::Result<Totals> {
        let mut totals = Totals::default();
        while !self.is_broken.load(Ordering::Relaxed) {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                break;
            }
            let played = play(self.sensors, seed, &mut totals);
            self.is_broken.fetch_or(played.is_err(), Ordering::Relaxed);
            let sensors = self.sensors;
            played.with_context(|| {
                format!(
                    "seed {seed} with {sensors} sensors, commit {}; again: cargo xtask scenario simulation --sensors {sensors} \
                     --seed {seed} --seeds 1",
                    commit()
                )
            })?;
            let played = self.played.fetch_add(1, Ordering::Relaxed) + 1;
            if played.is_multiple_of(ROUND) {
                eprintln!("simulation: {played} seeds");
            }
        }
        Ok(totals)
    }
}

/// Plays `seeds` stories from the seed `first` on, each with so many sensors.
///
/// # Errors
/// At a story in which something does not hold: says its seed, and how to play it again.
pub fn campaign(sensors: usize, first: u64, seeds: u64) -> anyhow::Result<Value> {
    let (next, end) = (AtomicU64::new(first), first.saturating_add(seeds));
    let stack = Stack { sensors, next, end, played: AtomicU64::new(0), is_broken: AtomicBool::new(false) };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| stack.work())).collect();
        for worker in workers {
            totals.add(worker.join().map_err(|_| anyhow::anyhow!("a thread broke off; its words stand above"))??);
        }
        anyhow::Ok(())
    })?;
    anyhow::ensure!(totals.seeds == seeds, "{} of {seeds} seeds were played", totals.seeds);
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
    let watch = world.watch;
    totals.add(Totals {
        seeds: 1,
        looks: watch.looks,
        started: watch.started,
        cleared: watch.cleared,
        failed: watch.failed,
        halted: watch.halted,
        skipped: watch.skipped,
    });
    Ok(())
}

/// The commit that is checked out, where that can be told.
fn commit() -> String {
    let mut git = std::process::Command::new("git");
    let said = git.args(["rev-parse", "--short", "HEAD"]).current_dir(crate::tools::checkout()).output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    if said.is_empty() { "unknown".to_owned() } else { said }
}
