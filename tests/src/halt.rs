//! A halt, on real processes: many hosts, and a release whose sensor lives and does not detect.
//!
//! Nothing but the product is at work: its planner halts the rollout, its hosts go back by themselves.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::demo::{version_on_disk, word};
use crate::site::Site;

/// What every host runs before.
const GOOD: &str = "2.254.1.0";
/// What lives and does not detect.
const DEAF: &str = "2.255.1.0";
/// Hosts that may ever be touched: a ring of up to 149 bears one failure, the second one halts.
const MAY_BE_TOUCHED: usize = 2;
/// How long an effect on the whole fleet may take to show.
const PATIENCE: Duration = Duration::from_secs(900);
/// How much time passes after the halt, in which nothing may move.
const AFTERWARDS: Duration = Duration::from_secs(2 * 60 * 60);

/// Plays it with so many hosts; gives the evidence.
///
/// # Errors
/// When more hosts were touched than may be, or the rollout did not halt.
pub async fn play(hosts: usize) -> anyhow::Result<Value> {
    let mut site = Site::without_small_disks().await?;
    site.publish(&site.release(GOOD)?)?;
    let names: Vec<String> = (1..=hosts).map(|number| format!("DC{number:02}")).collect();
    for name in &names {
        site.set_up_another(name)?;
        eprintln!("halt: {name} is set up");
    }
    let all_run = |rows: &Value| {
        let rows = rows["value"].as_array().map_or(&[][..], Vec::as_slice);
        let is_up = |row: &Value| word(row, "version") == GOOD && word(row, "serviceStatus") == "running";
        rows.len() == hosts && rows.iter().all(is_up)
    };
    site.until_within(PATIENCE, "sensors", "every host runs the release before", all_run).await?;
    eprintln!("halt: {hosts} hosts run {GOOD}");
    site.publish(&site.release_with(DEAF, 64, make_deaf)?)?;
    let plan = site.get(&format!("rollouts/{DEAF}/plan")).await?;
    let path = format!("rollouts/{DEAF}");
    let halted = site.until_within(PATIENCE, &path, "it halts", |row| word(row, "state") == "halted").await?;
    eprintln!("halt: {}", word(&halted, "reason"));
    let newcomer = format!("DC{:02}", hosts + 1);
    site.set_up_another(&newcomer)?;
    site.passes(AFTERWARDS).await;
    let rollout = site.get(&path).await?;
    let touched = touched(&rollout);
    anyhow::ensure!(touched.len() <= MAY_BE_TOUCHED, "{} hosts were touched: {touched:?}", touched.len());
    anyhow::ensure!(word(&rollout, "state") == "halted", "the rollout is {}", word(&rollout, "state"));
    for name in names.iter().chain([&newcomer]) {
        let on_disk = version_on_disk(&site.root_of(name)).with_context(|| name.clone())?;
        anyhow::ensure!(on_disk == GOOD, "{name} is on {on_disk}");
        let has_fetched = has_fetched(&site.root_of(name))?;
        anyhow::ensure!(touched.contains(name.as_str()) || !has_fetched, "{name} has fetched {DEAF}");
    }
    Ok(json!({
        "scenario": "halt",
        "hosts": hosts,
        "release": DEAF,
        "planned": { "generation": plan["generation"], "steps": plan["steps"].as_array().map(Vec::len),
            "ends": plan["endsDateTime"] },
        "state": rollout["state"],
        "reason": rollout["reason"],
        "touched": touched,
        "neverTouched": hosts - touched.len(),
        "enrolledAfterTheHalt": { "name": newcomer, "version": GOOD },
        "watchedAfterwards": "PT2H",
        "timeline": rollout["events"],
    }))
}

/// The rule that every proof rests on never fires again; everything else of the release is as it was.
fn make_deaf(source: &Path) -> std::io::Result<()> {
    let rule = source.join("rules/watchpost-canary.yml");
    let text = std::fs::read_to_string(&rule)?;
    std::fs::write(rule, text.replace("'watchpost-canary-'", "'nobody-is-called-this-'"))
}

/// Hosts that were ever handed the release.
fn touched(rollout: &Value) -> BTreeSet<&str> {
    let events = rollout["events"].as_array().map_or(&[][..], Vec::as_slice);
    let started = events.iter().filter(|event| word(event, "event") == "started");
    started.map(|event| word(event, "sensor")).filter(|name| !name.is_empty()).collect()
}

/// Whether anything of the release lies on this host.
fn has_fetched(root: &Path) -> anyhow::Result<bool> {
    let versions = std::fs::read_dir(root.join("versions"))?;
    Ok(versions.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(DEAF)))
}
