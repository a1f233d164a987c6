//! `watchpost rollouts`: how releases reach the fleet.

use serde_json::json;
use watchpost_core::version::Version;

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Looks at rollouts and steers them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists all rollouts, newest first.
    #[command(after_help = "Example:\n  watchpost rollouts list")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one rollout with its timeline.
    #[command(after_help = "Example:\n  watchpost rollouts show 2.255.1.0 --output json")]
    Show(One),
    /// Stops handing a release out; sensors in flight finish.
    #[command(after_help = "Example:\n  watchpost rollouts pause 2.255.1.0 --reason \"change freeze\"")]
    Pause(Steer),
    /// Goes on with a paused or halted rollout; failures seen so far are acknowledged.
    #[command(after_help = "Example:\n  watchpost rollouts resume 2.255.1.0")]
    Resume(Steer),
}

/// One rollout.
#[derive(clap::Args, Debug)]
pub(crate) struct One {
    /// Version of the release
    #[arg(id = "release", value_name = "VERSION")]
    version: Version,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// A change to one rollout.
#[derive(clap::Args, Debug)]
pub(crate) struct Steer {
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    one: One,
}

const COLUMNS: &[(&str, &str)] = &[
    ("VERSION", "version"),
    ("STATE", "state"),
    ("CLEARED", "cleared"),
    ("IN FLIGHT", "inFlight"),
    ("PENDING", "pending"),
    ("FAILED", "failed"),
    ("SKIPPED", "skipped"),
    ("WAITING FOR", "waitingFor"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, output } => output.list(&connection.client()?.list("rollouts").await?, COLUMNS),
        Command::Show(one) => {
            one.output.one(&one.connection.client()?.get(&format!("rollouts/{}", one.version)).await?)
        }
        Command::Pause(steer) => post(steer, "pause").await,
        Command::Resume(steer) => post(steer, "resume").await,
    }
}

async fn post(steer: Steer, verb: &str) -> Result<(), Failure> {
    let path = format!("rollouts/{}/{verb}", steer.one.version);
    let answer = steer.one.connection.client()?.post(&path, Some(&json!({ "reason": steer.reason }))).await?;
    steer.one.output.one(&answer)
}
