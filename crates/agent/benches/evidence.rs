//! Evidence records per second of CPU, beside a bare loop that inserts the same entries one row each.
//!
//! Both in a folder in memory and in transactions of the same size, so that a disk's fsync is not what is compared. Rounds
//! take turns; the cheapest of each side counts, because noise only ever adds.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rusqlite::{Connection, params};
use watchpost_agent::evidence::{Evidence, Folders, Recorded};
use watchpost_core::evidence::{Sighting, TimelineEntry};
use watchpost_core::policy::RetentionPolicy;
use watchpost_core::time::Timestamp;

use cpu::own_cpu;

mod cpu;

type Failure = Box<dyn std::error::Error>;

/// Entries of a transaction.
const AT_ONCE: i64 = 5_000;
/// Transactions of a round.
const TRANSACTIONS: i64 = 40;
/// Turns of both sides.
const ROUNDS: usize = 5;
/// Rate beside the bare loop that must be kept: packing pays for folding, bounds and budget.
const BAR: f64 = 1.0;

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<bool, Failure> {
    let pieces: Vec<Recorded> = (0..TRANSACTIONS).map(piece).collect();
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    let (mut our_bytes, mut bare_bytes) = (0, 0);
    for _ in 0..ROUNDS {
        let dir = in_memory()?;
        let before = own_cpu()?;
        let mut evidence = Evidence::open(Folders::of(dir.path()), RetentionPolicy::default())?;
        for piece in &pieces {
            evidence.record(piece)?;
        }
        drop(evidence);
        ours = ours.min(own_cpu()?.saturating_sub(before));
        our_bytes = fs::metadata(dir.path().join("state/evidence.db"))?.len();
        let dir = in_memory()?;
        let path = dir.path().join("bare.db");
        let before = own_cpu()?;
        insert_each(&path, &pieces)?;
        bare = bare.min(own_cpu()?.saturating_sub(before));
        bare_bytes = fs::metadata(path)?.len();
    }
    let ratio = bare.as_secs_f64() / ours.as_secs_f64();
    say("record, with devices and budget", ours, our_bytes);
    say("reference: one row each", bare, bare_bytes);
    println!("  {:<32} {ratio:>9.2}   (bar {BAR:.2}, more is better)", "rate beside the reference");
    Ok(ratio >= BAR)
}

fn say(what: &str, cpu: Duration, bytes: u64) {
    let records = (AT_ONCE * TRANSACTIONS) as f64;
    let each = bytes as f64 / records;
    println!("  {what:<32} {:>9.0} records/s of CPU, {each:.0} bytes each on the disk", records / cpu.as_secs_f64());
}

fn in_memory() -> std::io::Result<tempfile::TempDir> {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }
}

fn piece(number: i64) -> Recorded {
    let mut recorded = Recorded::default();
    for event in number * AT_ONCE..(number + 1) * AT_ONCE {
        let at = Timestamp::from_millis(1_767_571_200_000 + event * 2);
        let device = format!("10.0.{}.{}", event % 10, event % 200 + 1);
        if event % 20 == 0 {
            recorded.sightings.push(Sighting { at, address: Some(device.clone()), ..Sighting::default() });
        }
        let text = format!("event {event}: an account logged on over the network");
        recorded.timeline.push(TimelineEntry { at, kind: "logon".to_owned(), text, devices: BTreeSet::from([device]) });
    }
    recorded
}

fn insert_each(path: &Path, pieces: &[Recorded]) -> Result<(), Failure> {
    let mut db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE;
         CREATE TABLE timeline (number INTEGER PRIMARY KEY, at INTEGER, kind TEXT, text TEXT, devices TEXT);",
    )?;
    for piece in pieces {
        let tx = db.transaction()?;
        let mut insert = tx.prepare("INSERT INTO timeline (at, kind, text, devices) VALUES (?1, ?2, ?3, ?4)")?;
        for entry in &piece.timeline {
            let devices = entry.devices.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            insert.execute(params![entry.at.millis(), entry.kind, entry.text, devices])?;
        }
        drop(insert);
        tx.commit()?;
    }
    Ok(())
}
