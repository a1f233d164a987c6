//! `watchpost rehearse`: a fleet in virtual time, from a file, or a copy of the living one that the control plane makes.
//! Reads and shows; `core` does the rest.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use watchpost_core::rehearsal::{Outcome, Scenario, run as play};
use watchpost_core::restart::RestartNeed;
use watchpost_core::version::Version;

use crate::cli::client::MaybeConnection;
use crate::cli::output::{Format, Output, print};
use crate::cli::rollouts::{Change, show_plan};
use crate::failure::Failure;
use crate::release::restart;

/// Largest scenario file, in bytes.
const MAX_SCENARIO: u64 = 256 * 1024 * 1024;

/// Plays a scenario in virtual time.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  watchpost rehearse scenario.json --seed 7 --output table\n  watchpost rehearse --live 2.255.1.0 --keep-watching hq/core=2"
)]
pub(crate) struct Args {
    /// The scenario
    #[arg(required_unless_present = "live", conflicts_with = "live")]
    scenario: Option<PathBuf>,
    /// Moves check-ins by up to 10 %, the same way for the same number; without it they keep their interval
    #[arg(long, conflicts_with = "live")]
    seed: Option<u64>,
    /// Rehearses this release, published or not, on a copy of the living fleet
    #[arg(long, value_name = "VERSION")]
    live: Option<Version>,
    #[command(flatten)]
    settings: Change,
    /// Oldest version that may take the release directly, if it is not published yet
    #[arg(long, value_name = "VERSION", requires = "live")]
    minimum_base_version: Option<Version>,
    /// The restart that the release needs, if it is not published yet: none, watchedService or host
    #[arg(long, requires = "live", value_parser = restart)]
    restart: Option<RestartNeed>,
    /// Size of its package, if it is not published yet
    #[arg(long, value_name = "BYTES", requires = "live")]
    bytes: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: MaybeConnection,
}

/// Plays it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Some(scenario) = &args.scenario else { return Ok(live(&args).await.map(|()| ExitCode::SUCCESS)?) };
    let text = read(scenario)?;
    let name = scenario.display();
    let scenario = Scenario::parse(&text).map_err(|error| {
        let line = anyhow::Error::new(error).chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Failure::usage(format!("{name}: {line}"))
    })?;
    let outcome = play(&scenario, args.seed);
    let shown = match args.output.format() {
        Format::Json => serde_json::to_string_pretty(&outcome)? + "\n",
        Format::Table => table(&outcome),
    };
    Ok(print(&shown).map(|()| ExitCode::SUCCESS)?)
}

/// Has the control plane rehearse on a copy of its fleet, and shows the plan it came to.
async fn live(args: &Args) -> Result<(), Failure> {
    let connection = args.connection.known().ok_or_else(|| {
        Failure::usage("--live asks a control plane: set WATCHPOST_URL and WATCHPOST_TOKEN, or --url and --token")
    })?;
    let body = json!({
        "version": args.live,
        "minimumBaseVersion": args.minimum_base_version,
        "kind": if args.restart.is_some_and(RestartNeed::is_needed) { "major" } else { "minor" },
        "restart": args.restart.unwrap_or_default(),
        "bytes": args.bytes.unwrap_or(0),
        "settings": args.settings.body().unwrap_or_else(|| json!({})),
    });
    show_plan(&connection.client()?.post("rehearsals", Some(&body)).await?, args.output)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let file = std::fs::File::open(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Failure::not_found(format!("there is no file {name}; check the path"))
        } else {
            Failure::failed(format!("{name} cannot be opened: {error}"))
        }
    })?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_SCENARIO + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed(format!("{name} cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_SCENARIO) {
        return Err(
            Failure::usage(format!("{name} is larger than the {MAX_SCENARIO} bytes a scenario may have")).into()
        );
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name} is not UTF-8 text, so it is no JSON")).into())
}

fn text(version: Option<Version>) -> String {
    version.map_or_else(|| "–".to_owned(), |version| version.to_string())
}

fn table(outcome: &Outcome) -> String {
    let mut lines = vec![format!("{:<14} {:<24} {:<14} {}", "AT", "SENSOR", "EVENT", "ABOUT")];
    for event in &outcome.events {
        let subject = event.sensor.clone().unwrap_or_else(|| format!("rollout {}", text(event.rollout)));
        let versions = event.version.map(|version| version.to_string());
        let change = event.from.as_ref().zip(event.to.as_ref()).map(|(from, to)| format!("{from} → {to}"));
        let about = [versions, event.issue_type.clone(), change, event.reason.clone()];
        let about = about.into_iter().flatten().collect::<Vec<_>>().join(", ");
        lines.push(format!("{:<14} {subject:<24} {:<14} {about}", event.at, event.event));
    }
    for look in &outcome.observations {
        lines.push(format!("\nAt {}:", look.at));
        for sensor in &look.sensors {
            let waits = sensor.waiting_for.as_ref().map(|what| format!("; waits for {what}")).unwrap_or_default();
            let (status, service) = (&sensor.sensor_status, &sensor.service_status);
            let version = text(sensor.version);
            lines.push(format!(
                "  {:<22} {version:<20} {status}, {service}, {}{waits}",
                sensor.name, sensor.health_status
            ));
        }
    }
    lines.push("\nSensors at the end:".to_owned());
    for sensor in &outcome.sensors {
        let bad = sensor.bad_versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let bad = if bad.is_empty() { bad } else { format!("; went back from {bad}") };
        lines.push(format!("  {:<22} {:<20} {}{bad}", sensor.name, text(sensor.version), sensor.sensor_status));
    }
    for rollout in &outcome.rollouts {
        lines.push(format!(
            "\nRollout of {}: {}; {} cleared, {} failed, {} skipped, {} pending, at most {} in flight",
            rollout.version,
            rollout.state,
            rollout.cleared,
            rollout.failed,
            rollout.skipped,
            rollout.pending,
            rollout.peak_in_flight
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser, Debug)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_file_or_the_living_fleet_is_rehearsed_and_never_both_or_neither() {
        let parse = |words: &[&str]| Line::try_parse_from([&["rehearse"], words].concat()).map(|line| line.args);
        let file = parse(&["fleet.json", "--seed", "7"]).unwrap();
        assert_eq!((file.scenario, file.live), (Some(PathBuf::from("fleet.json")), None));
        let live = parse(&["--live", "2.255.1.0", "--keep-watching", "hq/core=2"]).unwrap();
        assert_eq!(live.settings.body(), Some(json!({ "coverage": { "hq/core": 2 } })));
        assert!(parse(&[]).is_err() && parse(&["fleet.json", "--live", "2.255.1.0"]).is_err());
        assert!(parse(&["--live", "2.255.1.0", "--seed", "7"]).is_err(), "a living fleet keeps its own rhythm");
    }
}
