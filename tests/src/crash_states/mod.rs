//! Power cuts: what a real updater did to its disk is recorded, every disk that a cut may leave is built from that, and the
//! product's own recovery is run over each.
//!
//! Nothing of the product is replaced for it: the calls are those that the kernel saw.

pub mod calls;
pub mod disks;
pub mod history;
pub mod play;
pub mod recover;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use self::disks::Disks;
use self::play::Recorded;
use self::tree::{Listing, digest};
use crate::kill::Chance;

/// Failed states that are told of each path.
const TOLD: usize = 5;
/// Checked states between two lines of progress.
const ROUND: usize = 1000;
/// Where the disks are built: memory, if there is such a folder, because each of them is synced many times.
const MEMORY: &str = "/dev/shm";

/// One disk to be recovered from.
struct State {
    cut: usize,
    what: String,
    listing: Listing,
}

/// Records every path, and recovers from `most` disks of each, drawn by `seed`; without `most`, from all.
///
/// # Errors
/// When a host did not recover from a disk: the evidence says which.
pub async fn campaign(most: Option<usize>, seed: u64) -> anyhow::Result<Value> {
    let paths = play::every_path().await?;
    let (mut rows, mut is_well, mut total, mut there) = (BTreeMap::new(), true, 0, 0);
    for path in &paths {
        let mut states = states_of(path, seed);
        let distinct = states.len();
        if let Some(most) = most {
            draw(&mut states, most, &mut Chance::new(seed));
        }
        let failed = tokio::task::block_in_place(|| recover_all(path, &states))?;
        is_well &= failed.is_empty();
        (total, there) = (total + states.len(), there + distinct);
        rows.insert(
            path.name,
            json!({
                "steps": path.history.steps.len(),
                "distinctStates": distinct,
                "checked": states.len(),
                "recovered": states.len() - failed.len(),
                "failed": failed.iter().take(TOLD).collect::<Vec<_>>(),
            }),
        );
        eprintln!("crash-states: {}: {} of {distinct} states, {} failed", path.name, states.len(), failed.len());
    }
    let evidence = json!({
        "scenario": "crash-states", "seed": seed, "distinctStates": there, "checked": total, "paths": rows,
    });
    anyhow::ensure!(is_well, "a host did not recover: {evidence:#}");
    Ok(evidence)
}

/// Every distinct disk of a path, and when it may be found. One that is found at several instants is looked at with what
/// must hold at the last of them.
fn states_of(path: &Recorded, seed: u64) -> Vec<State> {
    let (disks, mut chance) = (Disks::of(&path.history), Chance::new(seed));
    let (mut states, mut seen) = (Vec::new(), BTreeSet::new());
    for cut in 0..=path.history.steps.len() {
        disks.after(cut, &mut chance, &mut |disk| {
            let listing = disk.tree.listing();
            if seen.insert((digest(&listing), path.pins_at(cut).to_vec())) {
                states.push(State { cut, what: disk.what, listing });
            }
        });
    }
    states
}

/// Leaves `most` of them, by chance, in their order.
fn draw(states: &mut Vec<State>, most: usize, chance: &mut Chance) {
    let (mut left, mut wanted) = (states.len(), most.min(states.len()));
    states.retain(|_| {
        let is_drawn = chance.below(left as u64) < wanted as u64;
        left -= 1;
        wanted -= usize::from(is_drawn);
        is_drawn
    });
}

fn recover_all(path: &Recorded, states: &[State]) -> anyhow::Result<Vec<String>> {
    let scratch = if Path::new(MEMORY).is_dir() { tempfile::tempdir_in(MEMORY)? } else { tempfile::tempdir()? };
    let mut failed = Vec::new();
    for (number, state) in states.iter().enumerate() {
        let root = scratch.path().join(number.to_string());
        tree::write(&state.listing, &root).context("a disk cannot be built")?;
        if let Err(error) = recover::check(&root, &path.expected, path.pins_at(state.cut)) {
            failed.push(format!("cut after step {}, {}: {error:#}", state.cut, state.what));
        }
        std::fs::remove_dir_all(&root)?;
        if number % ROUND == ROUND - 1 {
            eprintln!("crash-states: {}: {} of {}", path.name, number + 1, states.len());
        }
    }
    Ok(failed)
}
