//! The evidence of a sensor: alerts, devices, the timeline, and which packets and logs lie beside them (H8).
//!
//! One embedded database in `state/evidence.db`, the only SQL on a host. What [`Evidence::record`] has acknowledged
//! survives `kill -9` and a power cut, and is handed to the control plane until that has it. Everything stays within its
//! budget, oldest first. It reads no clock, and a damaged file never stops the sensor.

mod block;
mod database;
mod error;
mod files;
mod outbox;
mod room;
mod rows;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use watchpost_core::evidence::devices::Devices;
use watchpost_core::evidence::retention::{alerts_before, devices_before};
use watchpost_core::evidence::{Alert, Device, Sighting, TimelineEntry};
use watchpost_core::policy::RetentionPolicy;
use watchpost_core::time::Timestamp;

use self::database::Division;
pub use self::error::EvidenceError;
pub use self::files::{Capture, LogFile};
use self::outbox::Stream;
use self::room::{Incoming, make_room};
pub use self::rows::TimelineQuery;
use self::rows::{PackedAlert, Span};

/// Where evidence lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// The database.
    pub state: PathBuf,
    /// Captured packets, written by the engine.
    pub captures: PathBuf,
    /// Log files.
    pub logs: PathBuf,
}

impl Folders {
    /// Those of the host folder `root`.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self { state: root.join("state"), captures: root.join("engine/log"), logs: root.join("logs") }
    }
}

/// What is recorded together, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Alerts; one whose id is there already changes nothing.
    pub alerts: Vec<Alert>,
    /// Glimpses of devices.
    pub sightings: Vec<Sighting>,
    /// Entries of the timeline, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// The timeline's entries of these alerts, in the same order; one is written only if its alert is new.
    pub alert_lines: Vec<TimelineEntry>,
}

/// What a retention run dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Alerts whose time was up.
    pub alerts: usize,
    /// Devices whose time was up.
    pub devices: usize,
    /// Files of captured packets beyond the budget.
    pub captures: Vec<String>,
}

/// Where the numbers stand; takes effect when the transaction that changed them is durable.
#[derive(Clone, Debug)]
struct Ledger {
    stream: Stream,
    span: Span,
}

/// An open database and what is held of it in memory.
struct Open {
    db: Connection,
    ledger: Ledger,
    /// The last number that this run has handed out in a batch.
    handed: Option<u64>,
}

/// The evidence store of one sensor.
pub struct Evidence {
    folders: Folders,
    policy: RetentionPolicy,
    division: Division,
    /// None after the file was damaged, until another one can be begun.
    open: Option<Open>,
    devices: Devices,
    set_aside: Option<String>,
}

