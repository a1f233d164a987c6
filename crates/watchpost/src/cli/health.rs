//! `watchpost health`: health issues.

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Looks at health issues.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists health issues, open ones first.
    #[command(after_help = "Example:\n  watchpost health list")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("TITLE", "displayName"),
    ("SEVERITY", "severity"),
    ("STATUS", "status"),
    ("SENSORS", "sensorDNSNames"),
    ("SINCE", "createdDateTime"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, output } => {
            output.list(&connection.client()?.list("health-issues").await?, COLUMNS)
        }
    }
}
