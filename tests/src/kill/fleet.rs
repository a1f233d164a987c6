//! `kill -9` of the updater, the sensor or the server at random instants within demo runs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Chance;
use crate::demo::{Demo, Program, version_on_disk, word};
use crate::tools;

/// Kills within one run of the demo.
const KILLS_PER_RUN: u32 = 5;
/// The longest wait before a kill, in milliseconds.
const LONGEST_WAIT_MS: u64 = 3_000;
/// The shortest wait before a kill: two kills in the same instant are one.
const SHORTEST_WAIT_MS: u64 = 200;

/// Runs demos until `kills` processes were killed; every demo must finish, on correct versions.
///
/// # Errors
/// At the first demo that does not finish, or host that is not on a correct running version.
pub(super) async fn campaign(kills: u32, seed: u64) -> anyhow::Result<Value> {
    let mut chance = Chance::new(seed);
    let (mut runs, mut killed) = (Vec::new(), 0);
    while killed < kills {
        let run = one_run((kills - killed).min(KILLS_PER_RUN), &mut chance).await;
        let run = run.with_context(|| format!("run {} of seed {seed}", runs.len() + 1))?;
        killed += u32::try_from(run["killed"].as_array().map_or(0, Vec::len))?;
        runs.push(run);
        eprintln!("kill9: {killed} of {kills} kills, {} runs", runs.len());
    }
    Ok(json!({ "scenario": "kill9", "path": "fleet", "seed": seed, "kills": killed, "runs": runs }))
}

async fn one_run(kills: u32, chance: &mut Chance) -> anyhow::Result<Value> {
    // Keeps running when done, so that the hosts can be looked at while they live.
    let mut demo = Demo::start(&["--speed", "1000000"])?;
    let mut killed = Vec::new();
    while killed.len() < usize::try_from(kills)? {
        let wait = SHORTEST_WAIT_MS + chance.below(LONGEST_WAIT_MS);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let program = [Program::Server, Program::Updater, Program::Sensor][usize::try_from(chance.below(3))?];
        let running: Vec<i32> =
            demo.processes().into_iter().filter(|(of, _)| *of == program).map(|(_, pid)| pid).collect();
        if !running.is_empty() {
            let pid = running[usize::try_from(chance.below(u64::try_from(running.len())?))?];
            tools::signal(pid, Signal::KILL);
            killed.push(json!({ "program": format!("{program:?}"), "afterMs": wait }));
        }
    }
    let result = tokio::task::block_in_place(|| demo.result())?;
    anyhow::ensure!(demo.is_running()?, "the demo ended by itself");
    let versions = check(&result, &demo).await?;
    Ok(json!({ "killed": killed, "versions": versions, "rollout": result["rollout"] }))
}

/// Every host runs, as a live process, the version that its disk proves and the API reports.
async fn check(result: &Value, demo: &Demo) -> anyhow::Result<Value> {
    let mut versions = serde_json::Map::new();
    for sensor in result["sensors"].as_array().context("the demo names no sensors")? {
        let name = word(sensor, "name");
        let host = Path::new(word(sensor, "stateDir"));
        let on_disk = version_on_disk(host).with_context(|| name.to_owned())?;
        let reported = word(sensor, "version");
        anyhow::ensure!(reported == on_disk, "{name} reports {reported} and has {on_disk}");
        let wanted = if name == "DC03" { "2.254.1.0" } else { "2.255.1.0" };
        anyhow::ensure!(on_disk == wanted, "{name} is on {on_disk}, not on {wanted}");
        versions.insert(name.to_owned(), json!(on_disk));
    }
    let sensors = async {
        while demo.processes().iter().filter(|(program, _)| *program == Program::Sensor).count() != versions.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sensors).await.context("not every host runs exactly one sensor")?;
    Ok(Value::Object(versions))
}
