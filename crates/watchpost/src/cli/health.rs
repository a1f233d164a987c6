//! `watchpost health`: health issues.

use serde_json::json;
use watchpost_core::id::IssueId;

use super::client::{Connection, query};
use super::output::Output;
use crate::failure::Failure;

/// Looks at health issues and says what to do with them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists health issues, open ones first.
    #[command(after_help = "Example:\n  watchpost health list --status open --severity high")]
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one health issue with what to do about it.
    #[command(after_help = "Example:\n  watchpost health show iss_01KE6Y00000000000000000001 --output json")]
    Show(One),
    /// Closes an issue; it stays closed until its condition has gone and come back.
    #[command(after_help = "Example:\n  watchpost health close iss_01KE6Y00000000000000000001 --reason \"known\"")]
    Close(Change),
    /// Opens an issue again; it stays open until its condition is seen and goes.
    #[command(after_help = "Example:\n  watchpost health reopen iss_01KE6Y00000000000000000001")]
    Reopen(Change),
    /// Asks not to hear of an open issue for seven days, such as during maintenance.
    #[command(after_help = "Example:\n  watchpost health suppress iss_01KE6Y00000000000000000001 --reason maintenance")]
    Suppress(Change),
    /// Lists all types of health issue, with what opens them and where that is measured.
    #[command(after_help = "Example:\n  watchpost health types --output json")]
    Types {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

/// What narrows the list.
#[derive(clap::Args, Debug)]
pub(crate) struct Filter {
    /// open, closed or suppressed
    #[arg(long)]
    status: Option<String>,
    /// low, medium or high
    #[arg(long)]
    severity: Option<String>,
    /// Word of a type, such as sensorOutdated
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// sensor or global
    #[arg(long)]
    scope: Option<String>,
    /// Id or name of a sensor
    #[arg(long)]
    sensor: Option<String>,
}

impl Filter {
    fn path(&self) -> String {
        let parts = [
            ("status", self.status.as_ref()),
            ("severity", self.severity.as_ref()),
            ("type", self.kind.as_ref()),
            ("scope", self.scope.as_ref()),
            ("sensor", self.sensor.as_ref()),
        ];
        format!("healthIssues?{}", query(&parts))
    }
}

/// One health issue.
#[derive(clap::Args, Debug)]
pub(crate) struct One {
    /// Its id
    issue: IssueId,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// A change to one health issue.
#[derive(clap::Args, Debug)]
pub(crate) struct Change {
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    one: One,
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("TITLE", "displayName"),
    ("SEVERITY", "severity"),
    ("STATUS", "status"),
    ("SENSORS", "sensorDNSNames"),
    ("ABOUT", "subject"),
    ("SINCE", "createdDateTime"),
];

const TYPE_COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("TYPE", "issueType"),
    ("SCOPE", "scope"),
    ("SEVERITY", "severity"),
    ("GENERATION", "generation"),
    ("SENSORS", "sensorTypes"),
    ("MEASURED", "measured"),
    ("BY", "measuredBy"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { filter, connection, output } => {
            output.list(&connection.client()?.list(&filter.path()).await?, COLUMNS)
        }
        Command::Show(one) => {
            one.output.one(&one.connection.client()?.get(&format!("healthIssues/{}", one.issue)).await?)
        }
        Command::Close(change) => patch(change, "closed").await,
        Command::Reopen(change) => patch(change, "open").await,
        Command::Suppress(change) => patch(change, "suppressed").await,
        Command::Types { connection, output } => {
            output.list(&connection.client()?.list("healthIssueTypes").await?, TYPE_COLUMNS)
        }
    }
}

async fn patch(change: Change, status: &str) -> Result<(), Failure> {
    let Change { reason, one } = change;
    let mut body = json!({ "status": status });
    if let (Some(fields), Some(reason)) = (body.as_object_mut(), reason) {
        fields.insert("reason".to_owned(), json!(reason));
    }
    one.output.one(&one.connection.client()?.patch(&format!("healthIssues/{}", one.issue), &body).await?)
}
