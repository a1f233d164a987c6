//! `watchpost audit`: who changed what, when and why.

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Looks at the audit log.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists the newest changes first.
    #[command(after_help = "Example:\n  watchpost audit list --top 20")]
    List {
        /// How many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        top: u32,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

const COLUMNS: &[(&str, &str)] =
    &[("AT", "at"), ("WHO", "actor"), ("WHAT", "action"), ("SUBJECT", "subject"), ("REASON", "reason")];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { top, connection, output } => {
            output.list(&connection.client()?.list(&format!("audit?$top={top}")).await?, COLUMNS)
        }
    }
}
