//! What evidence costs the server: batches of 200 alerts, decoded, believed, kept and durable, as CPU of the whole process.
//!
//! The reference is decoding the same bytes alone. The duty is the share of one core at 200 alerts a second.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use watchpost_clock::Clock;
use watchpost_core::evidence::{Alert, AlertLevel, Batch};
use watchpost_core::facts::EngineKind;
use watchpost_core::time::Timestamp;
use watchpost_fleet_sim::SimSensor;
use watchpost_protocol::EvidenceRequest;
use watchpost_server::config::Settings;
use watchpost_server::founding::{Plan, found};
use watchpost_server::lifecycle::Server;

/// Batches that are kept.
const BATCHES: u64 = 200;
/// Alerts in each: as many as a batch may have.
const ALERTS: u64 = 200;
/// The share of one core that 200 alerts a second may take, in percent.
const BAR: f64 = 10.0;
const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

fn main() -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| runtime.block_on(measure()))
    {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> anyhow::Result<bool> {
    let dir = tempfile::tempdir()?;
    let any = "127.0.0.1:0".parse()?;
    let clock = Clock::fixed(NOW);
    let plan = Plan { data_dir: dir.path().join("server"), image_root: None, portal: any, gateway: any };
    let founded = found(plan, &clock).await?;
    let server = Server::start(Settings::read(&founded.config)?, clock).await?;
    let at = server.gateway_addr().to_string();
    let mut sensor = SimSensor::new(&at, &founded.access_key.reveal().parse()?, "DC1", NOW)?;
    let id = sensor.enroll().await?.sensor_id;
    let requests: Vec<_> = (0..BATCHES).map(|n| EvidenceRequest::encode(batch(n))).collect();
    let bytes = requests.first().context("no batch")?.len();

    let before = cpu_time()?;
    for request in &requests {
        std::hint::black_box(EvidenceRequest::from_bytes(request)?);
    }
    let parsed = cpu_time()? - before;
    let (before, mut taken) = (cpu_time()?, 0);
    for (second, request) in (0_u64..).zip(&requests) {
        let batch = EvidenceRequest::from_bytes(request)?.batch;
        taken = server.app().take_evidence(id, batch, NOW + Duration::from_secs(second)).await?;
    }
    let kept = cpu_time()? - before;
    anyhow::ensure!(taken == BATCHES * ALERTS, "only {taken} were taken");
    let each = |cost: Duration| cost.as_secs_f64() * 1e6 / (BATCHES * ALERTS) as f64;
    let duty = each(kept) * ALERTS as f64 / 1e6 * 100.0;
    println!("{:<34} {bytes:>9} bytes, {ALERTS} alerts", "batch");
    println!("{:<34} {:>9.1} us CPU", "alert kept and durable", each(kept));
    println!("{:<34} {:>9.1} us CPU", "reference: decoded", each(parsed));
    println!("{:<34} {:>9.2}", "ratio", each(kept) / each(parsed));
    println!("{:<34} {duty:>9.2} %  (bar {BAR:.0} %)", "core at 200 alerts a second");
    server.stop().await?;
    Ok(duty <= BAR)
}

/// Batch number `n`, in its JSON form: what fits into a batch of the largest size.
fn batch(n: u64) -> Vec<u8> {
    let event = json!({ "User": "alice" });
    let alert = |number: u64| Alert {
        id: format!("{number:032x}"),
        at: NOW,
        engine: EngineKind::Sigma,
        rule_id: "r".to_owned(),
        rule_title: "Failed".to_owned(),
        level: AlertLevel::High,
        event: event.as_object().cloned().unwrap_or_default(),
        devices: std::iter::once("10.0.0.7".to_owned()).collect(),
        has_packets: false,
    };
    let alerts = (n * ALERTS..(n + 1) * ALERTS).map(alert).collect();
    let batch = Batch { stream: "aa".to_owned(), through: (n + 1) * ALERTS, alerts, devices: Vec::new() };
    serde_json::to_vec(&batch).unwrap_or_default()
}

/// CPU time of all threads of this process, as the kernel counts it.
fn cpu_time() -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split_whitespace().next().context("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
