//! `cargo xtask test`: every step of CI, in order, with a line before each and its time after it.
//!
//! A failed step does not hide the later ones, except that nothing is tested that did not build.

use std::io::stdout;
use std::path::Path;

use anyhow::{Result, bail};

use crate::properties;
use crate::run::{self, Stopwatch};
use crate::setup;
use crate::tally::Tally;
use crate::tidy;

/// What the product and its tests are built with: one line for all, so that nothing is compiled twice. `xtask` stays
/// out because it asks for other features of shared dependencies; `demo` turns the hosts' stepped clock on.
pub(crate) const WORKSPACE: &[&str] = &["--release", "--workspace", "--exclude", "xtask"];

/// One step of CI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Setup,
    Fmt,
    Tidy,
    Clippy,
    Deny,
    Build,
    Test,
}

/// The order: what is cheap and often wrong comes first.
const STEPS: [Step; 7] = [Step::Setup, Step::Fmt, Step::Tidy, Step::Clippy, Step::Deny, Step::Build, Step::Test];

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fmt => "fmt",
            Self::Tidy => "tidy",
            Self::Clippy => "clippy",
            Self::Deny => "deny",
            Self::Build => "build",
            Self::Test => "test",
        }
    }

    /// Whether the steps after this one make no sense when it failed.
    fn is_needed_by_the_rest(self) -> bool {
        match self {
            Self::Setup | Self::Build => true,
            Self::Fmt | Self::Tidy | Self::Clippy | Self::Deny | Self::Test => false,
        }
    }
}

/// What to run: the steps, and the words that choose among the tests.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    steps: Vec<Step>,
    tests: Option<&'a str>,
}

fn plan(only: Option<&str>) -> Plan<'_> {
    let Some(name) = only else { return Plan { steps: STEPS.to_vec(), tests: None } };
    match STEPS.into_iter().find(|step| step.name() == name) {
        Some(Step::Test) => Plan { steps: vec![Step::Build, Step::Test], tests: None },
        Some(step) => Plan { steps: vec![step], tests: None },
        None => Plan { steps: vec![Step::Build, Step::Test], tests: Some(name) },
    }
}

/// Runs the steps and closes with `N passed, N failed`, the sum over all test programs, each other step counted as one.
///
/// # Errors
/// When a step or a test failed, or when `only` chose no test at all.
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<()> {
    let plan = plan(only);
    let whole = Stopwatch::start();
    let mut tally = Tally::default();
    let mut failed_steps = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        println!("==> {}/{} {}", index + 1, plan.steps.len(), step.name());
        let watch = Stopwatch::start();
        let outcome = perform(root, *step, plan.tests, &mut tally);
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("<== {} {verdict} after {:.1} s", step.name(), watch.elapsed().as_secs_f64());
        if let Err(error) = outcome {
            println!("    {error:#}");
            failed_steps.push(step.name());
            if step.is_needed_by_the_rest() {
                break;
            }
        }
    }
    println!("all steps: {:.1} s, {} tests ignored", whole.elapsed().as_secs_f64(), tally.ignored);
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if failed_steps.is_empty() { Ok(()) } else { bail!("failed: {}", failed_steps.join(", ")) }
}

fn perform(root: &Path, step: Step, tests: Option<&str>, tally: &mut Tally) -> Result<()> {
    let outcome = match step {
        Step::Setup => setup::run(root),
        Step::Fmt => run::succeed(&mut run::cargo(root, &["fmt", "--all", "--check"])),
        Step::Tidy => tidy::run(root),
        Step::Clippy => clippy(root),
        Step::Deny => deny(root),
        Step::Build => build(root),
        Step::Test => return test(root, tests, tally),
    };
    tally.add_step(outcome.is_ok());
    outcome
}

/// In the release profile, so that build scripts (a TLS library, SQLite) are compiled once for lints, binaries and tests.
fn clippy(root: &Path) -> Result<()> {
    run::succeed(&mut with_workspace(root, "clippy", &["--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    let own = ["clippy", "--release", "-p", "xtask", "--all-targets", "--quiet", "--", "-D", "warnings"];
    run::succeed(&mut run::cargo(root, &own))
}

fn deny(root: &Path) -> Result<()> {
    let deny = setup::deny(root);
    let asked = ["--offline", "--workspace", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    run::succeed(&mut run::command(root, &deny.to_string_lossy(), &asked))
}

/// Binaries and test programs in one go: built apart they would not agree on the features of what they share.
pub(crate) fn build(root: &Path) -> Result<()> {
    run::succeed(&mut with_workspace(root, "build", &["--all-targets"]))
}

fn test(root: &Path, names: Option<&str>, tally: &mut Tally) -> Result<()> {
    let before = *tally;
    let mut rest = vec!["--no-fail-fast", "--"];
    rest.extend(names);
    let mut commands = vec![with_workspace(root, "test", &rest)];
    let mut own = vec!["test", "--release", "-p", "xtask", "--"];
    own.extend(names);
    commands.push(run::cargo(root, &own));
    let mut all_well = true;
    for command in &mut commands {
        // The same commit gives the same answer: fresh seeds are for `cargo xtask properties`.
        if std::env::var_os(properties::SEED).is_none() {
            command.env(properties::SEED, properties::FIXED);
        }
        all_well &= run::watch(command, &mut stdout(), &mut |line| tally.see(line))?;
    }
    if !all_well {
        if tally.failed == before.failed {
            // A program that broke off has counted nothing, and must not leave a sum without failures.
            tally.add_step(false);
        }
        bail!("a test failed or a test program broke off; its output is above");
    }
    if tally.passed == before.passed {
        bail!("no test ran: none has “{}” in its name", names.unwrap_or_default());
    }
    Ok(())
}

fn with_workspace(root: &Path, verb: &str, rest: &[&str]) -> std::process::Command {
    let words: Vec<&str> = [verb].into_iter().chain(WORKSPACE.iter().copied()).chain(rest.iter().copied()).collect();
    run::cargo(root, &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_every_step_runs_in_order() {
        let names: Vec<_> = plan(None).steps.into_iter().map(Step::name).collect();
        assert_eq!(names, ["setup", "fmt", "tidy", "clippy", "deny", "build", "test"]);
    }

    #[test]
    fn a_step_runs_alone_and_any_other_word_chooses_tests() {
        assert_eq!(plan(Some("tidy")), Plan { steps: vec![Step::Tidy], tests: None });
        assert_eq!(plan(Some("kill")), Plan { steps: vec![Step::Build, Step::Test], tests: Some("kill") });
    }
}
