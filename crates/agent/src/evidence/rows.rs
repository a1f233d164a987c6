//! Alerts, devices and the timeline as rows: written, read back, and cut from the old end.

use rusqlite::{Connection, Result, params};
use watchpost_core::evidence::devices::{Changed, Devices};
use watchpost_core::evidence::{Alert, Device, TimelineEntry};
use watchpost_core::policy::RetentionPolicy;
use watchpost_core::time::Timestamp;

use super::block::{self, Block};
use super::database::{count, sql};
use super::outbox::Stream;

/// Which entries the timeline holds: from one number up to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first.
    pub(super) first: u64,
    /// The one after the last.
    pub(super) next: u64,
}

impl Span {
    /// How many entries.
    pub(super) fn events(self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

/// An alert that is about to be written.
pub(super) struct PackedAlert {
    /// Its id.
    pub(super) id: String,
    at: Timestamp,
    /// Its JSON form.
    pub(super) body: String,
}

impl PackedAlert {
    /// Of an alert, within its bounds.
    pub(super) fn of(alert: &Alert) -> serde_json::Result<Self> {
        let alert = alert.bounded();
        Ok(Self { body: serde_json::to_string(&alert)?, at: alert.at, id: alert.id })
    }
}

/// Writes the alerts that are not there; gives their ids.
pub(super) fn insert_alerts(db: &Connection, stream: &mut Stream, alerts: &[PackedAlert]) -> Result<Vec<String>> {
    let mut fresh = Vec::new();
    let mut insert =
        db.prepare("INSERT INTO alerts (number, at, id, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING")?;
    for alert in alerts {
        let number = stream.number.saturating_add(1);
        if insert.execute(params![sql(number), alert.at.millis(), alert.id, alert.body])? > 0 {
            stream.next();
            fresh.push(alert.id.clone());
        }
    }
    Ok(fresh)
}

/// Alerts raised from `from` and before `until`, newest first.
pub(super) fn alerts(db: &Connection, from: Timestamp, until: Timestamp, limit: u64) -> Result<Vec<Alert>> {
    let mut select =
        db.prepare("SELECT body FROM alerts WHERE at >= ?1 AND at < ?2 ORDER BY at DESC, number DESC LIMIT ?3")?;
    let mut rows = select.query(params![from.millis(), until.millis(), sql(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        // A row that does not parse is damage within a page; the others are still worth showing.
        found.extend(serde_json::from_str(row.get_ref(0)?.as_str()?).ok());
    }
    Ok(found)
}

/// Deletes alerts raised before; gives how many.
pub(super) fn expire_alerts(db: &Connection, before: Timestamp) -> Result<usize> {
    db.execute("DELETE FROM alerts WHERE at < ?1", [before.millis()])
}

/// Deletes the oldest alerts with numbers above `from` and up to `through`; gives how many.
pub(super) fn drop_alerts(db: &Connection, from: u64, through: u64, how_many: u64) -> Result<usize> {
    let delete = "DELETE FROM alerts WHERE number IN
        (SELECT number FROM alerts WHERE number > ?1 AND number <= ?2 ORDER BY at, number LIMIT ?3)";
    db.execute(delete, params![sql(from), sql(through), sql(how_many)])
}

/// Every device that is there.
pub(super) fn load_devices(db: &Connection, policy: &RetentionPolicy) -> Result<Devices> {
    let mut devices = Devices::new(policy);
    let mut select = db.prepare("SELECT told, body FROM devices")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(device) = serde_json::from_str::<Device>(row.get_ref(1)?.as_str()?) {
            devices.restore(device, Timestamp::from_millis(row.get(0)?));
        }
    }
    Ok(devices)
}

/// Writes what was changed; what is news gets a number.
pub(super) fn save_devices(db: &Connection, stream: &mut Stream, devices: &Devices) -> Result<()> {
    let mut delete = db.prepare("DELETE FROM devices WHERE key = ?1")?;
    for key in devices.gone() {
        delete.execute([key])?;
    }
    let mut tell = db.prepare(
        "INSERT INTO devices (key, number, told, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key)
         DO UPDATE SET number = excluded.number, told = excluded.told, body = excluded.body",
    )?;
    let mut keep = db.prepare("UPDATE devices SET body = ?2 WHERE key = ?1")?;
    for Changed { device, is_news, told } in devices.changed() {
        let body =
            serde_json::to_string(device).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        if is_news {
            tell.execute(params![device.key, sql(stream.next()), told.millis(), body])?;
        } else {
            keep.execute(params![device.key, body])?;
        }
    }
    Ok(())
}

/// Which entries are there.
pub(super) fn span(db: &Connection) -> Result<Span> {
    let first: Option<i64> = db.query_row("SELECT min(first) FROM timeline", [], |row| row.get(0))?;
    let last = "SELECT first + entries FROM timeline WHERE first = (SELECT max(first) FROM timeline)";
    let next = match first {
        Some(_) => db.query_row(last, [], |row| row.get(0))?,
        None => 1,
    };
    Ok(Span { first: count(first.unwrap_or(1)), next: count(next) })
}

/// Appends blocks.
pub(super) fn append(db: &Connection, span: &mut Span, blocks: &[Block]) -> Result<()> {
    let mut insert =
        db.prepare("INSERT INTO timeline (first, entries, oldest, newest, body) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for block in blocks {
        let (oldest, newest) = (block.oldest.millis(), block.newest.millis());
        insert.execute(params![sql(span.next), sql(block.entries), oldest, newest, block.body])?;
        span.next = span.next.saturating_add(block.entries);
    }
    Ok(())
}

/// Deletes the blocks that begin before entry `before`.
pub(super) fn cut(db: &Connection, span: &mut Span, before: u64) -> Result<()> {
    db.execute("DELETE FROM timeline WHERE first < ?1", [sql(before)])?;
    let first: Option<i64> = db.query_row("SELECT min(first) FROM timeline", [], |row| row.get(0))?;
    span.first = first.map_or(span.next, count);
    Ok(())
}

/// The entry before which blocks take so many bytes.
pub(super) fn entry_after(db: &Connection, bytes: u64) -> Result<u64> {
    let mut select = db.prepare("SELECT first + entries, length(body) FROM timeline ORDER BY first")?;
    let mut rows = select.query([])?;
    let (mut sum, mut end) = (0_u64, 0);
    while let Some(row) = rows.next()? {
        end = count(row.get(0)?);
        sum = sum.saturating_add(count(row.get(1)?));
        if sum >= bytes {
            break;
        }
    }
    Ok(end)
}

/// What to show of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineQuery {
    /// From this instant.
    pub from: Timestamp,
    /// Up to before this one.
    pub until: Timestamp,
    /// Only entries with a lower number than this one, to go on where the page before ended.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Entries with their numbers, newest first.
pub(super) fn timeline(db: &Connection, query: &TimelineQuery) -> Result<Vec<(u64, TimelineEntry)>> {
    let before = query.before.unwrap_or(u64::MAX);
    let mut select = db.prepare(
        "SELECT first, body FROM timeline WHERE first < ?1 AND newest >= ?2 AND oldest < ?3 ORDER BY first DESC",
    )?;
    let mut rows = select.query(params![sql(before), query.from.millis(), query.until.millis()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let numbers = count(row.get(0)?)..before;
        let entries = numbers.zip(block::unpack(row.get_ref(1)?.as_blob()?));
        let wanted = entries.filter(|(_, entry)| entry.at >= query.from && entry.at < query.until);
        found.extend(wanted.collect::<Vec<_>>().into_iter().rev());
        if found.len() >= query.limit {
            found.truncate(query.limit);
            break;
        }
    }
    Ok(found)
}
