//! `cargo xtask scenario guard`: a host on which another process takes 70 % of the processor, then of the memory, while
//! its sensor has more to do than it can. What is printed was counted by the kernel and read from the API.
//!
//! The host is a control group with one processor and 2 GiB, so that everybody sees the same on every machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use watchpost_clock::Clock;

use crate::site::Site;
use crate::tools::{self, binary};

mod group;

use group::HostGroup;

/// Disks of the control plane and of the host, in MiB: a tenth of the latter is the most that evidence takes.
const DISKS: (u32, u32) = (1_024, 512);
const VERSION: &str = "2.254.1.0";
/// Memory of the host in bytes.
const MEMORY: u64 = 2 << 30;
/// What the other process takes, in percent.
const TAKEN: u64 = 70;
/// What stays free, in percent, in this share of the samples.
const KEPT: f64 = 15.0;
const OF_SAMPLES: f64 = 0.95;
/// The guard looks at the last five seconds, so it takes that long until it knows a load.
const SETTLES: Duration = Duration::from_secs(6);
/// Within this a sensor must run again whose memory was needed (F1).
const RESTARTED_WITHIN: Duration = Duration::from_secs(60);
/// Audit events that wait for the sensor at most, and that are written at a time, in bytes.
const WAITING: u64 = 32 << 20;
const WRITTEN: usize = 2 << 20;
/// The stretch of which the other process takes its part.
const SLICE: Duration = Duration::from_millis(20);

/// A process on the host beside the sensor.
struct Other(Child);

impl Other {
    /// Starts it there, and waits until it has what it takes.
    fn start(host: &HostGroup, words: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary("guard")?);
        let mut other = Self(command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        host.takes(other.0.id())?;
        // It begins when it is told that it is where it belongs.
        writeln!(other.0.stdin.as_mut().context("it has no input")?)?;
        let mut said = String::new();
        BufReader::new(other.0.stdout.as_mut().context("it has no output")?).read_line(&mut said)?;
        anyhow::ensure!(said.trim() == "ready", "{words:?} said “{said}”");
        Ok(other)
    }

    fn burns(host: &HostGroup) -> anyhow::Result<Self> {
        Self::start(host, &["--burn".to_owned(), TAKEN.to_string()])
    }

