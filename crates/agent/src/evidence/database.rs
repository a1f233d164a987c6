//! The database file: how it is opened, what is in it, how much room it takes, and how a damaged one is set aside.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Result};

/// Its name in the state folder.
const NAME: &str = "evidence.db";
/// What a damaged one is called; the one set aside before it is replaced.
const DAMAGED: &str = "evidence.damaged.db";
/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];
/// A budget smaller than this is taken for this: the database alone needs some room.
const SMALLEST_BUDGET: u64 = 16 << 20;
/// Most of a budget that is left to the database's own log.
const LARGEST_LOG: u64 = 32 << 20;
/// One part of a budget in so many is for the log, and one part of the log in so many for what waits in it.
const PART: u64 = 4;
/// Bytes of a page.
const PAGE: u64 = 4096;
/// How long another process that is about to end may hold the file.
const PATIENCE: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE stream (id TEXT NOT NULL, number INTEGER NOT NULL, taken INTEGER NOT NULL);
CREATE TABLE alerts (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE INDEX alerts_by_time ON alerts (at);
CREATE TABLE devices (key TEXT PRIMARY KEY, number INTEGER NOT NULL, told INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX devices_by_number ON devices (number);
CREATE TABLE timeline (first INTEGER PRIMARY KEY, entries INTEGER NOT NULL, oldest INTEGER NOT NULL,
    newest INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE captures (name TEXT PRIMARY KEY, begun INTEGER NOT NULL, until INTEGER NOT NULL, bytes INTEGER NOT NULL)
    WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// How a disk budget is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    /// For the database file.
    pub(super) database: u64,
    /// Its log is written back when it has so many bytes.
    log_full_at: u64,
    /// For what is recorded at once.
    pub(super) at_once: u64,
}

impl Division {
    /// Of a budget.
    pub(super) fn of(budget: u64) -> Self {
        let budget = budget.max(SMALLEST_BUDGET);
        let log = (budget / PART).min(LARGEST_LOG);
        Self { database: budget.saturating_sub(log), log_full_at: log / PART, at_once: log / PART }
    }
}

/// An integer as SQLite has it.
pub(super) fn sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count as SQLite has it.
pub(super) fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Opens the database in `folder`, made if it is not there.
///
/// One process, one connection: locked for good, so that the index of the log is in memory and no file that is mapped can
/// run out of disk. `FULL`: the control plane is told of what is committed, so a commit must outlive a power cut, else
/// numbers would be given twice.
pub(super) fn open(folder: &Path, division: Division) -> Result<Connection> {
    let mut db = Connection::open(folder.join(NAME))?;
    db.busy_timeout(PATIENCE)?;
    let log_full_at = division.log_full_at;
    db.execute_batch(&format!(
        "PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {};
         PRAGMA journal_size_limit = {log_full_at}; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF; PRAGMA max_page_count = {};",
        log_full_at / PAGE,
        division.database / PAGE,
    ))?;
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if number(&tx, "PRAGMA user_version")? == 0 {
        tx.execute_batch(SCHEMA)?;
    }
    tx.commit()?;
    Ok(db)
}

fn number(db: &Connection, question: &str) -> Result<u64> {
    db.query_row(question, [], |row| row.get(0)).map(count)
}

/// Bytes in use within the file; what was freed is used again before the file grows.
pub(super) fn used(db: &Connection) -> Result<u64> {
    let free = number(db, "PRAGMA freelist_count")?;
    Ok(number(db, "PRAGMA page_count")?.saturating_sub(free).saturating_mul(PAGE))
}

/// Bytes of the file.
pub(super) fn size(db: &Connection) -> Result<u64> {
    Ok(number(db, "PRAGMA page_count")?.saturating_mul(PAGE))
}

/// Gives back what the file has beyond its share, after a budget was lowered.
pub(super) fn shrink(db: &Connection, division: Division) -> Result<()> {
    let surplus = number(db, "PRAGMA page_count")?.saturating_sub(division.database / PAGE);
    if surplus > 0 {
        // A piece at a time, so that the log stays small.
        let piece = (division.at_once / PAGE).max(1);
        for _ in 0..surplus.div_ceil(piece) {
            // Gives a row for each page, and stops when nobody asks for the next.
            let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({piece})"))?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
    }
    Ok(())
}

/// Whether there is such a row.
pub(super) fn any(db: &Connection, question: &str, value: u64) -> Result<bool> {
    Ok(db.query_row(question, [sql(value)], |_| Ok(())).optional()?.is_some())
}

fn with(name: &str, beside: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{name}{beside}"))
}

/// Gives a damaged database another name. It must be closed.
pub(super) fn set_aside(folder: &Path) -> io::Result<()> {
    for beside in BESIDE {
        match fs::rename(with(NAME, beside, folder), with(DAMAGED, beside, folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&with(DAMAGED, beside, folder))?,
            other => other?,
        }
    }
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Deletes what was set aside; it is older than all that is in use.
pub(super) fn drop_damaged(folder: &Path) -> io::Result<()> {
    BESIDE.into_iter().try_for_each(|beside| remove(&with(DAMAGED, beside, folder)))
}

fn bytes_of(name: &str, folder: &Path) -> u64 {
    let sizes = BESIDE.into_iter().filter_map(|beside| fs::metadata(with(name, beside, folder)).ok());
    sizes.fold(0, |sum, file| sum.saturating_add(file.len()))
}

/// Bytes of a database that was set aside.
pub(super) fn damaged_bytes(folder: &Path) -> u64 {
    bytes_of(DAMAGED, folder)
}

/// Bytes on the disk: the database, its log, and what was set aside.
pub(super) fn bytes(folder: &Path) -> u64 {
    bytes_of(NAME, folder).saturating_add(damaged_bytes(folder))
}
