//! `watchpost devices`: what the sensors saw on the network.

use serde_json::json;

use super::client::{Connection, encoded, query};
use super::output::Output;
use crate::failure::Failure;

/// Looks at devices.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists devices in the order of their keys.
    #[command(after_help = "Example:\n  watchpost devices list --site hq --search 10.0.0.")]
    List {
        /// Id or name of a sensor that saw them
        #[arg(long)]
        sensor: Option<String>,
        /// Name of the site of such a sensor
        #[arg(long)]
        site: Option<String>,
        /// Part of an address or a name
        #[arg(long)]
        search: Option<String>,
        /// How many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        top: u32,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one device with the sensors that saw it.
    #[command(after_help = "Example:\n  watchpost devices show 02:00:00:00:00:01")]
    Show {
        /// Its key: hardware address, or network address
        key: String,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

const COLUMNS: &[(&str, &str)] = &[
    ("KEY", "key"),
    ("NAMES", "names"),
    ("ADDRESSES", "addresses"),
    ("SEEN BY", "sensorNames"),
    ("FIRST SEEN", "firstSeen"),
    ("LAST SEEN", "lastSeen"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { sensor, site, search, top, connection, output } => {
            let options = query(&[
                ("$top", Some(&top.to_string())),
                ("sensor", sensor.as_ref()),
                ("site", site.as_ref()),
                ("search", search.as_ref()),
            ]);
            let mut rows = connection.client()?.list(&format!("devices?{options}")).await?;
            if output.is_table() {
                for row in rows.iter_mut().filter_map(|row| row.as_object_mut()) {
                    let sensors = row.get("sensors").and_then(|sensors| sensors.as_array());
                    let names: Vec<_> = sensors.into_iter().flatten().filter_map(|one| one.get("name")).collect();
                    let names = json!(names);
                    row.insert("sensorNames".to_owned(), names);
                }
            }
            output.list(&rows, COLUMNS)
        }
        Command::Show { key, connection, output } => {
            output.one(&connection.client()?.get(&format!("devices/{}", encoded(&key))).await?)
        }
    }
}