    fn holds(host: &HostGroup, bytes: u64) -> anyhow::Result<Self> {
        Self::start(host, &["--hold".to_owned(), bytes.to_string()])
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other process itself: takes this share of a processor for ever.
///
/// # Errors
/// When it is not told to begin.
pub async fn burn(percent: u32) -> anyhow::Result<()> {
    begins()?;
    let clock = Clock::system();
    let spent = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let mut slices = tokio::time::interval(SLICE);
    slices.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        slices.tick().await;
        let (begun, before) = (clock.instant(), spent());
        let wanted = SLICE * percent / 100;
        while spent().saturating_sub(before) < wanted && clock.instant().saturating_duration_since(begun) < SLICE {
            std::hint::spin_loop();
        }
    }
}

/// The other process itself: takes so much memory, until its input ends.
///
/// # Errors
/// When it is not told to begin.
pub fn hold(bytes: u64) -> anyhow::Result<()> {
    let mut lines = std::io::stdin().lines();
    lines.next().context("nobody says when to begin")??;
    let taken = vec![7_u8; usize::try_from(bytes)?];
    println!("ready");
    std::hint::black_box(&taken);
    lines.for_each(drop);
    Ok(())
}

fn begins() -> anyhow::Result<()> {
    std::io::stdin().lines().next().context("nobody says when to begin")??;
    println!("ready");
    Ok(())
}

/// Audit events, written as fast as the sensor reads them and a little faster.
async fn intake(log: String, cursor: std::path::PathBuf, block: Vec<u8>, is_over: Arc<AtomicBool>) {
    let mut written: u64 = 0;
    while !is_over.load(Ordering::SeqCst) {
        let text = std::fs::read_to_string(&cursor).unwrap_or_default();
        let read = text.split("\"offset\":").nth(1).and_then(|rest| rest.split([',', '}']).next()?.trim().parse().ok());
        if written.saturating_sub(read.unwrap_or(0)) < WAITING
            && let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(&log)
            && file.write_all(&block).is_ok()
        {
            written += block.len() as u64;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Percent that stayed free, sample by sample.
#[derive(Default)]
struct Samples {
    processor: Vec<f64>,
    memory: Vec<f64>,
}

impl Samples {
    /// One a second.
    async fn take(host: &HostGroup, seconds: u64) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let mut samples = Self::default();
        let (mut at, mut before) = (clock.instant(), host.usage()?);
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.tick().await;
        for _ in 0..seconds {
            ticks.tick().await;
            let (now, usage) = (clock.instant(), host.usage()?);
            let passed = now.saturating_duration_since(at).as_secs_f64();
            let used = usage.processor_nanos.saturating_sub(before.processor_nanos);
            samples.processor.push(100.0 - Duration::from_nanos(used).as_secs_f64() / passed * 100.0);
            samples.memory.push(100.0 - usage.memory as f64 / host.bytes() as f64 * 100.0);
            (at, before) = (now, usage);
        }
        Ok(samples)
    }

    /// The figures, once they hold.
    fn judged(&self, what: &str) -> anyhow::Result<Value> {
        let mut found = serde_json::Map::new();
        for (name, samples) in [("processor", &self.processor), ("memory", &self.memory)] {
            let good = samples.iter().filter(|free| **free >= KEPT).count() as f64 / samples.len().max(1) as f64;
            let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
            let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
            let row = json!({
                "samples": samples.len(), "shareWithReserve": good, "leastFreePercent": least, "meanFreePercent": mean,
            });
            anyhow::ensure!(good >= OF_SAMPLES, "{what}: too little of the {name} stayed free: {row}; {samples:.1?}");
            found.insert(name.to_owned(), row);
        }
        Ok(Value::Object(found))
    }
}

struct Play {
    site: Site,
    host: HostGroup,
}

/// Plays it all, each load for so many seconds, and gives the evidence.
///
/// # Errors
/// At the first thing that does not hold.
pub async fn play(seconds: u64) -> anyhow::Result<Value> {
    let host = HostGroup::new(MEMORY)?;
    let mut site = Site::found(DISKS.0, DISKS.1).await?;
    site.publish(&site.release(VERSION)?)?;
    let log = site.path("audit.jsonl");
    std::fs::write(&log, "")?;
    site.enrol_host(
        "DC01",
        &["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log],
    )?;
    host.takes(site.start_guarded_host()?)?;
    let watches = |row: &Value| row["deploymentStatus"] == "upToDate" && row["version"] == VERSION;
    let row = site.until("sensors/DC01", "it is installed and watches", watches).await?;
    site.hold(true);
    let is_over = Arc::new(AtomicBool::new(false));
    let sample = std::fs::read(tools::checkout().join("content/samples/samba-audit.jsonl"))?;
    let block = sample.repeat(WRITTEN / sample.len().max(1));
    let cursor = site.host().join("state/cursor");
    let feeding = tokio::spawn(intake(log, cursor, block, Arc::clone(&is_over)));
    let play = Play { site, host };
    let played = async {
        let busy = play.busy(seconds).await?;
        let full = play.full(seconds).await?;
        Ok::<_, anyhow::Error>(json!({
            "scenario": "guard", "sensor": row["id"], "hostProcessors": 1, "hostMemoryBytes": MEMORY,
            "otherTakesPercent": TAKEN, "busy": busy, "full": full,
        }))
    }
    .await;
    is_over.store(true, Ordering::SeqCst);
    feeding.await?;
    played
}

impl Play {
    /// The guard as the host's own command shows it.
    fn guard(&self) -> anyhow::Result<Value> {
        let mut command = Command::new(binary("watchpost-updater")?);
        command.args(["status", "--output", "json", "--root"]).arg(self.site.host());
        let status: Value = serde_json::from_str(&tools::run(&mut command, "cargo build")?)?;
        Ok(status["guard"].clone())
    }

    /// Another process takes 70 % of the processor.
    async fn busy(&self, seconds: u64) -> anyhow::Result<Value> {
        let other = Other::burns(&self.host)?;
        tokio::time::sleep(SETTLES).await;
        let samples = Samples::take(&self.host, seconds).await?;
        let guard = self.guard()?;
        drop(other);
        anyhow::ensure!(guard["means"] == "cgroupV1", "the sensor is held by something else: {guard}");
        let used = guard["processorUsedThousandths"].as_u64().unwrap_or(0);
        anyhow::ensure!(used >= 20, "the sensor had next to nothing to do: {guard}");
        let mut found = samples.judged("busy")?;
        found["guard"] = guard;
        Ok(found)
    }

    /// Another process takes 70 % of the memory; then so much that the reserve is broken.
    async fn full(&self, seconds: u64) -> anyhow::Result<Value> {
        let _other = Other::holds(&self.host, MEMORY / 100 * TAKEN)?;
        let samples = Samples::take(&self.host, seconds).await?;
        let mut found = samples.judged("full")?;
        found["guard"] = self.guard()?;
        let before = self.site.sensor_pid().context("no sensor runs")?;
        // Down to a tenth, so that the sensor's own memory does not mend it.
        let excess = self.host.available()?.saturating_sub(MEMORY / 10);
        let (clock, fault) = (Clock::system(), self.site.now());
        let begun = clock.instant();
        let more = Other::holds(&self.host, excess)?;
        let restarted = async {
            while self.site.sensor_pid().is_none_or(|pid| pid == before) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let late = || format!("the sensor was not restarted within {} s", RESTARTED_WITHIN.as_secs());
        tokio::time::timeout(RESTARTED_WITHIN, restarted).await.with_context(late)?;
        found["restartedAfterSeconds"] = json!(clock.instant().saturating_duration_since(begun).as_secs_f64());
        let issue = |word: &'static str| {
            move |answer: &Value| {
                let rows = answer["value"].as_array().map(Vec::as_slice).unwrap_or_default();
                rows.first().is_some_and(|row| row["status"] == word)
            }
        };
        let path = "healthIssues?sensor=DC01&type=memoryLimitReached";
        let opened = self.site.until(path, "memoryLimitReached opens", issue("open")).await?;
        found["issueOpenedAfterSeconds"] = json!(self.site.now().since(fault).as_secs_f64());
        found["issue"] = opened["value"][0]["description"].clone();
        drop(more);
        let over = self.site.now();
        self.site.until(path, "memoryLimitReached closes", issue("closed")).await?;
        found["issueClosedAfterSeconds"] = json!(self.site.now().since(over).as_secs_f64());
        let running = |row: &Value| row["serviceStatus"] == "running";
        self.site.until("sensors/DC01", "the sensor watches again", running).await?;
        Ok(found)
    }
}
