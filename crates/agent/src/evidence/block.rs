//! Entries of the timeline packed into blocks, one row each: a tenth of the rows' cost, and half of their bytes.
//!
//! A block is read by nobody but [`unpack`], which believes no length in it.

use std::collections::{BTreeSet, HashMap};

use watchpost_core::evidence::bounds::{clip, clip_text};
use watchpost_core::evidence::{MAX_DEVICE_TRAITS, TimelineEntry};
use watchpost_core::time::Timestamp;

/// A block is closed when it holds so many entries: what one look at it may cost.
const MAX_ENTRIES: u64 = 512;
/// A block is closed when it has so many bytes: four pages of the database.
const FULL_AT: usize = 15 * 1024;
/// Most bytes of an entry's kind.
const MAX_KIND_BYTES: usize = 64;
/// The first byte: which form the rest has.
const FORM: u8 = 1;

/// One row of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// How many entries.
    pub(super) entries: u64,
    /// Instant of the oldest.
    pub(super) oldest: Timestamp,
    /// Instant of the newest.
    pub(super) newest: Timestamp,
    /// The entries.
    pub(super) body: Vec<u8>,
}

/// Packs entries, in their order.
pub(super) fn pack(entries: &[TimelineEntry]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (block, taken) = pack_one(rest);
        rest = rest.get(taken..).unwrap_or_default();
        blocks.push(block);
    }
    blocks
}

/// One block, and of how many of the entries.
fn pack_one(entries: &[TimelineEntry]) -> (Block, usize) {
    let first = entries.first().map_or(Timestamp::default(), |entry| entry.at);
    let mut block = Block { entries: 0, oldest: first, newest: first, body: Vec::with_capacity(FULL_AT + 1024) };
    block.body.push(FORM);
    let mut words: HashMap<&str, u64> = HashMap::new();
    let mut before = 0;
    let mut taken = 0_usize;
    for entry in entries {
        if block.entries >= MAX_ENTRIES || block.body.len() >= FULL_AT {
            break;
        }
        let body = &mut block.body;
        put(body, zigzag(entry.at.millis().wrapping_sub(before)));
        before = entry.at.millis();
        put_word(body, &mut words, clip(&entry.kind, MAX_KIND_BYTES));
        put_text(body, clip_text(&entry.text));
        put(body, entry.devices.len().min(MAX_DEVICE_TRAITS) as u64);
        for device in entry.devices.iter().take(MAX_DEVICE_TRAITS) {
            put_word(body, &mut words, clip_text(device));
        }
        block.entries = block.entries.saturating_add(1);
        block.oldest = block.oldest.min(entry.at);
        block.newest = block.newest.max(entry.at);
        taken = taken.saturating_add(1);
    }
    (block, taken)
}

/// The entries of a block, in their order; of a damaged one those before the damage.
pub(super) fn unpack(body: &[u8]) -> Vec<TimelineEntry> {
    let mut entries = Vec::new();
    let Some((&FORM, rest)) = body.split_first() else { return entries };
    let mut reader = Reader { rest, words: Vec::new() };
    let mut before = 0_i64;
    while let Some(entry) = reader.entry(&mut before) {
        entries.push(entry);
    }
    entries
}

fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn put(body: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        body.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    put(body, text.len() as u64);
    body.extend_from_slice(text.as_bytes());
}

/// A word that the block has already is a number, the first being 1; 0 and a text is another word.
fn put_word<'a>(body: &mut Vec<u8>, words: &mut HashMap<&'a str, u64>, word: &'a str) {
    let next = (words.len() as u64).saturating_add(1);
    match words.entry(word) {
        std::collections::hash_map::Entry::Occupied(known) => put(body, *known.get()),
        std::collections::hash_map::Entry::Vacant(free) => {
            free.insert(next);
            put(body, 0);
            put_text(body, word);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    words: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn entry(&mut self, before: &mut i64) -> Option<TimelineEntry> {
        *before = before.wrapping_add(unzigzag(self.number()?));
        let kind = self.word()?.to_owned();
        let text = self.text()?.to_owned();
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= MAX_DEVICE_TRAITS)?;
        let devices: Option<BTreeSet<String>> = (0..count).map(|_| self.word().map(str::to_owned)).collect();
        Some(TimelineEntry { at: Timestamp::from_millis(*before), kind, text, devices: devices? })
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn word(&mut self) -> Option<&'a str> {
        match self.number()? {
            0 => {
                let word = self.text()?;
                self.words.push(word);
                Some(word)
            }
            known => self.words.get(usize::try_from(known).ok()?.checked_sub(1)?).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64, kind: &str, text: &str, devices: &[&str]) -> TimelineEntry {
        let devices = devices.iter().map(|device| (*device).to_owned()).collect();
        TimelineEntry { at: Timestamp::from_millis(at), kind: kind.to_owned(), text: text.to_owned(), devices }
    }

    fn back(blocks: &[Block]) -> Vec<TimelineEntry> {
        blocks.iter().flat_map(|block| unpack(&block.body)).collect()
    }

    #[test]
    fn entries_come_back_in_their_order_whatever_their_instants() {
        let mut entries =
            vec![entry(i64::MAX, "x", "", &[]), entry(i64::MIN, "", "ä", &["a", "b"]), entry(0, "x", "y", &["b"])];
        entries
            .extend((0..5_000).map(|n| entry(1_767_571_200_000 + n * 2, "logon", &format!("user {n}"), &["10.0.0.1"])));
        let blocks = pack(&entries);
        assert_eq!(back(&blocks), entries);
        assert_eq!(blocks.iter().map(|block| block.entries).sum::<u64>(), 5_003);
        let first = &blocks[0];
        assert_eq!((first.oldest.millis(), first.newest.millis()), (i64::MIN, i64::MAX));
        assert!(pack(&[]).is_empty());
    }

    #[test]
    fn a_block_is_bounded_and_long_texts_are_cut() {
        let long = "\u{1F600}".repeat(10_000);
        let many: Vec<String> = (0..100).map(|n| format!("{n}{long}")).collect();
        let devices: Vec<&str> = many.iter().map(String::as_str).collect();
        let blocks = pack(&[entry(0, &long, &long, &devices), entry(0, "a", "b", &[])]);
        assert_eq!(blocks.len(), 2);
        assert!(blocks[0].body.len() < 40_000);
        let entries = back(&blocks);
        assert_eq!((entries[0].text.chars().count(), entries[0].devices.len()), (256, MAX_DEVICE_TRAITS));
        assert_eq!(entries[1], entry(0, "a", "b", &[]));
    }

    #[test]
    fn a_damaged_block_gives_what_is_before_the_damage() {
        let entries: Vec<TimelineEntry> = (0..20).map(|n| entry(n, "k", &format!("t{n}"), &["d"])).collect();
        let body = pack(&entries).remove(0).body;
        for end in 0..body.len() {
            assert!(entries.starts_with(&unpack(&body[..end])), "cut at {end}");
        }
        for at in 0..body.len() {
            let mut broken = body.clone();
            broken[at] = 0xff;
            assert!(unpack(&broken).len() <= body.len());
        }
    }
}
