//! What the intake of Suricata's events costs: CPU time for a thousand of them, from the socket to the evidence.
//!
//! The bar is 10 % of one core at 5 000 events a second, so 20 ms for a thousand.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use watchpost_agent::engine::suricata::canary::Expected;
use watchpost_agent::engine::suricata::evidence::Mapper;
use watchpost_agent::engine::suricata::home::Home;
use watchpost_agent::engine::suricata::intake::Intake;
use watchpost_agent::engine::suricata::room::Room;
use watchpost_clock::Clock;

use cpu::own_cpu;

mod cpu;
mod eve_lines;

/// Events of one run.
const EVENTS: u64 = 100_000;
/// CPU time that a thousand events may take.
const BAR: Duration = Duration::from_millis(20);
/// Runs; the fastest counts, because noise only ever adds.
const RUNS: usize = 3;

fn main() -> ExitCode {
    let lines: Vec<u8> = (0..EVENTS).flat_map(eve_lines::line).collect();
    let mean = lines.len() as u64 / EVENTS;
    let runs: Result<Vec<Duration>, std::io::Error> = (0..RUNS).map(|_| run(&lines)).collect();
    let fastest = match runs {
        Ok(runs) => runs.into_iter().min().unwrap_or_default(),
        Err(error) => {
            eprintln!("nothing can be measured here: {error}");
            return ExitCode::FAILURE;
        }
    };
    let each = fastest * 1_000 / u32::try_from(EVENTS).unwrap_or(u32::MAX);
    let ratio = each.as_secs_f64() / BAR.as_secs_f64();
    println!("events of {mean} bytes on average; for 1 000 of them");
    println!("intake, socket to evidence         {:>9.3} ms CPU", each.as_secs_f64() * 1_000.0);
    println!("  ratio to the bar (at most 1)     {ratio:>9.3}");
    if ratio <= 1.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// CPU time of the intake's thread for all lines.
fn run(lines: &[u8]) -> Result<Duration, std::io::Error> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("eve.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mapper = Mapper::new(Home::new(&BTreeSet::new()));
    let (room, mut taken) = Room::new(4_096, 0);
    let intake = Intake::new(Clock::system(), mapper, Arc::new(Expected::default()), room);
    let before = own_cpu()?;
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(&path)?;
        tokio::spawn(intake.clone().serve(listener));
        let lines = lines.to_owned();
        let writer = std::thread::spawn(move || std::os::unix::net::UnixStream::connect(path)?.write_all(&lines));
        while intake.tally().events.load(Ordering::Relaxed) < EVENTS {
            let _ = tokio::time::timeout(Duration::from_millis(10), taken.recv()).await;
        }
        writer.join().map_err(|_| std::io::Error::other("the writer ended early"))?
    })?;
    Ok(own_cpu()?.saturating_sub(before))
}
