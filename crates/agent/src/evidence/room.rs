//! Keeping the database within its budget: before anything is written, the oldest makes room for it.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, Result};
use watchpost_core::evidence::devices::Devices;
use watchpost_core::evidence::retention::{Cut, Room, Stock, next_cut};
use watchpost_core::policy::RetentionPolicy;

use super::block::Block;
use super::database::{self, Division};
use super::rows::{self, PackedAlert};
use super::{Ledger, database::any};

/// How often more room is made when an estimate was too low.
pub(super) const ATTEMPTS: usize = 4;
/// Of the database file, what is never planned with: pages that are half full, pointer maps, the schema.
const SLACK: u64 = 256 * 1024;
/// What a row takes beside its text, in indexes and half-full pages.
const ROW_BYTES: u64 = 256;
/// What a device takes; most are written over.
const DEVICE_BYTES: u64 = 1024;
/// What a block takes beside its bytes: the rest of its last page.
const BLOCK_BYTES: u64 = 4096;

/// What is about to be written, estimated from above.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Incoming {
    /// Bytes.
    pub(super) bytes: u64,
    events: u64,
}

impl Incoming {
    /// Of what was packed.
    pub(super) fn of(alerts: &[PackedAlert], blocks: &[Block]) -> Self {
        let alert = |alert: &PackedAlert| (alert.body.len() as u64).saturating_add(ROW_BYTES);
        let block = |block: &Block| (block.body.len() as u64).saturating_add(BLOCK_BYTES);
        let sizes = alerts.iter().map(alert).chain(blocks.iter().map(block));
        let events = blocks.iter().fold(0, |sum: u64, block| sum.saturating_add(block.entries));
        Self { bytes: sizes.fold(0, u64::saturating_add), events }
    }

    /// That and so many devices. They are no reason to refuse a record: they are bounded themselves.
    pub(super) fn with_devices(self, count: usize) -> Self {
        Self { bytes: self.bytes.saturating_add((count as u64).saturating_mul(DEVICE_BYTES)), ..self }
    }

    /// Of rows about files.
    pub(super) fn files(count: usize) -> Self {
        Self { bytes: (count as u64).saturating_mul(ROW_BYTES), events: 0 }
    }

    /// Twice that, and some.
    pub(super) fn more(self) -> Self {
        Self { bytes: self.bytes.saturating_mul(2).saturating_add(SLACK), ..self }
    }
}

/// What there may be.
pub(super) struct Limits<'a> {
    /// Of the disk budget.
    pub(super) division: Division,
    /// The rest.
    pub(super) policy: &'a RetentionPolicy,
}

/// Cuts from the old end until `incoming` fits, or nothing is left.
pub(super) fn make_room(
    db: &Connection,
    ledger: &mut Ledger,
    devices: &mut Devices,
    limits: Limits<'_>,
    incoming: &Incoming,
) -> Result<()> {
    let room = Room {
        bytes: limits.division.database.saturating_sub(SLACK).saturating_sub(incoming.bytes),
        timeline_events: limits.policy.timeline_events.saturating_sub(incoming.events),
    };
    while let Some(cut) = next_cut(&stock(db, ledger, devices, &room)?, &room) {
        let (taken, number) = (ledger.stream.taken, ledger.stream.number);
        match cut {
            Cut::TimelineEvents(events) => {
                let before = ledger.span.first.saturating_add(events);
                rows::cut(db, &mut ledger.span, before)?;
            }
            Cut::TimelineBytes(bytes) => {
                let before = rows::entry_after(db, bytes)?;
                rows::cut(db, &mut ledger.span, before)?;
            }
            Cut::TakenAlerts(count) => {
                rows::drop_alerts(db, 0, taken, count)?;
            }
            Cut::WaitingAlerts(count) => {
                rows::drop_alerts(db, taken, number, count)?;
            }
            Cut::Devices(count) => {
                devices.drop_oldest(usize::try_from(count).unwrap_or(usize::MAX));
                rows::save_devices(db, &mut ledger.stream, devices)?;
            }
        }
    }
    Ok(())
}

/// What is there; of alerts it is asked only when the timeline is used up.
fn stock(db: &Connection, ledger: &Ledger, devices: &Devices, room: &Room) -> Result<Stock> {
    let bytes = database::used(db)?;
    let timeline_events = ledger.span.events();
    let mut stock = Stock { bytes, timeline_events, has_devices: devices.count() > 0, ..Stock::default() };
    if timeline_events == 0 && bytes > room.bytes {
        stock.has_taken_alerts = any(db, "SELECT 1 FROM alerts WHERE number <= ?1 LIMIT 1", ledger.stream.taken)?;
        stock.has_waiting_alerts = any(db, "SELECT 1 FROM alerts WHERE number > ?1 LIMIT 1", ledger.stream.taken)?;
    }
    Ok(stock)
}

/// A damaged database that was set aside is older than all in this one: it goes when both together are too much.
pub(super) fn make_room_for_damaged(db: &Connection, folder: &Path, division: Division) -> Result<()> {
    let together = database::used(db)?.saturating_add(division.at_once).saturating_add(database::damaged_bytes(folder));
    if together > division.database {
        // One that cannot be deleted is tried again with the next record.
        let _ = database::drop_damaged(folder);
    }
    Ok(())
}

/// Whether the file's own limit was met, and not the end of the disk.
pub(super) fn is_at_its_limit(error: &rusqlite::Error, db: Option<&Connection>, division: Division) -> bool {
    let is_full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
    let is_near = |db: &Connection| {
        database::size(db).is_ok_and(|size| size.saturating_add(division.at_once) > division.database)
    };
    is_full && db.is_some_and(is_near)
}
