//! The files beside the database: captured packets with an index row each, and logs.
//!
//! Only regular files that bear a capture's name are ever deleted, and none outside its folder.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, Result, params};
use watchpost_core::evidence::captures::{self, CaptureFile};
use watchpost_core::time::Timestamp;

use serde::Serialize;

use super::database::{count, sql};

/// One file of captured packets, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capture {
    /// Its name in the folder of captures.
    pub name: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// When it was last written.
    pub until: Timestamp,
    /// Its size.
    pub bytes: u64,
}

/// One log file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogFile {
    /// Its name in the folder of logs.
    pub name: String,
    /// When it was last written.
    pub modified: Timestamp,
    /// Its size.
    pub bytes: u64,
}

/// How far packets of an alert may be from it, in milliseconds: a file's name and its instant are whole seconds.
const SLACK_MILLIS: i64 = 1_000;

/// The regular files of a folder; none if there is no such folder.
pub(super) fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A file may go between the two looks: its engine rotates too.
        let Ok(metadata) = entry.metadata() else { continue };
        let Ok(name) = entry.file_name().into_string() else { continue };
        if metadata.is_file() {
            let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            let modified = Timestamp::from_millis(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            files.push(LogFile { name, modified, bytes: metadata.len() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The files of captured packets that are there.
pub(super) fn captures(folder: &Path) -> io::Result<Vec<CaptureFile>> {
    let files = list(folder)?.into_iter().filter(|file| captures::is_capture(&file.name));
    Ok(files.map(|LogFile { name, modified, bytes }| CaptureFile { name, bytes, modified }).collect())
}

/// Deletes the oldest until the rest fits; gives what was deleted.
pub(super) fn drop_surplus(folder: &Path, budget: u64) -> io::Result<Vec<String>> {
    let doomed = captures::surplus(&captures(folder)?, budget);
    for name in &doomed {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(doomed)
}

/// Has the index name what is there, and nothing else. The beginning that was noted first stays.
pub(super) fn index(db: &Connection, files: &[CaptureFile]) -> Result<()> {
    db.execute_batch("CREATE TEMP TABLE IF NOT EXISTS present (name TEXT PRIMARY KEY); DELETE FROM present;")?;
    let mut present = db.prepare("INSERT OR IGNORE INTO present (name) VALUES (?1)")?;
    let mut note = db.prepare(
        "INSERT INTO captures (name, begun, until, bytes) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name)
         DO UPDATE SET until = excluded.until, bytes = excluded.bytes
         WHERE until <> excluded.until OR bytes <> excluded.bytes",
    )?;
    for file in files {
        let (_, begun) = captures::series(&file.name);
        let begun = begun.unwrap_or(file.modified).millis();
        note.execute(params![file.name, begun, file.modified.millis(), sql(file.bytes)])?;
        present.execute([&file.name])?;
    }
    db.execute("DELETE FROM captures WHERE name NOT IN (SELECT name FROM present)", [])?;
    Ok(())
}

/// The files that may have packets of that instant; of any instant if none is given. Oldest first.
pub(super) fn indexed(db: &Connection, at: Option<Timestamp>) -> Result<Vec<Capture>> {
    let mut select = db.prepare(
        "SELECT name, begun, until, bytes FROM captures WHERE begun <= ?1 AND until >= ?2 ORDER BY until, name",
    )?;
    let (latest, earliest) = match at.map(Timestamp::millis) {
        Some(at) => (at.saturating_add(SLACK_MILLIS), at.saturating_sub(SLACK_MILLIS)),
        None => (i64::MAX, i64::MIN),
    };
    let rows = select.query_map([latest, earliest], |row| {
        let (begun, until) = (Timestamp::from_millis(row.get(1)?), Timestamp::from_millis(row.get(2)?));
        Ok(Capture { name: row.get(0)?, begun, until, bytes: count(row.get(3)?) })
    })?;
    rows.collect()
}
