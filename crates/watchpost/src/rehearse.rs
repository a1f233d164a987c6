//! `watchpost rehearse`: a fleet in virtual time.

use std::path::PathBuf;
use std::process::ExitCode;

/// Plays a scenario in virtual time.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  watchpost rehearse scenario.json")]
pub(crate) struct Args {
    /// The scenario
    scenario: PathBuf,
}

/// Plays it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{} cannot be played: this build has no rehearsal", args.scenario.display())
}
