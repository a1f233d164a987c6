//! The stream to the control plane: everything with a number beyond what it has taken, in batches.
//!
//! Alerts and devices are their own outbox: an alert has the number of its recording, a device that of its last news. So
//! nothing is written twice, and a device that changes often waits once.

use rusqlite::{Connection, Result, params};
use watchpost_core::evidence::{MAX_BATCH_BYTES, MAX_BATCH_ITEMS};

use super::database::{count, sql};

/// What a batch has beside its items, generously.
const ENVELOPE_BYTES: usize = 256;
/// More than so many waiting items are not counted: a number on a screen is not worth a long read.
const COUNTED: i64 = 100_000;

/// The place of this store in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// A random name: another one whenever numbers begin anew.
    pub(super) id: String,
    /// The last number that was given.
    pub(super) number: u64,
    /// The control plane has everything up to there.
    pub(super) taken: u64,
}

impl Stream {
    /// One that begins.
    pub(super) fn begin(id: String) -> Self {
        Self { id, number: 0, taken: 0 }
    }

    /// The one of a database, if it has begun one.
    pub(super) fn load(db: &Connection) -> Result<Option<Self>> {
        let mut select = db.prepare("SELECT id, number, taken FROM stream")?;
        let mut rows = select.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Self { id: row.get(0)?, number: count(row.get(1)?), taken: count(row.get(2)?) }))
    }

    /// Writes it down.
    pub(super) fn save(&self, db: &Connection) -> Result<()> {
        let values = params![self.id, sql(self.number), sql(self.taken)];
        if db.execute("UPDATE stream SET id = ?1, number = ?2, taken = ?3", values)? == 0 {
            db.execute("INSERT INTO stream (id, number, taken) VALUES (?1, ?2, ?3)", values)?;
        }
        Ok(())
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.number = self.number.saturating_add(1);
        self.number
    }
}

/// The first items that the control plane does not have, as the JSON of a batch, and the number of the last of them.
pub(super) fn next_batch(db: &Connection, stream: &Stream) -> Result<Option<(String, u64)>> {
    let mut select = db.prepare(
        "SELECT number, 0, body FROM alerts WHERE number > ?1
         UNION ALL SELECT number, 1, body FROM devices WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let mut rows = select.query(params![sql(stream.taken), sql(MAX_BATCH_ITEMS as u64)])?;
    let (mut alerts, mut devices, mut through) = (String::new(), String::new(), 0);
    while let Some(row) = rows.next()? {
        let body = row.get_ref(2)?.as_str()?;
        let bytes =
            alerts.len().saturating_add(devices.len()).saturating_add(body.len()).saturating_add(ENVELOPE_BYTES);
        if through > 0 && bytes > MAX_BATCH_BYTES {
            break;
        }
        let list = if row.get::<_, i64>(1)? == 0 { &mut alerts } else { &mut devices };
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(body);
        through = count(row.get(0)?);
    }
    let id = &stream.id;
    let json = format!(r#"{{"stream":"{id}","through":{through},"alerts":[{alerts}],"devices":[{devices}]}}"#);
    Ok((through > 0).then_some((json, through)))
}

/// How many items wait; more than [`COUNTED`] of a kind are not counted.
pub(super) fn waiting(db: &Connection, stream: &Stream) -> Result<u64> {
    let question = "SELECT (SELECT count(*) FROM (SELECT 1 FROM alerts WHERE number > ?1 LIMIT ?2))
                  + (SELECT count(*) FROM (SELECT 1 FROM devices WHERE number > ?1 LIMIT ?2))";
    db.query_row(question, params![sql(stream.taken), COUNTED], |row| row.get(0)).map(count)
}
