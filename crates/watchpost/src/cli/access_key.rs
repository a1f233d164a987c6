//! `watchpost access-key`: what a host needs to enrol.

use serde_json::Value;

use super::client::Connection;
use super::output::{Format, Output, print};
use crate::failure::Failure;

/// Handles the access key.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Shows the current access key. Whoever has it can enrol hosts.
    #[command(after_help = "Example:\n  watchpost access-key show --output table > access-key")]
    Show {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { connection, output } => {
            let answer = connection.client()?.get("access-key").await?;
            match output.format() {
                Format::Json => output.one(&answer),
                Format::Table => {
                    let key = answer.get("accessKey").and_then(Value::as_str).unwrap_or_default();
                    print(&format!("{key}\n"))
                }
            }
        }
    }
}
