//! The sensor service of a sensor host.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use watchpost_agent::local::{Ask, Kept, LocalError, SHOWN_LIMIT, Say, SensorLink};
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
    /// Shows what the sensor of this host keeps: alerts, devices, timeline, captured packets, logs; newest first.
    #[command(after_help = "Example: watchpost-sensor evidence timeline --root /var/lib/watchpost --limit 20")]
    Evidence {
        /// What to show.
        #[arg(value_enum)]
        kind: Shown,
        /// The host's folder (mandatory).
        #[arg(long)]
        root: PathBuf,
        /// At most so many; 100 are the most.
        #[arg(long, default_value_t = SHOWN_LIMIT)]
        limit: u32,
    },
}

/// What a sensor keeps.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Shown {
    Alerts,
    Devices,
    Timeline,
    Captures,
    Logs,
}

impl From<Shown> for Kept {
    fn from(shown: Shown) -> Self {
        match shown {
            Shown::Alerts => Self::Alerts,
            Shown::Devices => Self::Devices,
            Shown::Timeline => Self::Timeline,
            Shown::Captures => Self::Captures,
            Shown::Logs => Self::Logs,
        }
    }
}

/// Asks the running sensor and prints one JSON object a line.
async fn show(root: &Path, kind: Kept, limit: u32) -> Result<(), LocalError> {
    let mut link = SensorLink::connect(root).await?;
    link.ask(&Ask::Show { kind, limit }).await?;
    while let Some(said) = link.next().await? {
        if let Say::Shown { shown } = said {
            let mut out = std::io::stdout().lock();
            for item in shown {
                writeln!(out, "{item}")?;
            }
            return Ok(());
        }
    }
    Err(LocalError::Io(std::io::ErrorKind::UnexpectedEof.into()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (root, release, clock) = match Cli::parse().command {
        Command::Evidence { kind, root, limit } => {
            return match show(&root, kind.into(), limit).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    complain(&format!("no sensor answers in {}: {}", root.display(), sensor::one_line(&error)), 1)
                }
            };
        }
        #[cfg(feature = "demo-clock")]
        Command::Run { root, release, clock, clock_party } => (root, release, clock.map(|dir| (dir, clock_party))),
        #[cfg(not(feature = "demo-clock"))]
        Command::Run { root, release } => (root, release, ()),
    };
    #[cfg(feature = "demo-clock")]
    let clock = match clock.map(|(dir, party)| Clock::stepped(&dir, &party)).transpose() {
        Ok(clock) => clock.unwrap_or_default(),
        Err(error) => return complain(&format!("the stepped clock cannot be joined: {error}"), 78),
    };
    #[cfg(not(feature = "demo-clock"))]
    let () = clock;
    #[cfg(not(feature = "demo-clock"))]
    let clock = Clock::system();
    // `current` may lead elsewhere while this runs.
    let release = release.canonicalize().unwrap_or(release);
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
