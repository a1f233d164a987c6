//! `watchpost rules`: rule packages, from a folder to the engines. Keys and repository are those of the releases.
//!
//! Keys never leave the author's folder; the control plane sees packages and metadata only.

mod local;
mod remote;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use watchpost_clock::Clock;
use watchpost_core::time::Timestamp;

use crate::cli::client::Connection;
use crate::cli::output::Output;
use crate::failure::Failure;
use crate::release::{Publish, Sign};

/// Packs, signs, publishes, pulls back and pushes rule packages.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Packs a folder with sigma/*.yml and suricata/*.rules into a rule package.
    #[command(
        after_help = "Example:\n  watchpost rules build --from ./rules --build 2026-11-25T12:00:00Z --out watchpost-rules-20261125t120000.cab"
    )]
    Build(Build),
    /// Signs a rule package into the author's repository, beside the releases.
    #[command(
        after_help = "Example:\n  watchpost rules sign --keys ~/release-keys --repository ./repository watchpost-rules-20261125t120000.cab"
    )]
    Sign(Sign),
    /// Publishes a signed rule package; automatic sensors are offered it from their next check-in on.
    #[command(
        after_help = "Example:\n  watchpost rules publish --repository ./repository watchpost-rules-20261125t120000.cab"
    )]
    Publish(Publish),
    /// Lists the rule packages of the control plane, newest build first.
    #[command(after_help = "Example:\n  watchpost rules list --output json")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Takes a package out of the offer; sensors that have it go back to what they had before.
    #[command(after_help = "Example:\n  watchpost rules pull-back 2026-11-25T12:00:00Z --reason \"floods of alerts\"")]
    PullBack(PullBack),
    /// Pushes a package to one sensor, also one that was put back there; the newest unless --build is given.
    #[command(after_help = "Example:\n  watchpost rules push DC01 --build 2026-11-25T12:00:00Z")]
    Push(Push),
    /// Sets whether a sensor takes new packages by itself.
    #[command(after_help = "Example:\n  watchpost rules mode DC01 manual")]
    Mode(SetMode),
}

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
struct Build {
    /// Folder with sigma/*.yml and suricata/*.rules; a rules.json in it gives notes and what was promised
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Build date of the package: its version
    #[arg(long, value_name = "INSTANT")]
    build: Timestamp,
    /// What changed, for people
    #[arg(long)]
    notes: Option<String>,
    /// Where the package goes; its name is given by the build date
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `pull-back`.
#[derive(Debug, clap::Args)]
struct PullBack {
    /// Build date of the package
    build: Timestamp,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `push`.
#[derive(Debug, clap::Args)]
struct Push {
    /// Id or name of the sensor
    sensor: String,
    /// Build date of the package
    #[arg(long, value_name = "INSTANT")]
    build: Option<Timestamp>,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `mode`.
#[derive(Debug, clap::Args)]
struct SetMode {
    /// Id or name of the sensor
    sensor: String,
    /// automatic or manual
    #[arg(value_parser = ["automatic", "manual"])]
    mode: String,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// Runs one command. Signatures count from this machine's time.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let now = Clock::system().now();
    match args.command {
        Command::Build(args) => local::build(&args),
        Command::Sign(args) => local::sign(&args, now),
        Command::Publish(args) => remote::publish(&args, now).await,
        Command::List { connection, output } => remote::list(&connection, output).await,
        Command::PullBack(args) => remote::pull_back(&args).await,
        Command::Push(args) => remote::push(&args).await,
        Command::Mode(args) => remote::set_mode(&args).await,
    }
}
