//! Long programmes on real processes: each is a binary of the `tests` crate that prints its evidence as JSON.
//!
//! Only the evidence reaches standard output; progress goes to standard error. Their short forms are tests, so CI runs them too.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{pipeline, run};

/// Which programme, and what to tell it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Its name; without one the list is printed.
    name: Option<String>,
    /// What the programme itself takes, such as `--kills 100`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// One programme.
struct Scenario {
    /// Also the name of its binary in the `tests` crate.
    name: &'static str,
    about: &'static str,
}

/// Every programme, by name.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "crash-states",
        about: "--states N --seed S: every disk that a power cut may leave of a host, recovered from; N of each path",
    },
    Scenario {
        name: "evidence",
        about: "--hours N --rate N --budget-mb N: a sensor's evidence of 24 hours at 500 events/s stays within its disk",
    },
    Scenario {
        name: "fuzz",
        about: "--seconds N --seed S: mutated packages, messages, records and metadata, and nothing panics",
    },
    Scenario {
        name: "guard",
        about: "--seconds N: a busy host, then one that is short of memory: the sensor leaves 15 % of both free",
    },
    Scenario {
        name: "halt",
        about: "--hosts N: a release that lives and does not detect, on 30 real hosts; two are ever touched",
    },
    Scenario {
        name: "identity",
        about: "a real Samba domain: failed logons and a group change raise alerts, a deleted domain controller shows",
    },
    Scenario {
        name: "network",
        about: "a network sensor on a real cable: Suricata, real traffic, the cable pulled, the engine stopped, broken rules",
    },
    Scenario {
        name: "simulation",
        about: "--sensors N --seeds N --seed S: two weeks of faults for each seed, in virtual time; nothing may break a rule",
    },
    Scenario {
        name: "kill9",
        about: "--path P --kills N --seed S: kill -9 at random instants of a path of a host, of `all`, or within demo runs (`fleet`)",
    },
];

/// Runs one programme.
///
/// # Errors
/// When there is no such programme, or it failed.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let Some(name) = &arguments.name else {
        for scenario in SCENARIOS {
            println!("{:<12} {}", scenario.name, scenario.about);
        }
        return Ok(());
    };
    let scenario = find(name)?;
    pipeline::build(root)?;
    let program = root.join("target/release").join(scenario.name);
    let options: Vec<&str> = arguments.options.iter().map(String::as_str).collect();
    run::succeed(&mut run::command(root, &program.to_string_lossy(), &options))
}

fn find(name: &str) -> Result<&'static Scenario> {
    let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("there is no scenario “{name}”; there is: {}", known()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_others_are_told_what_there_is() {
        assert_eq!(find("kill9").unwrap().name, "kill9");
        let Err(error) = find("kill8") else { panic!("kill8 was found") };
        assert!(error.to_string().contains("kill9"), "{error}");
    }

    #[test]
    fn every_programme_has_its_binary() {
        let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/src/bin");
        for scenario in SCENARIOS {
            assert!(binaries.join(format!("{}.rs", scenario.name)).exists(), "{}", scenario.name);
        }
    }
}
