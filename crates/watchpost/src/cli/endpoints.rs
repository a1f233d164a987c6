//! `watchpost endpoints`: every place that has to be reached.

use super::client::Connection;
use super::output::{Output, print};
use crate::failure::Failure;

/// Says which places have to be reached, by whom and what for.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists them.
    #[command(after_help = "Example:\n  watchpost endpoints list")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Prints them as CSV, for whoever opens the firewall.
    #[command(after_help = "Example:\n  watchpost endpoints export > endpoints.csv")]
    Export {
        #[command(flatten)]
        connection: Connection,
    },
}

const COLUMNS: &[(&str, &str)] = &[
    ("FROM", "from"),
    ("DIRECTION", "direction"),
    ("HOST", "host"),
    ("PORT", "port"),
    ("PROTOCOL", "protocol"),
    ("PURPOSE", "purpose"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, output } => output.list(&connection.client()?.list("endpoints").await?, COLUMNS),
        Command::Export { connection } => print(&connection.client()?.text("endpoints.csv").await?),
    }
}
