//! `cargo xtask properties`: the property tests with one fresh seed after another, each printed before it is tried.
//!
//! In CI they run with one fixed seed, so that the same commit always gives the same answer.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::pipeline::WORKSPACE;
use crate::run::{self, Stopwatch};

/// Where proptest reads its seed.
pub(crate) const SEED: &str = "PROPTEST_RNG_SEED";
/// The seed of CI, unless the environment names another one.
pub(crate) const FIXED: &str = "20261126";

/// The test programs with property tests in them.
const TARGETS: &[&str] = &["--lib", "--test", "invariants", "--test", "several_releases"];

/// Words in the names of the tests, by the file that they stand in; in a test program of their own all are run.
const PROPERTIES: &[(&str, &str)] = &[
    ("crates/agent/src/engine/sigma/tests.rs", "engine::sigma::tests"),
    ("crates/agent/src/engine/sigma/tree.rs", "engine::sigma::tree"),
    ("crates/core/src/content/places_tests.rs", "content::places_tests"),
    ("crates/core/src/content/property.rs", "content::property"),
    ("crates/core/src/evidence/devices/tests.rs", "evidence::devices::tests"),
    ("crates/core/src/facts/fitted.rs", "facts::fitted"),
    ("crates/core/src/health/rules/property.rs", "health::rules::property"),
    ("crates/core/src/identity/model.rs", "identity::model"),
    ("crates/core/src/rehearsal/plan_is_what_runs.rs", "rehearsal::plan_is_what_runs"),
    ("crates/core/src/updater/property.rs", "updater::property"),
    ("crates/core/tests/invariants.rs", "is_"),
    ("crates/core/tests/several_releases.rs", "a_healthy_fleet"),
    ("crates/protocol/src/tests/version_1.rs", "tests::version_1"),
];

/// Runs them until one fails or the time is over; `first` is the first seed, and a fresh one without it.
///
/// # Errors
/// When one fails: says with which seed, and how to run it again.
pub(crate) fn run(root: &Path, minutes: u64, first: Option<u64>) -> Result<()> {
    let (watch, mut seed, mut rounds) = (Stopwatch::start(), first, 0_u32);
    while rounds == 0 || watch.elapsed() < Duration::from_secs(minutes.saturating_mul(60)) {
        let now = seed.take().map_or_else(fresh, Ok)?;
        println!("properties: seed {now}");
        let words: Vec<&str> =
            ["test"].iter().chain(WORKSPACE).chain(TARGETS).copied().chain(["--quiet", "--"]).collect();
        let mut command = run::cargo(root, &words);
        command.args(PROPERTIES.iter().map(|(_, name)| name)).env(SEED, now.to_string());
        if run::succeed(&mut command).is_err() {
            bail!("a property does not hold; again: cargo xtask properties --minutes 0 --seed {now}");
        }
        rounds += 1;
    }
    println!("properties: {rounds} seeds in {:.0} s, and none of them failed", watch.elapsed().as_secs_f64());
    Ok(())
}

fn fresh() -> Result<u64> {
    let mut bytes = [0; 8];
    let file = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    file.context("there is no chance to be had from /dev/urandom")?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                find(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && std::fs::read_to_string(&path).unwrap().contains("proptest! {")
            {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_file_with_property_tests_is_on_the_list() {
        let root = crate::workspace_root().unwrap();
        let mut found = Vec::new();
        find(&root.join("crates"), &mut found);
        let mut found: Vec<String> =
            found.iter().map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned()).collect();
        found.sort();
        let listed: Vec<String> = PROPERTIES.iter().map(|(file, _)| (*file).to_owned()).collect();
        assert_eq!(found, listed);
    }
}
