//! `watchpost rehearse`: a fleet in virtual time. Reads the scenario and shows the result; `core` does the rest.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use watchpost_core::rehearsal::{Outcome, Scenario, run as play};
use watchpost_core::version::Version;

use crate::failure::Failure;

/// Largest scenario file, in bytes.
const MAX_SCENARIO: u64 = 256 * 1024 * 1024;

/// Plays a scenario in virtual time.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  watchpost rehearse scenario.json --seed 7 --output table")]
pub(crate) struct Args {
    /// The scenario
    scenario: PathBuf,
    /// Moves check-ins by up to 10 %, the same way for the same number; without it they keep their interval
    #[arg(long)]
    seed: Option<u64>,
    /// How to show the result; a table on a terminal, JSON elsewhere
    #[arg(long, value_enum)]
    output: Option<Form>,
}

/// How the result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    Table,
    /// For scripts
    Json,
}

/// Plays it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let text = read(&args.scenario)?;
    let name = args.scenario.display();
    let scenario = Scenario::parse(&text).map_err(|error| {
        let line = anyhow::Error::new(error).chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Failure::usage(format!("{name}: {line}"))
    })?;
    let outcome = play(&scenario, args.seed);
    let usual = if std::io::stdout().is_terminal() { Form::Table } else { Form::Json };
    let shown = match args.output.unwrap_or(usual) {
        Form::Json => serde_json::to_string_pretty(&outcome)? + "\n",
        Form::Table => table(&outcome),
    };
    match std::io::stdout().lock().write_all(shown.as_bytes()) {
        // Whoever reads has seen enough (`| head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).context("the result could not be written"),
    }
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
