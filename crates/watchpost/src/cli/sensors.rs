//! `watchpost sensors`: the grid in a terminal.

use super::client::Connection;
use super::output::Output;
use crate::failure::Failure;

/// Most sensors asked for in one page.
const PAGE: usize = 1_000;

/// Looks at sensors.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists all sensors.
    #[command(after_help = "Example:\n  watchpost sensors list --output json")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one sensor with everything that is known of it.
    #[command(after_help = "Example:\n  watchpost sensors show DC01")]
    Show {
        /// Its id or its name
        sensor: String,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "displayName"),
    ("TYPE", "sensorType"),
    ("DOMAIN", "domainName"),
    ("VERSION", "version"),
    ("STATUS", "deploymentStatus"),
    ("SERVICE", "serviceStatus"),
    ("HEALTH", "healthStatus"),
    ("ISSUES", "openHealthIssuesCount"),
    ("WAITING FOR", "waitingFor"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, output } => {
            let client = connection.client()?;
            let mut rows = Vec::new();
            loop {
                let page = client.list(&format!("sensors?$top={PAGE}&$skip={}", rows.len())).await?;
                let is_last = page.len() < PAGE;
                rows.extend(page);
                if is_last {
                    return output.list(&rows, COLUMNS);
                }
            }
        }
        Command::Show { sensor, connection, output } => {
            let path: String = sensor.bytes().map(encode).collect();
            output.one(&connection.client()?.get(&format!("sensors/{path}")).await?)
        }
    }
}

/// One byte of a path segment, percent-encoded where it must be.
pub(super) fn encode(byte: u8) -> String {
    let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}
