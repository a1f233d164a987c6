//! The sensor service of a sensor host.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use watchpost_agent::sensor::{self, Settings};
use watchpost_clock::Clock;

/// Follows a domain controller's audit log and detects.
#[derive(Parser)]
#[command(version, after_help = "The updater starts it; nobody else needs to.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the sensor until it is told to stop.
    #[command(
        after_help = "Example: watchpost-sensor run --root /var/lib/watchpost --release /var/lib/watchpost/current"
    )]
    Run {
        /// The host's folder (mandatory).
        #[arg(long)]
        root: PathBuf,
        /// The folder of the release to run (mandatory).
        #[arg(long)]
        release: PathBuf,
        /// Folder of a stepped clock.
        #[cfg(feature = "demo-clock")]
        #[arg(long, hide = true)]
        clock: Option<PathBuf>,
        /// This process's name under the stepped clock.
        #[cfg(feature = "demo-clock")]
        #[arg(long, hide = true, default_value = "sensor")]
        clock_party: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command::Run {
        root,
        release,
        #[cfg(feature = "demo-clock")]
        clock,
        #[cfg(feature = "demo-clock")]
        clock_party,
    } = Cli::parse().command;
    #[cfg(feature = "demo-clock")]
    let clock = match clock.map(|dir| Clock::stepped(&dir, &clock_party)).transpose() {
        Ok(clock) => clock.unwrap_or_default(),
        Err(error) => return complain(&format!("the stepped clock cannot be joined: {error}"), 78),
    };
    #[cfg(not(feature = "demo-clock"))]
    let clock = Clock::system();
    match sensor::run(&Settings { root, release }, clock).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&sensor::one_line(&error), error.exit_code()),
    }
}

fn complain(why: &str, code: u8) -> ExitCode {
    // The pipe may have gone with the updater that started this process; the log has the line, too.
    let _ = writeln!(std::io::stderr(), "watchpost-sensor: {why}");
    ExitCode::from(code)
}
