//! `cargo xtask mutants`: faults that are put into the product on purpose, each of which a test must find.
//!
//! A fault is put into a copy of the tree below `target/`, never into the tree itself. CI checks that each still fits.

mod copy;
mod description;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use self::description::{Mutant, Proof};
use crate::run::{self, Stopwatch};

/// How long one test may take, in seconds: a fault may make it wait for ever, and that is found too.
const LONGEST: &str = "900";

/// What became of one fault.
enum Verdict {
    /// This found it.
    Caught(String),
    /// Nothing found it.
    Survived,
    /// It says nothing: it is no program any more, or its test was not run.
    Void(String),
}

/// Puts every fault in turn into a copy of the tree and runs what should find it; `only` names some.
///
/// # Errors
/// When one survives or does not fit any more, or a test fails without any.
pub(crate) fn run(root: &Path, only: &[String]) -> Result<()> {
    let is_wanted = |mutant: &Mutant| only.is_empty() || only.contains(&mutant.name);
    let mutants: Vec<Mutant> = description::all(root)?.into_iter().filter(is_wanted).collect();
    ensure!(!mutants.is_empty(), "there is no mutant of that name in tests/mutants");
    let place = copy::make(root)?;
    let mut sound: Vec<Proof> = mutants.iter().map(|mutant| mutant.proof.clone()).collect();
    sound.sort();
    sound.dedup();
    for proof in sound {
        match prove(&place, &proof)? {
            Verdict::Survived => println!("sound: {proof} passes without any fault"),
            Verdict::Caught(by) => bail!("{proof} fails without any fault: {by}"),
            Verdict::Void(why) => bail!("{proof} proves nothing: {why}"),
        }
    }
    let mut rows = Vec::new();
    for mutant in &mutants {
        let watch = Stopwatch::start();
        let verdict = play(&place, mutant)?;
        let (is_well, words) = match verdict {
            Verdict::Caught(by) => (true, format!("caught by {by}")),
            Verdict::Survived => (false, "SURVIVED".to_owned()),
            Verdict::Void(why) => (false, format!("VOID: {why}")),
        };
        println!("{}: {words} ({:.0} s)", mutant.name, watch.elapsed().as_secs_f64());
        rows.push((mutant, is_well, words));
    }
    println!();
    let widest = mutants.iter().map(|mutant| mutant.name.len()).max().unwrap_or(0);
    for (mutant, _, words) in &rows {
        println!("{:<widest$}  {:<40}  {words}", mutant.name, mutant.proof.to_string());
    }
    let bad = rows.iter().filter(|(_, is_well, _)| !is_well).count();
    println!("{} of {} mutants are caught", rows.len() - bad, rows.len());
    if bad == 0 { Ok(()) } else { bail!("{bad} mutants are not caught") }
}

/// One fault: in, tested, and out again.
fn play(place: &Place, mutant: &Mutant) -> Result<Verdict> {
    let file = place.tree.join(&mutant.file);
    let whole = std::fs::read_to_string(&file).with_context(|| mutant.file.clone())?;
    std::fs::write(&file, mutant.put_into(&whole)?)?;
    let verdict = prove(place, &mutant.proof);
    std::fs::write(&file, whole)?;
    verdict
}

/// Where faults are tried.
struct Place {
    tree: PathBuf,
    /// What is built there, shared by all of them.
    target: PathBuf,
}

impl Place {
    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command =
            run::command(&self.tree, "timeout", &[&["--kill-after", "10", LONGEST, program], words].concat());
        command.env("CARGO_TARGET_DIR", &self.target);
        command
    }

    fn cargo(&self, words: &[&str]) -> Command {
        self.command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), words)
    }
}

/// Builds and runs what should find a fault.
fn prove(place: &Place, proof: &Proof) -> Result<Verdict> {
    let (build, mut test) = match proof {
        Proof::Tests { package, target, filters } => {
            let target: Vec<&str> = target.iter().map(String::as_str).collect();
            let words = [&["test", "--release", "--quiet", "-p", package], target.as_slice()].concat();
            let filters: Vec<&str> = std::iter::once("--").chain(filters.iter().map(String::as_str)).collect();
            let run: Vec<&str> = words.iter().copied().filter(|word| *word != "--quiet").chain(filters).collect();
            (place.cargo(&[&words[..], &["--no-run"]].concat()), place.cargo(&run))
        }
        Proof::Programme { name, options } => {
            let build = ["build", "--release", "--quiet", "--workspace", "--exclude", "xtask", "--bins"];
            let program = place.target.join("release").join(name).to_string_lossy().into_owned();
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            (place.cargo(&build), place.command(&program, &options))
        }
    };
    let mut build = build;
    let built = build.output().context("cargo could not be started")?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        let error = said.lines().find(|line| line.starts_with("error")).unwrap_or("it does not build");
        return Ok(Verdict::Void(error.to_owned()));
    }
    let output = test.output().with_context(|| format!("{proof} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok(judge(proof, output.status.success(), &said))
}

fn judge(proof: &Proof, is_well: bool, said: &str) -> Verdict {
    let has_run = said.lines().any(|line| line.starts_with("test ") || line.contains("\"scenario\":"));
    let failed = said.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    match (is_well, has_run) {
        (true, true) => Verdict::Survived,
        (true, false) => Verdict::Void("no test was run".to_owned()),
        (false, _) => Verdict::Caught(failed.map_or_else(|| first_words(proof, said), str::to_owned)),
    }
}

/// What a programme, or a test program that broke off, said first.
fn first_words(proof: &Proof, said: &str) -> String {
    let is_telling =
        |line: &&str| line.contains("cut after step") || line.starts_with("    ") || line.contains("panicked");
    let line = said.lines().map(str::trim_end).find(is_telling).unwrap_or("its end");
    let line: String = line.trim().chars().take(120).collect();
    format!("{proof}: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cheap half of the programme: it runs in CI.
    #[test]
    fn every_mutant_still_fits_the_tree_exactly_once() {
        let root = crate::workspace_root().unwrap();
        let mutants = description::all(&root).unwrap();
        assert!(mutants.len() >= 20, "{} mutants", mutants.len());
        for mutant in mutants {
            let text = std::fs::read_to_string(root.join(&mutant.file)).unwrap();
            let changed = mutant.put_into(&text).unwrap_or_else(|error| panic!("{}: {error:#}", mutant.name));
            assert_ne!(changed, text, "{}", mutant.name);
        }
    }

    #[test]
    fn a_test_that_fails_is_named_and_one_that_was_not_run_proves_nothing() {
        let proof = Proof::parse("core rollout").unwrap();
        let caught = judge(&proof, false, "running 2 tests\ntest a::b ... FAILED\ntest a::c ... ok\n");
        assert!(matches!(caught, Verdict::Caught(by) if by == "a::b"));
        assert!(matches!(judge(&proof, true, "test a::c ... ok\n"), Verdict::Survived));
        assert!(matches!(judge(&proof, true, "running 0 tests\n"), Verdict::Void(_)));
    }
}
