//! The demo as a stranger runs it: from built programs to “all cleared”, and what the control plane takes meanwhile.
//!
//! The reference for the time is the demo's own check-ins, each at the price of one measured in this run.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use watchpost_clock::Clock;
use watchpost_core::access_key::AccessKey;
use watchpost_core::time::Timestamp;
use watchpost_fleet_sim::SimSensor;
use watchpost_tests::demo::{Demo, Program, word};
use watchpost_tests::tools;

/// From built programs to “all cleared”, on two cores.
const TIME_BAR: Duration = Duration::from_secs(60);
/// Resident memory of the whole control plane, at its highest, in kB.
const MEMORY_BAR: u64 = 80 * 1024;
/// Hosts of the demo.
const HOSTS: u64 = 5;
/// Seconds of the demo's clock between two check-ins of a host.
const CHECK_IN: u64 = 60;
/// Sensors that stay connected for the second figure.
const CROWD: u64 = 200;
/// Check-ins of which one's price is taken.
const PRICED: u32 = 5_000;
/// Open files beside one for each connected sensor.
const FILES_BESIDE: u64 = 64;

fn main() -> ExitCode {
    let measured = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(measure()));
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> anyhow::Result<bool> {
    let clock = Clock::system();
    let price = crowd(&clock).await;
    let (price, is_small) = price.context("the control plane with simulated sensors")?;
    let start = clock.now();
    let mut demo = Demo::start(&["--speed", "1000000"])?;
    let result = tokio::task::block_in_place(|| demo.result())?;
    let took = clock.now().since(start);
    let cleared = result["rollout"]["cleared"].as_u64().unwrap_or_default();
    anyhow::ensure!(cleared == HOSTS - 1, "{cleared} hosts were cleared: {}", result["rollout"]);
    let server = demo.processes().into_iter().find(|(program, _)| *program == Program::Server);
    let memory = status(server.context("the control plane is gone")?.1, "VmHWM")?;
    let check_ins = HOSTS * simulated(&result)?.as_secs() / CHECK_IN;
    let reference = price.mul_f64(check_ins as f64);
    println!("{:<40} {:>9.1} s   (bar {} s)", "demo, to “all cleared”", took.as_secs_f64(), TIME_BAR.as_secs());
    println!("{:<40} {:>9.1} s", format!("reference: {check_ins} bare check-ins"), reference.as_secs_f64());
    println!("{:<40} {:>9.1}", "ratio", took.as_secs_f64() / reference.as_secs_f64());
    println!("{:<40} {:>9.1} MB  (bar {} MB)", "control plane, peak, 5 hosts", mb(memory), MEMORY_BAR / 1024);
    Ok(is_small && took <= TIME_BAR && memory <= MEMORY_BAR)
}

/// How much time of the demo's clock its timeline spans.
fn simulated(result: &Value) -> anyhow::Result<Duration> {
    let timeline = result["timeline"].as_array().context("the demo has no timeline")?;
    let at = |event: Option<&Value>| word(event.unwrap_or(&Value::Null), "at").parse::<Timestamp>();
    Ok(at(timeline.last())?.since(at(timeline.first())?))
}

/// A control plane of its own with simulated sensors: memory, open files, and the price of one check-in.
async fn crowd(clock: &Clock) -> anyhow::Result<(Duration, bool)> {
    let dir = tempfile::tempdir()?;
    let (server, at, key) = tokio::task::block_in_place(|| serve(dir.path()))?;
    let pid = i32::try_from(server.0.id())?;
    let (memory_before, files_before) = (status(pid, "VmRSS")?, open_files(pid)?);
    let mut sensors = Vec::new();
    for n in 0..CROWD {
        let mut sensor = SimSensor::new(&at, &key, &format!("DC{n:03}"), clock.now())?;
        sensor.enroll().await?;
        sensor.sync_times(3, Duration::ZERO).await?;
        sensors.push(sensor);
    }
    let (memory, peak, files) = (status(pid, "VmRSS")?, status(pid, "VmHWM")?, open_files(pid)?);
    let per_sensor = memory.saturating_sub(memory_before) as f64 / CROWD as f64;
    println!("{:<40} {:>9.1} MB", "control plane, no sensor", mb(memory_before));
    println!(
        "{:<40} {:>9.1} MB  (bar {} MB)",
        format!("control plane, peak, {CROWD} sensors"),
        mb(peak),
        MEMORY_BAR / 1024
    );
    println!("{:<40} {per_sensor:>9.1} kB", "  of it per connected sensor");
    println!("{:<40} {files:>9}     (bar {})", format!("open files, {CROWD} sensors"), CROWD + FILES_BESIDE);
    println!("{:<40} {files_before:>9}", "reference: open files, no sensor");
    let first = sensors.first().context("no sensor")?;
    let start = clock.now();
    first.sync_times(PRICED, Duration::ZERO).await?;
    let price = clock.now().since(start) / PRICED;
    println!("{:<40} {:>9.1} us", "one check-in, both sides, wall", price.as_secs_f64() * 1e6);
    Ok((price, peak <= MEMORY_BAR && files <= CROWD + FILES_BESIDE))
}

/// Ends the control plane with the bench.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(dir: &Path) -> anyhow::Result<(Serving, String, AccessKey)> {
    let watchpost = tools::binary("watchpost")?;
    let mut init = Command::new(&watchpost);
    init.args(["init", "--portal-addr", "127.0.0.1:0", "--gateway-addr", "127.0.0.1:0", "--output", "json"]);
    let founded = tools::run(init.arg("--data-dir").arg(dir.join("server")), "cargo build --release")?;
    let founded: Value = serde_json::from_str(&founded)?;
    let mut serve = Command::new(&watchpost);
    serve.args(["serve", "--config", word(&founded, "config")]).env("NO_COLOR", "1").stderr(Stdio::piped());
    let mut child = Serving(serve.spawn()?);
    let mut lines = BufReader::new(child.0.stderr.take().context("no standard error")?).lines();
    let at = lines.by_ref().find_map(|line| Some(line.ok()?.split_once("gateway=")?.1.trim().to_owned()));
    // Whoever stops reading would stop the writer one day.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((child, at.context("the control plane did not say where it listens")?, word(&founded, "accessKey").parse()?))
}

/// A figure of `/proc/PID/status`, in kB.
fn status(pid: i32, field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let figure = line.and_then(|rest| rest.split_whitespace().next());
    Ok(figure.with_context(|| format!("no {field}"))?.parse()?)
}

fn open_files(pid: i32) -> anyhow::Result<u64> {
    Ok(u64::try_from(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())?)
}

fn mb(kb: u64) -> f64 {
    kb as f64 / 1024.0
}
