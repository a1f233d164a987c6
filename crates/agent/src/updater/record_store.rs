//! The record on the disk: two slots in turn, each with a sequence number and a checksum; the newest whole one counts.
//!
//! A torn, zeroed or foreign slot is ignored, never repaired by guessing (elastic-agent #9099, #14194).

use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use watchpost_core::updater::Record;

use super::layout::Layout;
use crate::host::disk::{Disk, read_limited};

/// What a slot begins with.
const MAGIC: &[u8; 8] = b"WPRECRD1";
/// The size a slot takes on the disk from the start, so that writing a record never needs room on a full disk.
const SLOT_BYTES: u64 = 64 * 1024;
const SEQUENCE_AT: usize = MAGIC.len();
const LENGTH_AT: usize = SEQUENCE_AT + 8;
const CHECKSUM_AT: usize = LENGTH_AT + 8;
const PAYLOAD_AT: usize = CHECKSUM_AT + 32;

/// Why the record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The slot cannot be written.
    #[error("the updater's record cannot be written to {path}; check that the disk is sound")]
    Write {
        /// The slot.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The record does not fit.
    #[error("the updater's record has outgrown its {SLOT_BYTES} bytes")]
    TooLarge,
    /// The record cannot be put into words.
    #[error("the updater's record cannot be encoded")]
    Encode(#[source] serde_json::Error),
}

/// Reads and writes a record of one host.
#[derive(Clone)]
pub struct RecordStore<R = Record> {
    slots: [PathBuf; 2],
    disk: Disk,
    what: PhantomData<fn() -> R>,
}

struct Slot<R> {
    sequence: u64,
    record: R,
}

impl RecordStore {
    /// The store of the host with this layout.
    #[must_use]
    pub fn new(layout: &Layout, disk: Disk) -> Self {
        Self::at(layout.record_slots(), disk)
    }
}

impl<R: Serialize + DeserializeOwned> RecordStore<R> {
    /// A store in these two slots.
    #[must_use]
    pub fn at(slots: [PathBuf; 2], disk: Disk) -> Self {
        Self { slots, disk, what: PhantomData }
    }

    /// The newest whole record; `None` when neither slot holds one.
    #[must_use]
    pub fn read(&self) -> Option<R> {
        self.newest().map(|(_, slot)| slot.record)
    }

    fn newest(&self) -> Option<(usize, Slot<R>)> {
        let read = |index: usize| {
            let bytes = read_limited(self.slots.get(index)?, SLOT_BYTES).ok().flatten()?;
            parse(&bytes).map(|slot| (index, slot))
        };
        [read(0), read(1)].into_iter().flatten().max_by_key(|(_, slot)| slot.sequence)
    }

    /// Makes the record durable in the slot that does not hold the newest one.
    ///
    /// # Errors
    /// When the disk fails. The record before this one is then still whole.
    pub fn write(&self, record: &R) -> Result<(), RecordError> {
        let (index, sequence) = match self.newest() {
            Some((newest, slot)) => (1 - newest, slot.sequence.saturating_add(1)),
            None => (0, 1),
        };
        let bytes = encode(sequence, record)?;
        let path = self.slots.get(index).cloned().unwrap_or_default();
        self.disk.overwrite(&path, &bytes, SLOT_BYTES).map_err(|source| RecordError::Write { path, source })
    }
}

fn encode<R: Serialize>(sequence: u64, record: &R) -> Result<Vec<u8>, RecordError> {
    let payload = serde_json::to_vec(record).map_err(RecordError::Encode)?;
    let mut sealed = sequence.to_le_bytes().to_vec();
    sealed.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let checksum = checksum(&sealed, &payload);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&sealed);
    bytes.extend_from_slice(&checksum);
    bytes.extend_from_slice(&payload);
    if bytes.len() as u64 > SLOT_BYTES { Err(RecordError::TooLarge) } else { Ok(bytes) }
}

fn checksum(sealed: &[u8], payload: &[u8]) -> Vec<u8> {
    digest(&SHA256, &[sealed, payload].concat()).as_ref().to_vec()
}

