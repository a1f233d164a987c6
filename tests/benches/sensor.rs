//! What the sensor costs beside its packet engine: a real sensor process that takes 5,000 events a second.
//!
//! Suricata itself runs on a quiet cable and is another process: its processor time and memory are not counted. The
//! reference is bare parsing of the same bytes in this run.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use watchpost_agent::host_config::HostConfig;
use watchpost_agent::local::{Ask, SensorLink};
use watchpost_clock::Clock;
use watchpost_core::facts::{EngineKind, EngineState};
use watchpost_tests::cable::{CAPTURE, Peer, has_own_network};
use watchpost_tests::tools;

#[path = "../../crates/agent/benches/eve_lines.rs"]
mod eve_lines;

/// Events a second.
const RATE: u64 = 5_000;
/// For how long, in seconds.
const SECONDS: u64 = 20;
/// How often a second's events are written.
const BURSTS: u64 = 20;
/// Share of one core that the sensor may take, in percent.
const CORE_BAR: f64 = 10.0;
/// Memory of the sensor at its highest, in MB.
const MEMORY_BAR: f64 = 60.0;
/// How long the engine may take to run.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let measured = has_own_network(&words).and_then(|is_inside| {
        if !is_inside {
            return Ok(true);
        }
        tokio::runtime::Runtime::new()?.block_on(measure())
    });
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A sensor that ends with the measurement.
struct Sensor(Child);

impl Drop for Sensor {
    fn drop(&mut self) {
        tools::signal(i32::try_from(self.0.id()).unwrap_or_default(), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A host folder whose sensor captures, and a release to run.
fn host(root: &Path) -> anyhow::Result<PathBuf> {
    let release = root.join("release");
    std::fs::create_dir_all(root.join("state"))?;
    std::fs::create_dir_all(&release)?;
    HostConfig {
        name: "PLANT1".into(),
        sensor_type: "otCloudConnected".into(),
        domain: None,
        site: None,
        zone: None,
        server: "127.0.0.1:1".into(),
        server_key_sha256: "00".repeat(32),
        director_root_sha256: "00".repeat(32),
        audit_log: None,
        logs_path: None,
        engine_user: None,
        sensor_user: None,
        sensor_unit: None,
        watched_unit: None,
        delayed: false,
        proxy: None,
    }
    .write(root)?;
    let settings = json!({ "generation": 1, "settings": { "captureInterfaces": [CAPTURE] } });
    std::fs::write(root.join("state/settings.json"), settings.to_string())?;
    let content = tools::checkout().join("content");
    for part in ["rules", "suricata"] {
        let mut copy = Command::new("cp");
        tools::run(copy.arg("-r").arg(content.join(part)).arg(release.join(part)), "apt-get install coreutils")?;
    }
    let rules = std::fs::read_dir(content.join("rules"))?.count();
    std::fs::write(
        release.join("release.json"),
        json!({ "version": "2.255.1.0", "rulesExpected": rules }).to_string(),
    )?;
    Ok(release)
}

/// Processor time of a process so far.
fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|word| word.parse::<u64>().ok()).context("/proc/PID/stat is short");
    // Fields 14 and 15, counted from the state, which is field 3; a tick is a hundredth of a second on Linux.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// Memory of a process at its highest, in MB.
fn memory(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1_024.0)
}

/// Where events are taken: below the host's folder, or in a short folder where that lies too deep.
fn events(root: &Path) -> anyhow::Result<PathBuf> {
    let own = root.join("engine/run/eve.sock");
    let short = ["/run", "/tmp"].into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let short = short.flatten().map(|entry| entry.path().join("eve.sock"));
    std::iter::once(own).chain(short).find(|path| path.exists()).context("the sensor takes no events")
}

async fn measure() -> anyhow::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let _peer = Peer::new()?;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
    let release = host(folder.path())?;
    let mut command = Command::new(tools::binary("watchpost-sensor")?);
    command.args(["run", "--root"]).arg(folder.path()).arg("--release").arg(&release);
    let sensor = Sensor(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let running = async {
        loop {
            if let Ok(mut link) = SensorLink::connect(folder.path()).await {
                link.ask(&Ask::Watch).await?;
                while let Some(status) = link.next_status().await? {
                    let engine = status.facts.engines.get(&EngineKind::Suricata);
                    if engine.is_some_and(|engine| engine.state == EngineState::Running) {
                        return anyhow::Ok(());
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, running).await.context("the packet engine does not run")??;
    let mut stream = UnixStream::connect(events(folder.path())?)?;
    let lines: Vec<Vec<u8>> = (0..RATE * SECONDS).map(eve_lines::line).collect();
    let (pid, clock) = (sensor.0.id(), Clock::system());
    let (before, start) = (cpu(pid)?, clock.instant());
    let mut bursts = tokio::time::interval(Duration::from_secs(1) / u32::try_from(BURSTS)?);
    for burst in lines.chunks(usize::try_from(RATE / BURSTS)?) {
        bursts.tick().await;
        let burst = burst.concat();
        stream = tokio::task::spawn_blocking(move || stream.write_all(&burst).map(|()| stream)).await??;
    }
    let (spent, took) = (cpu(pid)?.saturating_sub(before), clock.instant().saturating_duration_since(start));
    let share = spent.as_secs_f64() / took.as_secs_f64() * 100.0;
    let highest = memory(pid)?;
    let start = clock.instant();
    let parsed = lines.iter().filter(|line| serde_json::from_slice::<Value>(line).is_ok()).count();
    let bare = clock.instant().saturating_duration_since(start);
    anyhow::ensure!(parsed == lines.len(), "an event is no JSON");
    println!("{:<44} {share:>8.2} %  (bar {CORE_BAR} %)", "sensor beside Suricata, of one core at 5,000/s");
    println!("{:<44} {highest:>8.1} MB (bar {MEMORY_BAR} MB)", "sensor beside Suricata, memory at its highest");
    let ratio = spent.as_secs_f64() / bare.as_secs_f64();
    println!("{:<44} {ratio:>8.2} x", "its processor time beside bare parsing");
    Ok(share <= CORE_BAR && highest <= MEMORY_BAR)
}
