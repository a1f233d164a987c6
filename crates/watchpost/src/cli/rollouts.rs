//! `watchpost rollouts`: how releases reach the fleet.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use watchpost_core::rehearsal::RolloutPlan;
use watchpost_core::restart::RestartSwitch;
use watchpost_core::rollout::{Ring, RingPace};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::client::Connection;
use super::output::{Output, cell, print};
use crate::failure::Failure;

/// Looks at rollouts and steers them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists all rollouts, newest first.
    #[command(after_help = "Example:\n  watchpost rollouts list")]
    List {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one rollout with its timeline.
    #[command(after_help = "Example:\n  watchpost rollouts show 2.255.1.0 --output json")]
    Show(One),
    /// Shows the plan that a rollout runs by: who, in which order, when, and who is passed over and why.
    #[command(after_help = "Example:\n  watchpost rollouts plan 2.255.1.0 --output table")]
    Plan(ShowPlan),
    /// Starts a rollout that was held when its release was published.
    #[command(after_help = "Example:\n  watchpost rollouts start 2.255.1.0 --reason \"the plan was read\"")]
    Start(Steer),
    /// Ends a rollout for good; sensors in flight finish.
    #[command(after_help = "Example:\n  watchpost rollouts abort 2.255.1.0 --reason \"it loses packets\"")]
    Abort(Steer),
    /// Keeps a sensor out of a rollout.
    #[command(after_help = "Example:\n  watchpost rollouts exclude 2.255.1.0 --sensor DC01")]
    Exclude(Order),
    /// Has a sensor try a release again that failed there, or take part again.
    #[command(after_help = "Example:\n  watchpost rollouts retry 2.255.1.0 --sensor DC01")]
    Retry(Order),
    /// Has a sensor restart for a release that is staged on it, as soon as it is its turn, whatever the switch says.
    #[command(
        after_help = "Example:\n  watchpost rollouts restart-now 2.255.1.0 --sensor DC01 --reason \"agreed with the directory team\""
    )]
    RestartNow(Order),
    /// Shows, and sets, what holds for all rollouts: the cap on the pace, restarts for major releases, and how many sensors a zone keeps watching.
    #[command(
        after_help = "Example:\n  watchpost rollouts settings --keep-watching hq/core=2 --max-in-flight 3 --reason \"two see everything\""
    )]
    Settings(Settings),
    /// Stops handing a release out; sensors in flight finish.
    #[command(after_help = "Example:\n  watchpost rollouts pause 2.255.1.0 --reason \"change freeze\"")]
    Pause(Steer),
    /// Goes on with a paused or halted rollout; failures seen so far are acknowledged.
    #[command(after_help = "Example:\n  watchpost rollouts resume 2.255.1.0")]
    Resume(Steer),
}

/// One rollout.
#[derive(clap::Args, Debug)]
pub(crate) struct One {
    /// Version of the release
    #[arg(id = "release", value_name = "VERSION")]
    version: Version,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

/// A change to one rollout.
#[derive(clap::Args, Debug)]
pub(crate) struct Steer {
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    one: One,
}

/// Whose plan.
#[derive(clap::Args, Debug)]
pub(crate) struct ShowPlan {
    /// An older plan of it
    #[arg(long, value_name = "NUMBER")]
    generation: Option<u32>,
    #[command(flatten)]
    one: One,
}

/// An order for one sensor of a rollout.
#[derive(clap::Args, Debug)]
pub(crate) struct Order {
    /// Id or name of the sensor
    #[arg(long)]
    sensor: String,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    one: One,
}

/// What may be set about all rollouts.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Change {
    /// At most so many sensors in flight, over all rollouts; 0 takes the cap away
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<u32>,
    /// Whether the watched service or the host may be restarted for a major release: off, on, or hours in UTC
    #[arg(long, value_name = "off|on|HH:MM-HH:MM")]
    restart_for_major: Option<RestartSwitch>,
    /// How many sensors of a zone must stay watching; once for each zone, and zones not named lose theirs
    #[arg(long, value_name = "SITE/ZONE=NUMBER", value_parser = coverage)]
    keep_watching: Vec<(String, u32)>,
}