impl Evidence {
    /// Opens the store, made if it is not there. A damaged one is set aside ([`Self::set_aside`]) and another begun.
    ///
    /// # Errors
    /// When the folder cannot be used, the disk is full or another process has the store open.
    pub fn open(folders: Folders, policy: RetentionPolicy) -> Result<Self, EvidenceError> {
        fs::create_dir_all(&folders.state)?;
        let division = Division::of(policy.evidence_bytes);
        let devices = Devices::new(&policy);
        let mut evidence = Self { folders, policy, division, open: None, devices, set_aside: None };
        match evidence.load() {
            Ok(()) => {}
            Err(error) if error::is_damage(&error) => {
                evidence.set_aside = Some(error.to_string());
                database::set_aside(&evidence.folders.state)?;
                evidence.load()?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(evidence)
    }

    /// Why an earlier file was set aside in this run, if one was.
    #[must_use]
    pub fn set_aside(&self) -> Option<&str> {
        self.set_aside.as_deref()
    }

    /// Records all of it in one transaction; gives the ids of the alerts that were not there before.
    ///
    /// # Errors
    /// When nothing of it is durable; calling again with the same is right, except after [`EvidenceError::TooMuch`].
    pub fn record(&mut self, recorded: &Recorded) -> Result<BTreeSet<String>, EvidenceError> {
        let alerts = recorded.alerts.iter().map(PackedAlert::of).collect::<serde_json::Result<Vec<_>>>()?;
        let blocks = block::pack(&recorded.timeline);
        recorded.sightings.iter().for_each(|sighting| self.devices.see(sighting));
        let lines = block::pack(&recorded.alert_lines);
        let incoming = Incoming::of(&alerts, &[blocks.as_slice(), lines.as_slice()].concat());
        if incoming.bytes > self.division.at_once {
            return Err(EvidenceError::TooMuch { bytes: incoming.bytes, limit: self.division.at_once });
        }
        if alerts.is_empty() && blocks.is_empty() && self.is_settled() {
            return Ok(BTreeSet::new());
        }
        let fresh = self.write(&incoming, |db, ledger| {
            let fresh = rows::insert_alerts(db, &mut ledger.stream, &alerts)?;
            rows::append(db, &mut ledger.span, &blocks)?;
            let of_new =
                recorded.alerts.iter().zip(&recorded.alert_lines).filter(|(alert, _)| fresh.contains(&alert.id));
            let of_new: Vec<TimelineEntry> = of_new.map(|(_, line)| line.clone()).collect();
            rows::append(db, &mut ledger.span, &block::pack(&of_new))?;
            Ok(fresh)
        })?;
        Ok(fresh.into_iter().collect())
    }

    /// The next batch for the control plane in its JSON form, and the number of its last item; `None` when nothing waits.
    /// The same items come again until they are [`Self::taken`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<(String, u64)>, EvidenceError> {
        let batch = self.read(|db, ledger| outbox::next_batch(db, &ledger.stream))?;
        if let Some((_, through)) = &batch {
            self.opened()?.handed = Some(*through);
        }
        Ok(batch)
    }

    /// The control plane has everything of `stream` up to `through`. Another stream's word changes nothing. Has it more
    /// than was handed out, then this file is an old copy of itself: its numbers are worth nothing, a stream begins.
    ///
    /// # Errors
    /// When that cannot be written down; the same batch comes again then, which is harmless.
    pub fn taken(&mut self, stream: &str, through: u64) -> Result<(), EvidenceError> {
        let open = self.opened()?;
        let (place, handed) = (open.ledger.stream.clone(), open.handed);
        if place.id != stream || through <= place.taken {
            return Ok(());
        }
        // The word may answer the run before this one, which handed out what this one has yet to.
        let is_ours = through <= handed.unwrap_or(place.number);
        let next = if is_ours { Stream { taken: through, ..place } } else { Stream { id: name(), taken: 0, ..place } };
        let saved = self.opened().map(|open| next.save(&open.db))?;
        self.judged(saved)?;
        let open = self.opened()?;
        open.ledger.stream = next;
        open.handed = open.handed.filter(|_| is_ours);
        Ok(())
    }

    /// The name of the stream that batches belong to.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn stream(&mut self) -> Result<&str, EvidenceError> {
        Ok(&self.opened()?.ledger.stream.id)
    }

