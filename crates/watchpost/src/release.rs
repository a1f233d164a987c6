//! `watchpost release`: from a folder to a strict CAB, to signed metadata, to the fleet.
//!
//! Keys never leave the author's folder; the control plane sees packages and metadata only.

pub(crate) mod local;
pub(crate) mod remote;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use watchpost_clock::Clock;
use watchpost_core::release::ReleaseKind;
use watchpost_core::restart::RestartNeed;
use watchpost_core::version::Version;

use crate::cli::client::Connection;
use crate::cli::output::Output;
use crate::failure::Failure;

/// Packs, signs and publishes releases.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Makes an author's keys and, with --repository, the signed repository with nothing in it yet.
    #[command(after_help = "Example:\n  watchpost release keys --keys ~/release-keys --repository ./repository")]
    Keys(Keys),
    /// Packs a folder into a package.
    #[command(
        disable_version_flag = true,
        after_help = "Example:\n  watchpost release build --from ./sensor --version 2.255.1.0 --out sensor-2.255.1.0.cab"
    )]
    Build(Build),
    /// Signs a package into the author's repository.
    #[command(
        after_help = "Example:\n  watchpost release sign --keys ~/release-keys --repository ./repository sensor-2.255.1.0.cab"
    )]
    Sign(Sign),
    /// Publishes a signed package to the control plane, which then rolls it out.
    #[command(after_help = "Example:\n  watchpost release publish --repository ./repository sensor-2.255.1.0.cab")]
    Publish(PublishRelease),
    /// Takes a release out of the offer: it is handed to nobody any more.
    #[command(after_help = "Example:\n  watchpost release pull-back 2.255.1.0 --reason \"it loses packets\"")]
    PullBack(PullBack),
    /// Signs anew what expires: snapshot and timestamp always, targets in the last 90 days of their year.
    #[command(after_help = "Example:\n  watchpost release resign --keys ~/release-keys --repository ./repository\n  \
        watchpost release publish-metadata --repository ./repository")]
    Resign(Resign),
    /// Signs the next root, which lasts a year; with --replace keys give way to new ones.
    #[command(after_help = "Examples:\n  \
        watchpost release rotate-root --keys ~/release-keys --repository ./repository\n  \
        watchpost release rotate-root --keys ~/release-keys --repository ./repository --replace root-2 --replace online\n  \
        watchpost release publish-metadata --repository ./repository")]
    RotateRoot(RotateRoot),
    /// Publishes the metadata alone, after it was signed anew; nothing is rolled out.
    #[command(after_help = "Example:\n  watchpost release publish-metadata --repository ./repository")]
    PublishMetadata(PublishMetadata),
    /// Lists the releases of the control plane.
    #[command(after_help = "Example:\n  watchpost release list --output json")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Lists the releases that an author has signed.
    #[command(after_help = "Example:\n  watchpost release signed --repository ./repository")]
    Signed {
        /// Folder of the signed repository
        #[arg(long, value_name = "DIR")]
        repository: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
struct Keys {
    /// Folder for the keys; it must not hold any yet
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Folder for the signed repository
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
}

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
struct Build {
    /// Folder with the files of the release; a release.json in it gives what the options do not
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Version of the release
    #[arg(long)]
    version: Version,
    /// How much it changes: minor, major or hotfix
    #[arg(long, value_parser = kind)]
    kind: Option<ReleaseKind>,
    /// The restart that a major release needs besides the sensor's: none, watchedService or host; default: as in release.json
    #[arg(long, value_parser = restart)]
    restart: Option<RestartNeed>,
    /// What changed, for people
    #[arg(long)]
    notes: Option<String>,
    /// The oldest version that can be updated to this one directly
    #[arg(long, value_name = "VERSION")]
    minimum_base_version: Option<Version>,
    /// Where the package goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// Folder with the author's keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Folder of the signed repository; made if these keys have none yet
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// The package
    package: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What is published, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Publish {
    /// Folder of the signed repository
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// The package
    package: PathBuf,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Arguments of `publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishRelease {
    /// Starts nobody until `watchpost rollouts start`: its plan can be read before
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    publish: Publish,
}

/// Arguments of `pull-back`.
#[derive(Debug, clap::Args)]
pub(crate) struct PullBack {
    /// Version of the release
    #[arg(id = "release", value_name = "VERSION")]
    version: Version,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `resign`.
#[derive(Debug, clap::Args)]
struct Resign {
    /// Folder with the author's keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Folder of the signed repository
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `rotate-root`.
#[derive(Debug, clap::Args)]
struct RotateRoot {
    /// Folder with the author's keys: those of the root that must sign, and whatever is signed anew
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Folder of the signed repository
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// A key that gives way to a new one: root-1 to -5, targets-1 to -3, online; may be repeated
    #[arg(long = "replace", value_name = "KEY")]
    replaced: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `publish-metadata`.
#[derive(Debug, clap::Args)]
struct PublishMetadata {
    /// Folder of the signed repository
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn restart(text: &str) -> Result<RestartNeed, String> {
    serde_json::from_value(serde_json::json!(text))
        .map_err(|_| format!("“{text}” is no restart; write none, watchedService or host"))
}

fn kind(text: &str) -> Result<ReleaseKind, String> {
    serde_json::from_value(text.into()).map_err(|_| format!("“{text}” is none of minor, major, hotfix"))
}

/// Runs one command. Signatures count from this machine's time.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let now = Clock::system().now();
    match args.command {
        Command::Keys(args) => local::keys(&args, now)?,
        Command::Build(args) => local::build(&args)?,
        Command::Sign(args) => local::sign(&args, now)?,
        Command::Publish(args) => remote::publish(&args, now).await?,
        Command::PullBack(args) => remote::pull_back(&args).await?,
        Command::Resign(args) => local::resign(&args, now)?,
        Command::RotateRoot(args) => local::rotate_root(&args, now)?,
        Command::PublishMetadata(args) => remote::publish_metadata(&args, now).await?,
        Command::List { connection, output } => remote::list(&connection, output).await?,
        Command::Signed { repository, output } => local::signed(&repository, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An error and all of its causes, in one line.
pub(crate) fn line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// It was tried and failed.
pub(crate) fn failed(error: impl std::error::Error) -> Failure {
    Failure::failed(line(&error))
}

/// It is not allowed as things stand.
pub(crate) fn refused(error: impl std::error::Error) -> Failure {
    Failure::refused(line(&error))
}
