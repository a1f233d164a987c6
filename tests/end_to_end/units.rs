//! The units of systemd that are shipped: within their bounds of exposure, and telling the programs what they take.

use std::path::PathBuf;
use std::process::Command;

use watchpost_tests::tools;

/// Each unit and the exposure it may have at most, on systemd's scale from 0 to 10.
const UNITS: [(&str, f64); 3] = [("watchpost-sensor", 2.0), ("watchpost-updater", 2.5), ("watchpost", 1.5)];

fn unit(name: &str) -> PathBuf {
    tools::checkout().join("deploy/systemd").join(format!("{name}.service"))
}

#[test]
fn exposure_stays_within_its_bounds() -> anyhow::Result<()> {
    for (name, bound) in UNITS {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=yes", "--no-pager"]).arg(unit(name));
        let said = tools::run(&mut analyze, "apt-get install systemd")?;
        let line = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
        let level: f64 = line.rsplit(": ").next().and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(10.0);
        assert!(level <= bound, "{name} has an exposure of {level}, and {bound} at most is allowed: {line}");
    }
    Ok(())
}

#[test]
fn what_a_unit_starts_takes_the_words_that_it_is_given() -> anyhow::Result<()> {
    for (name, _) in UNITS {
        let text = std::fs::read_to_string(unit(name))?;
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap_or_default();
        let mut words = line.split(' ');
        let program = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let verb = words.clone().next().filter(|word| !word.starts_with("--"));
        let help = tools::run(Command::new(tools::binary(program)?).args(verb).arg("--help"), "cargo build")?;
        for flag in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{program} does not take {flag}: {help}");
        }
    }
    Ok(())
}

/// By which a process gives up rights of its own. A unit that denies them leaves the unpacking process with all of its.
const GIVING_UP: [&str; 4] = ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"];

#[test]
fn the_updater_may_take_rights_from_the_process_that_unpacks() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(unit("watchpost-updater"))?;
    let allowed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter=").filter(|calls| !calls.starts_with('~')))
        .flat_map(|calls| calls.split(' '))
        .collect();
    for call in GIVING_UP {
        assert!(allowed.contains(&call), "{call} is not allowed: {allowed:?}");
    }
    Ok(())
}
