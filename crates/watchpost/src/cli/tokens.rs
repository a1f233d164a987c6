//! `watchpost tokens`: API tokens for scripts.

use serde_json::json;

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Handles API tokens.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Makes a token; its text is printed once and kept nowhere.
    #[command(
        after_help = "Example:\n  watchpost tokens create --name ci --role administrator --scope releases.publish --days 90"
    )]
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// viewer, user or administrator
        #[arg(long, default_value = "viewer")]
        role: String,
        /// Action it is limited to; may be given several times
        #[arg(long = "scope", value_name = "ACTION")]
        scopes: Vec<String>,
        /// Days until it stops working
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Lists tokens, without their texts.
    #[command(after_help = "Example:\n  watchpost tokens list")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Makes a token stop working at once.
    #[command(after_help = "Example:\n  watchpost tokens revoke tok_01JD0Z…")]
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        connection: Connection,
    },
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("NAME", "displayName"),
    ("ROLE", "role"),
    ("SCOPES", "scopes"),
    ("CREATED", "createdDateTime"),
    ("EXPIRES", "expirationDateTime"),
    ("REVOKED", "revokedDateTime"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { name, role, scopes, days, connection, output } => {
            let body = json!({ "displayName": name, "role": role, "scopes": scopes, "days": days });
            output.one(&connection.client()?.post("tokens", Some(&body)).await?)
        }
        Command::List { connection, output } => output.list(&connection.client()?.list("tokens").await?, COLUMNS),
        Command::Revoke { id, connection } => {
            let is_plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !is_plain {
                return Err(Failure::usage(format!("“{id}” is no token id; `watchpost tokens list` shows them")));
            }
            connection.client()?.post(&format!("tokens/{id}/revoke"), None).await.map(drop)
        }
    }
}
