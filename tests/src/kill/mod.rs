//! `kill -9` at random instants: of one program of a living host while a certain path is under way, again and again; or of
//! any program within whole demos.
//!
//! Whoever is killed, the host gets where the path leads by itself. Nobody lends a hand but a service manager.

mod fleet;
mod life;
mod operations;
mod paths;
mod tally;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::life::{Life, Victim};
use self::paths::Path;
use self::tally::Tally;

/// Kills on one host, before another control plane and host take their place: what a control plane remembers grows.
const KILLS_PER_LIFE: u32 = 50;
/// One kill of so many is the sensor's, one the launcher's, the others the updater's.
const TURNS: u64 = 5;
/// Kills between two lines of progress.
const ROUND: u32 = 10;

/// Chance as a parameter: the 64-bit mixer SplitMix (Steele, Lea, Flood 2014).
pub struct Chance(u64);

impl Chance {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// What is played: `fleet` is whole demos, `all` every path of a host one after the other, anything else one of those.
///
/// # Errors
/// When a host did not get where it should, or there is no such path.
pub async fn campaign(what: &str, kills: u32, seed: u64) -> anyhow::Result<Value> {
    if what == "fleet" {
        return fleet::campaign(kills, seed).await;
    }
    let known = || paths::every().iter().map(|path| path.name()).collect::<Vec<_>>().join(", ");
    let chosen: Vec<_> = paths::every().into_iter().filter(|path| what == "all" || path.name() == what).collect();
    anyhow::ensure!(!chosen.is_empty(), "there is no path “{what}”; there is: fleet, all, {}", known());
    let (mut tallies, mut life, mut chance) = (BTreeMap::new(), None, Chance::new(seed));
    for mut path in chosen {
        let tally = kill_within(path.as_mut(), &mut life, kills, &mut chance).await?;
        tallies.insert(path.name(), tally);
    }
    let stuck: u32 = tallies.values().map(Tally::stuck).sum();
    let rows: BTreeMap<_, _> = tallies.iter().map(|(name, tally)| (name, tally.evidence())).collect();
    let evidence = json!({ "scenario": "kill9", "seed": seed, "killsOfEach": kills, "stuck": stuck, "paths": rows });
    anyhow::ensure!(stuck == 0, "{stuck} hosts did not get where they should: {evidence:#}");
    Ok(evidence)
}

/// Kills within one path until so many kills came while it was under way. The host is the one of the path before, while it
/// is good for more.
async fn kill_within(
    path: &mut dyn Path,
    life: &mut Option<Life>,
    kills: u32,
    chance: &mut Chance,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new();
    let mut span = None;
    while tally.kills() < kills {
        let host = match life.take().filter(|life| life.rounds() < KILLS_PER_LIFE) {
            Some(host) => host,
            None => {
                tally.lives += 1;
                span = None;
                Life::begin().await?
            }
        };
        let host = life.insert(host);
        let measured = match span {
            Some(span) => span,
            None => host.measure(path).await?,
        };
        let victim = match chance.below(TURNS) {
            0 => Victim::Sensor,
            1 => Victim::Launcher,
            _ => Victim::Updater,
        };
        let round = host.round(path, measured.instant(chance), victim).await?;
        span = Some(round.too_late.map_or(measured, |late| measured.between(late)));
        let is_counted = round.within.is_some();
        if tally.note(victim, round).is_some() {
            // What is stuck is left alone: the next kill is on a host that is well.
            *life = None;
        }
        if is_counted && tally.kills().is_multiple_of(ROUND) {
            eprintln!("kill9: {}: {} of {kills} kills, {} stuck", path.name(), tally.kills(), tally.stuck());
        }
    }
    Ok(tally)
}
