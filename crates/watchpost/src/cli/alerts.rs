//! `watchpost alerts`: what the sensors raised, and what became of it.

use serde_json::json;

use super::client::{Connection, encoded, query};
use super::output::Output;
use crate::failure::Failure;

/// Looks at alerts and says what became of them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists alerts, the newest first.
    #[command(after_help = "Example:\n  watchpost alerts list --status new --level high,critical --top 20")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        top: u32,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one alert with what happened.
    #[command(after_help = "Example:\n  watchpost alerts show alr_01KE5Q… --output json")]
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Says what became of an alert.
    #[command(after_help = "Example:\n  watchpost alerts set-status alr_01KE5Q… closed --reason \"a test\"")]
    SetStatus {
        /// Its id
        id: String,
        /// new, active or closed
        status: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

/// Which alerts.
#[derive(clap::Args, Debug)]
pub(crate) struct Filter {
    /// Id or name of a sensor
    #[arg(long)]
    sensor: Option<String>,
    /// Name of a site
    #[arg(long)]
    site: Option<String>,
    /// Name of a zone
    #[arg(long)]
    zone: Option<String>,
    /// informational, low, medium, high, critical; several with commas
    #[arg(long)]
    level: Option<String>,
    /// new, active, closed; several with commas
    #[arg(long)]
    status: Option<String>,
    /// sigma or suricata
    #[arg(long)]
    engine: Option<String>,
    /// Not before this instant, such as 2026-01-05T00:00:00Z
    #[arg(long)]
    from: Option<String>,
    /// Before this instant
    #[arg(long)]
    to: Option<String>,
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("AT", "at"),
    ("LEVEL", "level"),
    ("STATUS", "status"),
    ("SITE", "site"),
    ("SENSOR", "sensorName"),
    ("ENGINE", "engine"),
    ("RULE", "ruleTitle"),
    ("DEVICES", "devices"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { filter, top, connection, output } => {
            let options = query(&[
                ("$top", Some(&top.to_string())),
                ("sensor", filter.sensor.as_ref()),
                ("site", filter.site.as_ref()),
                ("zone", filter.zone.as_ref()),
                ("level", filter.level.as_ref()),
                ("status", filter.status.as_ref()),
                ("engine", filter.engine.as_ref()),
                ("from", filter.from.as_ref()),
                ("to", filter.to.as_ref()),
            ]);
            let mut rows = connection.client()?.list(&format!("alerts?{options}")).await?;
            if output.is_table() {
                for row in rows.iter_mut().filter_map(|row| row.as_object_mut()) {
                    let name = row.get("sensor").and_then(|sensor| sensor.get("name")).cloned();
                    row.insert("sensorName".to_owned(), json!(name));
                }
            }
            output.list(&rows, COLUMNS)
        }
        Command::Show { id, connection, output } => {
            output.one(&connection.client()?.get(&format!("alerts/{}", encoded(&id))).await?)
        }
        Command::SetStatus { id, status, reason, connection, output } => {
            let body = json!({ "status": status, "reason": reason });
            output.one(&connection.client()?.patch(&format!("alerts/{}", encoded(&id)), &body).await?)
        }
    }
}
