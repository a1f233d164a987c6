//! `watchpost certificates`: the client certificates of many sensors are replaced by one order.

use serde_json::{Value, json};

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Replaces the client certificates of many sensors.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Shows where the last order for many stands.
    #[command(after_help = "Example:\n  watchpost certificates show")]
    Show {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Orders it, spread over time; with --rehearse on one in a hundred first, and the others wait for `continue`.
    #[command(after_help = "Examples:\n  watchpost certificates rotate --all --rehearse --reason \"yearly\"\n  \
        watchpost certificates rotate DC01 DC02 --spread-seconds 0")]
    Rotate {
        /// Sensors, by id or name
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "SENSOR")]
        sensors: Vec<String>,
        /// Every sensor
        #[arg(long)]
        all: bool,
        /// On one in a hundred first, at least on one
        #[arg(long)]
        rehearse: bool,
        /// Over how long the others are spread; an hour unless given
        #[arg(long, value_name = "SECONDS")]
        spread_seconds: Option<u64>,
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Orders it for the others, once everybody in the rehearsal has finished.
    #[command(after_help = "Example:\n  watchpost certificates continue")]
    Continue {
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

const PATH: &str = "certificate-rotation";

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    let (answer, output): (Value, Output) = match command {
        Command::Show { connection, output } => (connection.client()?.get(PATH).await?, output),
        Command::Rotate { sensors, all, rehearse, spread_seconds, reason, connection, output } => {
            let body = json!({
                "sensors": (!all).then_some(sensors), "rehearse": rehearse, "spreadSeconds": spread_seconds,
                "reason": reason,
            });
            (connection.client()?.post(PATH, Some(&body)).await?, output)
        }
        Command::Continue { reason, connection, output } => {
            let body = json!({ "reason": reason });
            (connection.client()?.post(&format!("{PATH}/continue"), Some(&body)).await?, output)
        }
    };
    output.one(&answer)
}
