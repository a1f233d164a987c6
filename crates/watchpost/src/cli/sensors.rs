//! `watchpost sensors`: the grid in a terminal, and what is set on a sensor.

use serde_json::{Map, Value, json};
use watchpost_core::restart::{RestartSwitch, RestartSwitchError};

use super::client::{Connection, encoded};
use super::output::Output;
use crate::failure::Failure;

/// Most sensors asked for in one page.
const PAGE: usize = 1_000;

/// Looks at sensors and sets how they work.
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
    /// Orders that the client certificate of a sensor be replaced at its next check-in.
    #[command(after_help = "Example:\n  watchpost sensors rotate-certificate DC01 --reason 'a backup was stolen'")]
    RotateCertificate {
        /// Its id or its name
        sensor: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Sets how a sensor works; what is not named stays as it is.
    #[command(
        after_help = "Example:\n  watchpost sensors set DC01 --capture-interface eth1 --home-network 10.0.0.0/8 --delayed-update true"
    )]
    Set {
        /// Its id or its name
        sensor: String,
        #[command(flatten)]
        values: Values,
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
}

/// What can be set. A list replaces the one before.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct Values {
    /// Free text for people
    #[arg(long)]
    description: Option<String>,
    /// Interface to listen on; may be given several times
    #[arg(long = "capture-interface", value_name = "NAME", conflicts_with = "no_capture_interfaces")]
    capture_interfaces: Vec<String>,
    /// Listen on no interface
    #[arg(long)]
    no_capture_interfaces: bool,
    /// What counts as home, such as 10.0.0.0/8; may be given several times
    #[arg(long = "home-network", value_name = "NETWORK", conflicts_with = "no_home_networks")]
    home_networks: Vec<String>,
    /// The private ranges count as home
    #[arg(long)]
    no_home_networks: bool,
    /// Domain controller it works with, by its DNS name; may be given several times
    #[arg(long = "domain-controller", value_name = "NAME")]
    domain_controllers: Vec<String>,
    /// Whether it takes releases 72 hours later: true or false
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    delayed_update: Option<bool>,
    /// Whether the watched service or the host may be restarted for a major release: off, on, hours in UTC, or as-workspace
    #[arg(long, value_name = "off|on|HH:MM-HH:MM|as-workspace", value_parser = restart_switch)]
    restart_for_major: Option<Restarts>,
}

/// What is set for one sensor alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restarts {
    AsWorkspace,
    Set(RestartSwitch),
}

fn restart_switch(text: &str) -> Result<Restarts, RestartSwitchError> {
    if text == "as-workspace" { Ok(Restarts::AsWorkspace) } else { text.parse().map(Restarts::Set) }
}

impl Values {
    /// The body of the change.
    fn body(self, reason: Option<String>) -> Value {
        let mut settings = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            value.map(|value| settings.insert(name.to_owned(), value));
        };
        let list = |names: Vec<String>, none: bool| (none || !names.is_empty()).then(|| json!(names));
        set("description", self.description.map(Value::String));
        set("captureInterfaces", list(self.capture_interfaces, self.no_capture_interfaces));
        set("homeNetworks", list(self.home_networks, self.no_home_networks));
        set("domainControllerDnsNames", list(self.domain_controllers, false));
        let mut body = json!({ "settings": settings, "delayedUpdate": self.delayed_update, "reason": reason });
        if let (Some(restarts), Some(fields)) = (self.restart_for_major, body.as_object_mut()) {
            let switch = match restarts {
                Restarts::AsWorkspace => Value::Null,
                Restarts::Set(switch) => json!(switch),
            };
            fields.insert("restartForMajor".to_owned(), switch);
        }
        body
    }
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
            output.one(&connection.client()?.get(&format!("sensors/{}", encoded(&sensor))).await?)
        }
        Command::RotateCertificate { sensor, reason, connection, output } => {
            let path = format!("sensors/{}/rotateCertificate", encoded(&sensor));
            let answer = connection.client()?.post(&path, Some(&json!({ "reason": reason }))).await?;
            output.one(answer.get("certificate").unwrap_or(&answer))
        }
        Command::Set { sensor, values, reason, connection, output } => {
            let path = format!("sensors/{}", encoded(&sensor));
            output.one(&connection.client()?.patch(&path, &values.body(reason)).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        values: Values,
    }

    #[test]
    fn only_what_is_named_is_changed_and_an_empty_list_must_be_asked_for() {
        let body = |line: &[&str]| Line::try_parse_from([&["x"], line].concat()).map(|line| line.values.body(None));
        assert!(body(&[]).is_err(), "nothing to set");
        assert_eq!(
            body(&["--delayed-update", "true"]).unwrap(),
            json!({ "settings": {}, "delayedUpdate": true, "reason": null })
        );
        assert_eq!(body(&["--restart-for-major", "as-workspace"]).unwrap()["restartForMajor"], Value::Null);
        assert_eq!(body(&["--restart-for-major", "on"]).unwrap()["restartForMajor"], "on");
        assert!(body(&["--restart-for-major", "sometimes"]).is_err());
        let line = ["--capture-interface", "eth1", "--capture-interface", "eth2", "--no-home-networks"];
        let settings = json!({ "captureInterfaces": ["eth1", "eth2"], "homeNetworks": [] });
        assert_eq!(body(&line).unwrap()["settings"], settings);
        assert!(body(&["--capture-interface", "eth1", "--no-capture-interfaces"]).is_err());
    }
}