impl Change {
    /// The settings as the API takes them; `None` when nothing is to change.
    pub(crate) fn body(&self) -> Option<Value> {
        let mut fields = serde_json::Map::new();
        if let Some(cap) = self.max_in_flight {
            fields.insert("maxInFlight".to_owned(), if cap == 0 { Value::Null } else { json!(cap) });
        }
        if let Some(switch) = self.restart_for_major {
            fields.insert("restartForMajor".to_owned(), json!(switch));
        }
        if !self.keep_watching.is_empty() {
            let zones: BTreeMap<_, _> = self.keep_watching.iter().cloned().collect();
            fields.insert("coverage".to_owned(), json!(zones));
        }
        (!fields.is_empty()).then_some(Value::Object(fields))
    }
}

/// Arguments of `settings`.
#[derive(clap::Args, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    change: Change,
    /// Why, for the audit log
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

fn coverage(text: &str) -> Result<(String, u32), String> {
    let refuse = || format!("“{text}” is no coverage; write it as site/zone=number, such as hq/core=2");
    let (zone, keep) = text.rsplit_once('=').ok_or_else(refuse)?;
    Ok((zone.to_owned(), keep.parse().map_err(|_| refuse())?))
}

const COLUMNS: &[(&str, &str)] = &[
    ("VERSION", "version"),
    ("STATE", "state"),
    ("CLEARED", "cleared"),
    ("IN FLIGHT", "inFlight"),
    ("PENDING", "pending"),
    ("FAILED", "failed"),
    ("SKIPPED", "skipped"),
    ("WAITING FOR", "waitingFor"),
];

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, output } => output.list(&connection.client()?.list("rollouts").await?, COLUMNS),
        Command::Show(one) => {
            one.output.one(&one.connection.client()?.get(&format!("rollouts/{}", one.version)).await?)
        }
        Command::Plan(asked) => {
            let which = asked.generation.map(|generation| format!("?generation={generation}")).unwrap_or_default();
            let path = format!("rollouts/{}/plan{which}", asked.one.version);
            show_plan(&asked.one.connection.client()?.get(&path).await?, asked.one.output)
        }
        Command::Start(steer) => post(steer, "start").await,
        Command::Abort(steer) => post(steer, "abort").await,
        Command::Exclude(order) => send(order, "exclude").await,
        Command::Retry(order) => send(order, "retry").await,
        Command::RestartNow(order) => send(order, "restartNow").await,
        Command::Settings(settings) => configure(settings).await,
        Command::Pause(steer) => post(steer, "pause").await,
        Command::Resume(steer) => post(steer, "resume").await,
    }
}

async fn send(order: Order, verb: &str) -> Result<(), Failure> {
    let path = format!("rollouts/{}/{verb}", order.one.version);
    let body = json!({ "sensor": order.sensor, "reason": order.reason });
    order.one.output.one(&order.one.connection.client()?.post(&path, Some(&body)).await?)
}

async fn configure(settings: Settings) -> Result<(), Failure> {
    let client = settings.connection.client()?;
    let answer = match settings.change.body() {
        Some(change) => {
            let body = json!({ "settings": change, "reason": settings.reason });
            client.patch("rollout-settings", &body).await?
        }
        None => client.get("rollout-settings").await?,
    };
    settings.output.one(&answer)
}

/// Shows a plan: for people a page of text, for programs as it is.
pub(crate) fn show_plan(answer: &Value, output: Output) -> Result<(), Failure> {
    if !output.is_table() {
        return output.one(answer);
    }
    let plan: RolloutPlan = serde_json::from_value(answer.clone())
        .map_err(|error| Failure::failed(format!("the server's plan cannot be read: {error}; update this program")))?;
    print(&plan_text(&plan))
}

fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "–".to_owned(), |at| at.to_string())
}

