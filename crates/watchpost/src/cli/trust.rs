//! `watchpost trust`: what of the chain of trust ends when, the director's root, and the server's key.

use std::path::PathBuf;

use serde_json::json;
use watchpost_clock::Clock;
use watchpost_server::config::Settings;
use watchpost_server::trust::rotate_director_root;

use super::client::Connection;
use super::output::Output;
use super::server_key;
use crate::failure::Failure;
use crate::serve::chain;

/// Looks at the chain of trust, and renews the director's root.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Shows what ends when, whose turn it is, and what to do.
    #[command(after_help = "Example:\n  watchpost trust show")]
    Show {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Signs the next root of the director, which lasts a year; on the server, while it is stopped.
    #[command(after_help = "Examples:\n  \
        watchpost trust rotate-director-root --config /var/lib/watchpost/watchpost.toml\n  \
        watchpost trust rotate-director-root --config watchpost.toml --keys /media/usb --replace director-root-2")]
    RotateDirectorRoot {
        /// Configuration written by `watchpost init`
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Folder with the keys of the director's root; the server's own folder of keys unless given
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
        /// A key that gives way to a new one: director-root-1 to -3, director-online; may be repeated
        #[arg(long = "replace", value_name = "KEY")]
        replaced: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Renews the key that hosts know this server by; on the running server, in three steps.
    #[command(subcommand, after_help = "Example:\n  watchpost trust server-key announce")]
    ServerKey(server_key::Command),
}

/// What is shown of a part of the chain: heading and field.
pub(crate) const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("VERSION", "version"),
    ("SIGNED BY", "threshold"),
    ("OF", "keys"),
    ("EXPIRES", "expirationDateTime"),
    ("DAYS", "daysLeft"),
    ("STATE", "state"),
    ("RENEWED BY", "renewedBy"),
    ("HOW", "remedy"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { connection, output } => output.list(&connection.client()?.list("trust").await?, COLUMNS),
        Command::ServerKey(command) => server_key::run(command).await,
        Command::RotateDirectorRoot { config, keys, replaced, output } => {
            let settings = Settings::read(&config).map_err(|error| Failure::usage(chain(&error)))?;
            let now = Clock::system().now();
            let rotated = rotate_director_root(&settings, keys.as_deref(), &replaced, now);
            let rotated = rotated.map_err(|error| Failure::refused(chain(&error)))?;
            output.one(&json!({
                "rootVersion": rotated.version,
                "expirationDateTime": rotated.expires,
                "replacedKeys": rotated.replaced,
                "retiredKeyFiles": rotated.retired,
            }))
        }
    }
}
