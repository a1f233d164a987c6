//! `watchpost access-key`: what a host needs to enrol.

use serde_json::{Value, json};

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
    /// Makes another access key and shows it. The one before admits nobody any more; enrolled sensors go on.
    #[command(after_help = "Example:\n  watchpost access-key regenerate --reason \"the old one was mailed\"")]
    Regenerate {
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { connection, output } => show(output, &connection.client()?.get("access-key").await?),
        Command::Regenerate { reason, connection, output } => {
            let body = json!({ "reason": reason });
            show(output, &connection.client()?.post("access-key/regenerate", Some(&body)).await?)
        }
    }
}

fn show(output: Output, answer: &Value) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.one(answer),
        Format::Table => {
            let key = answer.get("accessKey").and_then(Value::as_str).unwrap_or_default();
            print(&format!("{key}\n"))
        }
    }
}