fn plan_text(plan: &RolloutPlan) -> String {
    let number = match plan.generation {
        0 => "a rehearsal".to_owned(),
        number => format!("plan {number}"),
    };
    let ends = instant(plan.ends_at);
    let mut lines = vec![format!(
        "{} of {}, made {} from facts at revision {}: {} sensors, {} bytes, ends {ends}",
        number,
        plan.version,
        plan.made_at,
        plan.facts_revision,
        plan.steps.len(),
        plan.bytes
    )];
    for ring in &plan.rings {
        let pace = match ring.pace {
            RingPace::Capped { max_in_flight } => format!("{max_in_flight} at a time at most"),
            RingPace::OneByOne => "one after another".to_owned(),
            RingPace::Adaptive { widest } => {
                format!("1, then doubling up to {widest}; one by one would take {}", ring.one_by_one_takes)
            }
        };
        let name = match ring.ring {
            Ring::Automatic => "Automatic ring",
            Ring::Delayed => "Delayed ring",
        };
        lines.push(format!(
            "{name}: {} sensors, {pace}; bears {} failures; opens {}, ends {}",
            ring.sensors,
            ring.tolerated_failures,
            ring.opens_at,
            instant(ring.ends_at)
        ));
    }
    lines
        .push(format!("\n{:>5}  {:<24} {:<24} {:<24} {:<24} ZONE", "ORDER", "SENSOR", "STARTS", "SWITCHES", "CLEARED"));
    for step in &plan.steps {
        let over = step.leads_over.iter().map(|version| format!(", over {version} first")).collect::<String>();
        let (sensor, zone) = (cell(&json!(step.sensor)), cell(&json!(step.zone)));
        let (starts, switches) = (step.starts_at.to_string(), instant(step.switches_at));
        let cleared = instant(step.cleared_at);
        lines.push(format!("{:>5}  {sensor:<24} {starts:<24} {switches:<24} {cleared:<24} {zone}{over}", step.order));
    }
    for row in &plan.skipped {
        lines.push(format!("    –  {:<24} skipped: {}", cell(&json!(row.sensor)), row.reason));
    }
    lines.join("\n") + "\n"
}

async fn post(steer: Steer, verb: &str) -> Result<(), Failure> {
    let path = format!("rollouts/{}/{verb}", steer.one.version);
    let answer = steer.one.connection.client()?.post(&path, Some(&json!({ "reason": steer.reason }))).await?;
    steer.one.output.one(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_a_zone_and_a_number() {
        assert_eq!(coverage("hq/core=2"), Ok(("hq/core".to_owned(), 2)));
        assert!(coverage("hq/core").is_err() && coverage("hq/core=two").is_err());
        let change = Change {
            max_in_flight: Some(0),
            restart_for_major: "22:00-04:00".parse().ok(),
            keep_watching: vec![("hq/core".to_owned(), 2)],
        };
        let body = json!({ "maxInFlight": null, "restartForMajor": "22:00-04:00", "coverage": { "hq/core": 2 } });
        assert_eq!(change.body(), Some(body));
        assert_eq!(Change::default().body(), None);
    }

    #[test]
    fn a_plan_reads_as_a_page_of_text() {
        let plan: RolloutPlan = serde_json::from_value(json!({
            "version": "2.255.1.0", "kind": "minor", "generation": 2, "factsRevision": 7, "bytes": 10, "already": 1,
            "madeDateTime": "2026-01-05T00:00:00Z", "publishedDateTime": "2026-01-05T00:00:00Z",
            "endsDateTime": "2026-01-05T00:01:00Z",
            "assumes": { "checkIn": "PT1M", "updateTakes": "PT30S", "isResumed": false, "coverage": {} },
            "rings": [{ "ring": "automatic", "sensors": 2, "pace": "oneByOne", "oneByOneTakes": "PT4M",
                "toleratedFailures": 1, "opensDateTime": "2026-01-05T00:00:00Z",
                "startsDateTime": "2026-01-05T00:00:00Z", "endsDateTime": "2026-01-05T00:01:00Z" }],
            "steps": [{ "order": 1, "sensorId": "sen_00000000000000000000000000", "sensor": "DC\u{1b}01",
                "zone": "hq/core", "ring": "automatic", "startsDateTime": "2026-01-05T00:00:00Z",
                "switchesDateTime": null, "clearedDateTime": "2026-01-05T00:01:00Z" }],
            "skipped": [{ "sensorId": "sen_00000000000000000000000001", "sensor": "DC02", "reason": "offline" }],
        }))
        .unwrap();
        let text = plan_text(&plan);
        assert!(text.starts_with("plan 2 of 2.255.1.0, made 2026-01-05T00:00:00Z from facts at revision 7: 1 sensors"));
        assert!(text.contains("Automatic ring: 2 sensors, one after another; bears 1 failures"), "{text}");
        assert!(text.contains("DC02                     skipped: offline"), "{text}");
        assert!(!text.contains('\u{1b}'), "a name must not move the cursor");
    }
}