fn parse<R: DeserializeOwned>(bytes: &[u8]) -> Option<Slot<R>> {
    if bytes.get(..SEQUENCE_AT)? != MAGIC {
        return None;
    }
    let number = |from: usize| bytes.get(from..from + 8)?.try_into().ok().map(u64::from_le_bytes);
    let (sequence, length) = (number(SEQUENCE_AT)?, usize::try_from(number(LENGTH_AT)?).ok()?);
    let payload = bytes.get(PAYLOAD_AT..PAYLOAD_AT.checked_add(length)?)?;
    if bytes.get(CHECKSUM_AT..PAYLOAD_AT)? != checksum(bytes.get(SEQUENCE_AT..CHECKSUM_AT)?, payload) {
        return None;
    }
    serde_json::from_slice(payload).ok().map(|record| Slot { sequence, record })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::disk::tests::Power;

    fn store() -> (tempfile::TempDir, RecordStore) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        fs::create_dir_all(layout.updater()).unwrap();
        let store = RecordStore::new(&layout, Disk::default());
        (root, store)
    }

    fn record(generation: u64) -> Record {
        Record { generation, ..Record::default() }
    }

    #[test]
    fn the_newest_whole_record_counts() {
        let (_root, store) = store();
        assert_eq!(store.read(), None);
        for generation in 1..6 {
            store.write(&record(generation)).unwrap();
            assert_eq!(store.read(), Some(record(generation)));
        }
        assert_eq!(fs::metadata(&store.slots[0]).unwrap().len(), SLOT_BYTES, "its room is taken from the start");
    }

    #[test]
    fn a_torn_zeroed_or_foreign_slot_is_ignored() {
        let (_root, store) = store();
        store.write(&record(1)).unwrap();
        store.write(&record(2)).unwrap();
        let newest = fs::read(&store.slots[1]).unwrap();
        let end = PAYLOAD_AT + 10;
        let mut torn = newest.clone();
        torn[end..].fill(0);
        let mut flipped = newest.clone();
        flipped[end] ^= 1;
        let mut endless = newest.clone();
        endless[LENGTH_AT..CHECKSUM_AT].fill(0xff);
        for damage in
            [torn, flipped, endless, vec![0; newest.len()], newest[..end].to_vec(), Vec::new(), b"{}".to_vec()]
        {
            fs::write(&store.slots[1], &damage).unwrap();
            assert_eq!(store.read(), Some(record(1)));
            store.write(&record(3)).unwrap();
            assert_eq!(store.read(), Some(record(3)), "the damaged slot is the one that is written");
            fs::write(&store.slots[0], encode(1, &record(1)).unwrap()).unwrap();
        }
    }

    #[test]
    fn both_slots_lost_is_no_record_and_no_error() {
        let (_root, store) = store();
        store.write(&record(1)).unwrap();
        fs::write(&store.slots[0], vec![0; 4096]).unwrap();
        assert_eq!(store.read(), None);
        store.write(&record(2)).unwrap();
        assert_eq!(store.read(), Some(record(2)));
    }

    #[test]
    fn a_power_cut_anywhere_leaves_the_record_before_or_the_new_one() {
        for cut in 0..8 {
            let (_root, mut store) = store();
            store.write(&record(1)).unwrap();
            let power = Power::failing_at(cut);
            store.disk = Disk { power: Some(power.clone()) };
            let written = store.write(&record(2));
            let found = store.read().unwrap().generation;
            assert!(found == 1 || found == 2, "cut at step {cut}");
            assert!(power.is_off() != written.is_ok());
            assert!(written.is_err() || found == 2);
        }
    }

    #[test]
    fn a_record_that_has_outgrown_its_slot_is_refused_whole() {
        let (_root, store) = store();
        store.write(&record(1)).unwrap();
        let bad_versions = (0..5000).map(|n| (watchpost_core::version::Version::new(2, n, 0, 0), 1)).collect();
        let huge = Record { bad_versions, ..Record::default() };
        assert!(matches!(store.write(&huge), Err(RecordError::TooLarge)));
        assert_eq!(store.read(), Some(record(1)));
    }
}
