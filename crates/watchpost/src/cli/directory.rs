//! `watchpost directory`: the directories that are asked whether domain controllers still exist.

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Looks at directories.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Shows for each domain when its directory was asked, when it answered, and what was wrong.
    #[command(after_help = "Example:\n  watchpost directory status")]
    Status {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

const COLUMNS: &[(&str, &str)] = &[
    ("DOMAIN", "domain"),
    ("SERVERS", "servers"),
    ("TLS", "tls"),
    ("ASKED", "lastAskedDateTime"),
    ("ANSWERED", "lastAnsweredDateTime"),
    ("SENSORS", "sensors"),
    ("GONE", "gone"),
    ("TROUBLE", "trouble"),
    ("REASON", "reason"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Status { connection, output } => {
            output.list(&connection.client()?.list("directories").await?, COLUMNS)
        }
    }
}
