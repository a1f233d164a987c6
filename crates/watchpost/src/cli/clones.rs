//! `watchpost clones`: hosts that say to be an enrolled one, and what they are.

use serde_json::{Value, json};

use super::client::{Connection, encoded};
use super::output::Output;
use crate::failure::Failure;

/// Looks at newcomers that say to be an enrolled host, and decides what they are.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists who waits for a decision, and who was refused.
    #[command(after_help = "Example:\n  watchpost clones list")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one newcomer beside the sensor that it says to be.
    #[command(after_help = "Example:\n  watchpost clones show 5f0c… --output json")]
    Show {
        /// Its fingerprint: SHA-256 of its certificate
        fingerprint: String,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Says what a newcomer is.
    #[command(after_help = "Example:\n  watchpost clones decide 5f0c… replace --reason \"disk was replaced\"")]
    Decide {
        /// Its fingerprint: SHA-256 of its certificate
        fingerprint: String,
        /// The same host, installed anew (replace), another host (separate), or nobody we want (refuse)
        #[arg(value_parser = ["replace", "separate", "refuse"])]
        decision: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
}

/// What is shown of a newcomer: heading and field.
const COLUMNS: &[(&str, &str)] = &[
    ("FINGERPRINT", "fingerprint"),
    ("STATE", "state"),
    ("NAME", "name"),
    ("FROM", "address"),
    ("SINCE", "since"),
    ("LAST", "last"),
    ("SAYS TO BE", "sensor"),
    ("LAST SEEN", "seen"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, output } => {
            let rows = connection.client()?.list("clones").await?;
            output.list(&rows.into_iter().map(in_one_row).collect::<Vec<_>>(), COLUMNS)
        }
        Command::Show { fingerprint, connection, output } => {
            output.one(&connection.client()?.get(&format!("clones/{}", encoded(&fingerprint))).await?)
        }
        Command::Decide { fingerprint, decision, reason, connection } => {
            let path = format!("clones/{}/decide", encoded(&fingerprint));
            let body = json!({ "decision": decision, "reason": reason });
            connection.client()?.post(&path, Some(&body)).await.map(drop)
        }
    }
}

/// A table has no nested fields: the ones it shows stand in front of the others.
fn in_one_row(mut row: Value) -> Value {
    let pick = |part: &str, field: &str| row.get(part).and_then(|part| part.get(field)).cloned().unwrap_or_default();
    let fields = [
        ("name", pick("newcomer", "displayName")),
        ("address", pick("newcomer", "address")),
        ("since", pick("newcomer", "firstDateTime")),
        ("last", pick("newcomer", "lastDateTime")),
        ("sensor", pick("enrolled", "displayName")),
        ("seen", pick("enrolled", "lastSeenDateTime")),
    ];
    if let Some(row) = row.as_object_mut() {
        row.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    }
    row
}
