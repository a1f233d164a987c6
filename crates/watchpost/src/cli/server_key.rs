//! `watchpost trust server-key`: another key takes the place of the one that hosts know the server by.

use serde_json::{Value, json};

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Renews the key that hosts know this server by, in three steps: announce, switch, retire.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Shows where a renewal stands, and which sensors do not hold the next key yet.
    #[command(after_help = "Example:\n  watchpost trust server-key show")]
    Show {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Makes the next key and tells hosts to trust it beside the one that serves.
    #[command(after_help = "Example:\n  watchpost trust server-key announce --reason \"yearly renewal\"")]
    Announce(Because),
    /// Serves with the announced key; refused while a connected sensor does not hold it.
    #[command(after_help = "Example:\n  watchpost trust server-key switch")]
    Switch {
        /// Switch although sensors would be locked out
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        because: Because,
    },
    /// Tells hosts to drop the key that served before.
    #[command(after_help = "Example:\n  watchpost trust server-key retire")]
    Retire(Because),
}

/// Why, and where.
#[derive(clap::Args, Debug)]
pub(crate) struct Because {
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { connection, output } => output.one(&connection.client()?.get("server-key").await?),
        Command::Announce(because) => act("announce", because, json!({})).await,
        Command::Switch { force, because } => act("switch", because, json!({ "force": force })).await,
        Command::Retire(because) => act("retire", because, json!({})).await,
    }
}

async fn act(step: &str, because: Because, mut body: Value) -> Result<(), Failure> {
    let Because { reason, connection, output } = because;
    if let (Some(fields), Some(reason)) = (body.as_object_mut(), reason) {
        fields.insert("reason".to_owned(), json!(reason));
    }
    let answer = connection.client()?.post(&format!("server-key/{step}"), Some(&body)).await?;
    output.one(&answer)
}
