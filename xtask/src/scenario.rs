//! Long programmes on real processes: each is one end-to-end test, run alone, with bigger numbers than CI uses.
//!
//! The test writes its evidence as JSON to the file named by `WATCHPOST_EVIDENCE`; only that reaches standard output.

use std::io::stderr;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run;
use crate::tally::Tally;

/// Which programme, and how much of it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Its name; without one the list is printed.
    name: Option<String>,
    /// How often a process is killed (kill9).
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Where chance starts from; the same seed asks for the same instants.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One programme.
struct Scenario {
    name: &'static str,
    about: &'static str,
    /// The full name of the test in the end-to-end program.
    test: &'static str,
}

/// Every programme, by name.
const SCENARIOS: &[Scenario] = &[Scenario {
    name: "kill9",
    about: "kill -9 of updater, sensor or server at random instants of a demo; every host ends on a right version",
    test: "scenarios::kill9",
}];

/// Runs one programme; its evidence goes to standard output, all else to standard error.
///
/// # Errors
/// When there is no such programme, or it failed, or it left no evidence.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let Some(name) = &arguments.name else {
        for scenario in SCENARIOS {
            println!("{:<10} {}", scenario.name, scenario.about);
        }
        return Ok(());
    };
    let scenario = find(name)?;
    let evidence = root.join("target").join(format!("scenario-{}.json", scenario.name));
    remove_old(&evidence)?;
    run::succeed(&mut run::cargo(root, &["build", "--release", "--workspace", "--exclude", "xtask", "--all-targets"]))?;
    let words = ["test", "--release", "--workspace", "--exclude", "xtask", "--test", "end_to_end", "--", "--exact"];
    let mut command = run::cargo(root, &words);
    command.args([scenario.test, "--nocapture"]);
    command.env("WATCHPOST_EVIDENCE", &evidence);
    command.env("WATCHPOST_KILLS", arguments.kills.to_string());
    command.env("WATCHPOST_SEED", arguments.seed.to_string());
    let mut tally = Tally::default();
    let well = run::watch(&mut command, &mut stderr(), &mut |line| tally.see(line))?;
    if tally.passed + tally.failed == 0 {
        bail!("the end-to-end program holds no test `{}`: mend the registry in xtask/src/scenario.rs", scenario.test);
    }
    if let Ok(text) = std::fs::read_to_string(&evidence) {
        println!("{}", text.trim_end());
    } else if well {
        bail!("{name} passed and left no evidence: its test must write JSON to the file in WATCHPOST_EVIDENCE");
    }
    if well { Ok(()) } else { bail!("{name} failed; what it printed is above") }
}

fn find(name: &str) -> Result<&'static Scenario> {
    let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("there is no scenario “{name}”; there is: {}", known()))
}

/// Yesterday's evidence must not pass for today's.
fn remove_old(evidence: &Path) -> Result<()> {
    match std::fs::remove_file(evidence) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} could not be removed", evidence.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_others_are_told_what_there_is() {
        assert_eq!(find("kill9").unwrap().test, "scenarios::kill9");
        let Err(error) = find("kill8") else { panic!("kill8 was found") };
        assert!(error.to_string().contains("there is: kill9"), "{error}");
    }
}