    /// Alerts and devices that wait for the control plane; above a hundred thousand of each they are not counted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn waiting(&mut self) -> Result<u64, EvidenceError> {
        self.read(|db, ledger| outbox::waiting(db, &ledger.stream))
    }

    /// Drops what has had its time, and what is beyond its budget.
    ///
    /// # Errors
    /// When the disk refuses; what could be dropped is.
    pub fn retain(&mut self, now: Timestamp) -> Result<Retained, EvidenceError> {
        let captures = files::drop_surplus(&self.folders.captures, self.policy.capture_bytes);
        let devices = self.devices.expire(devices_before(&self.policy, now));
        let before = alerts_before(&self.policy, now);
        let alerts = self.write(&Incoming::default(), |db, _| rows::expire_alerts(db, before))?;
        let division = self.division;
        self.read(|db, _| database::shrink(db, division))?;
        self.refresh_captures()?;
        Ok(Retained { alerts, devices, captures: captures? })
    }

    /// Alerts raised from `from` and before `until`, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn alerts(&mut self, from: Timestamp, until: Timestamp, limit: u64) -> Result<Vec<Alert>, EvidenceError> {
        self.read(|db, _| rows::alerts(db, from, until, limit))
    }

    /// Every device, by key.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.all()
    }

    /// The device with this address, hardware address or key.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.find(name)
    }

    /// Entries of the timeline with their numbers, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn timeline(&mut self, query: &TimelineQuery) -> Result<Vec<(u64, TimelineEntry)>, EvidenceError> {
        self.read(|db, _| rows::timeline(db, query))
    }

    /// How many entries the timeline has.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn timeline_events(&mut self) -> Result<u64, EvidenceError> {
        Ok(self.opened()?.ledger.span.events())
    }

    /// Files of captured packets, oldest first.
    ///
    /// # Errors
    /// When the folder or the store cannot be read.
    pub fn captures(&mut self) -> Result<Vec<Capture>, EvidenceError> {
        self.refresh_captures()?;
        self.read(|db, _| files::indexed(db, None))
    }

    /// The files that may have the packets of an alert.
    ///
    /// # Errors
    /// When the folder or the store cannot be read.
    pub fn captures_of(&mut self, alert: &Alert) -> Result<Vec<Capture>, EvidenceError> {
        self.refresh_captures()?;
        self.read(|db, _| files::indexed(db, Some(alert.at)))
    }

    /// The log files, by name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn logs(&self) -> Result<Vec<LogFile>, EvidenceError> {
        Ok(files::list(&self.folders.logs)?)
    }

    /// Bytes on the disk, without packets and logs: the database, its own log, and a damaged one that was set aside.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        database::bytes(&self.folders.state)
    }

    /// Bytes of captured packets on the disk.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn capture_bytes(&self) -> Result<u64, EvidenceError> {
        let files = files::captures(&self.folders.captures)?;
        Ok(files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)))
    }

    fn is_settled(&self) -> bool {
        self.devices.changed().next().is_none() && self.devices.gone().next().is_none()
    }

    fn refresh_captures(&mut self) -> Result<(), EvidenceError> {
        let found = files::captures(&self.folders.captures)?;
        let known = self.read(|db, _| files::indexed(db, None))?;
        let is_same = found.len() == known.len()
            && found.iter().all(|file| {
                let is_it =
                    |row: &Capture| row.name == file.name && row.bytes == file.bytes && row.until == file.modified;
                known.iter().any(is_it)
            });
        if is_same {
            return Ok(());
        }
        self.write(&Incoming::files(found.len()), |db, _| files::index(db, &found))
    }

    /// Runs `work` in a transaction, with room for `incoming`; memory follows when it is durable. If the estimate of
    /// `incoming` was too low for the file's hard limit, more room is made.
    fn write<T>(
        &mut self,
        incoming: &Incoming,
        work: impl Fn(&Connection, &mut Ledger) -> rusqlite::Result<T>,
    ) -> Result<T, EvidenceError> {
        self.opened()?;
        let mut incoming = incoming.with_devices(self.devices.changed().count());
        for _ in 0..room::ATTEMPTS {
            let written = self.try_write(&incoming, &work);
            match written {
                Err(error) if room::is_at_its_limit(&error, self.open.as_ref().map(|open| &open.db), self.division) => {
                    incoming = incoming.more();
                }
                other => return self.judged(other),
            }
        }
        let written = self.try_write(&incoming, &work);
        self.judged(written)
    }

    fn try_write<T>(
        &mut self,
        incoming: &Incoming,
        work: impl Fn(&Connection, &mut Ledger) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let Some(open) = &mut self.open else { return Err(rusqlite::Error::InvalidQuery) };
        let mut ledger = open.ledger.clone();
        if database::damaged_bytes(&self.folders.state) > 0 {
            room::make_room_for_damaged(&open.db, &self.folders.state, self.division)?;
        }
        let tx = open.db.transaction()?;
        make_room(
            &tx,
            &mut ledger,
            &mut self.devices,
            room::Limits { division: self.division, policy: &self.policy },
            incoming,
        )?;
        let done = work(&tx, &mut ledger)?;
        rows::save_devices(&tx, &mut ledger.stream, &self.devices)?;
        if ledger.stream != open.ledger.stream {
            ledger.stream.save(&tx)?;
        }
        tx.commit()?;
        open.ledger = ledger;
        self.devices.settle();
        Ok(done)
    }

    fn read<T>(&mut self, work: impl FnOnce(&Connection, &Ledger) -> rusqlite::Result<T>) -> Result<T, EvidenceError> {
        let open = self.opened()?;
        let read = work(&open.db, &open.ledger);
        self.judged(read)
    }

    fn opened(&mut self) -> Result<&mut Open, EvidenceError> {
        if self.open.is_none() {
            let devices = self.devices.clone();
            self.load()?;
            self.devices = devices;
        }
        self.open.as_mut().ok_or(EvidenceError::Database(rusqlite::Error::InvalidQuery))
    }

    fn load(&mut self) -> rusqlite::Result<()> {
        let db = database::open(&self.folders.state, self.division)?;
        let stream = match Stream::load(&db)? {
            Some(stream) => stream,
            None => {
                let stream = Stream::begin(name());
                stream.save(&db)?;
                stream
            }
        };
        let ledger = Ledger { stream, span: rows::span(&db)? };
        self.devices = rows::load_devices(&db, &self.policy)?;
        self.open = Some(Open { db, ledger, handed: None });
        Ok(())
    }

    /// If the file turned out to be damaged, sets it aside. The devices are in memory; all of them go into the next one.
    fn judged<T>(&mut self, result: rusqlite::Result<T>) -> Result<T, EvidenceError> {
        match result {
            Err(error) if error::is_damage(&error) => {
                self.open = None;
                self.set_aside = Some(error.to_string());
                self.devices.unsettle();
                database::set_aside(&self.folders.state)?;
                Err(EvidenceError::Damaged(error))
            }
            other => Ok(other?),
        }
    }
}

/// A random name of 128 bits.
fn name() -> String {
    let mut bytes = [0; 16];
    // A system that gives no chance has worse troubles; two streams of one name are told apart by their items' ids.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests;
