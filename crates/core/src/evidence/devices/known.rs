//! One device: its traits, and whether they are saved and told.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{Device, MAX_DEVICE_TRAITS};
use super::Changed;
use crate::time::Timestamp;

/// To what an instant of activity is rounded down, so that a chatty device is saved once a minute.
const MINUTE_MILLIS: i64 = 60_000;
/// What a device or a trait takes beside its text, roughly.
const ITEM_BYTES: usize = 64;

/// What a glimpse did to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// It is as it was.
    None,
    /// It is to be saved.
    Kept,
    /// It is to be saved, and the control plane to be told.
    News,
}

/// A device and how it stands.
#[derive(Clone, Debug)]
pub(super) struct Known {
    device: Device,
    told: Timestamp,
    is_news: bool,
    bytes: usize,
    /// Addresses and replaced keys that fell out of the lists since somebody looked.
    forgotten: (Vec<String>, Vec<String>),
}

fn to_the_minute(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.millis().saturating_sub(at.millis().rem_euclid(MINUTE_MILLIS)))
}

impl Known {
    /// One that nobody has seen before.
    pub(super) fn begun(key: &str, hardware: Option<&str>, at: Timestamp) -> Self {
        let device = Device {
            key: key.to_owned(),
            hardware: hardware.map(str::to_owned),
            first_seen: at,
            last_seen: to_the_minute(at),
            ..Device::default()
        };
        let told = device.last_seen;
        Self { is_news: true, ..Self::saved(device, told) }
    }

    /// One that is saved, and of which the control plane was told.
    pub(super) fn saved(device: Device, told: Timestamp) -> Self {
        let mut known = Self { device, told, is_news: false, bytes: 0, forgotten: (Vec::new(), Vec::new()) };
        known.weigh();
        known
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn into_device(self) -> Device {
        self.device
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn changed(&self) -> Changed<'_> {
        let told = if self.is_news { self.device.last_seen } else { self.told };
        Changed { device: &self.device, is_news: self.is_news, told }
    }

    pub(super) fn settle(&mut self) {
        self.told = self.changed().told;
        self.is_news = false;
    }

    pub(super) fn unsettle(&mut self) {
        self.is_news = true;
    }

    /// Addresses that the device has lost, and keys that it has ceased to replace, since the last call.
    pub(super) fn take_forgotten(&mut self) -> (Vec<String>, Vec<String>) {
        std::mem::take(&mut self.forgotten)
    }

    pub(super) fn seen_at(&mut self, at: Timestamp, told_every: Duration) -> Change {
        let minute = to_the_minute(at);
        let is_earlier = at < self.device.first_seen;
        if is_earlier {
            self.device.first_seen = at;
        }
        if minute <= self.device.last_seen {
            return self.note(if is_earlier { Change::News } else { Change::None });
        }
        self.device.last_seen = minute;
        let is_due = minute.since(self.told) >= told_every;
        self.note(if is_earlier || is_due { Change::News } else { Change::Kept })
    }

    pub(super) fn add_address(&mut self, address: &str) -> Change {
        if self.device.addresses.last().is_some_and(|last| last == address) {
            return Change::None;
        }
        let change = append(&mut self.device.addresses, address.to_owned(), &mut self.forgotten.0);
        self.note(change)
    }

    pub(super) fn lose_address(&mut self, address: &str) -> Change {
        self.device.addresses.retain(|other| other != address);
        self.note(Change::News)
    }

    pub(super) fn add_name(&mut self, name: String) -> Change {
        let change = append(&mut self.device.names, name, &mut Vec::new());
        self.note(change)
    }

    pub(super) fn add_protocol(&mut self, protocol: String, is_server: bool) -> Change {
        let list = if is_server { &mut self.device.serves } else { &mut self.device.uses };
        let change = insert(list, protocol);
        self.note(change)
    }

    pub(super) fn stop_replacing(&mut self, key: &str) -> Change {
        self.device.replaces.retain(|other| other != key);
        self.note(Change::News)
    }

    /// Takes over everything of a device that turned out to be this one.
    pub(super) fn absorb(&mut self, was: Device) -> Change {
        let device = &mut self.device;
        device.first_seen = device.first_seen.min(was.first_seen);
        let is_older = was.last_seen <= device.last_seen;
        device.last_seen = device.last_seen.max(was.last_seen);
        merge(&mut device.addresses, was.addresses, is_older, &mut self.forgotten.0);
        merge(&mut device.names, was.names, is_older, &mut Vec::new());
        for word in was.serves {
            insert(&mut device.serves, word);
        }
        for word in was.uses {
            insert(&mut device.uses, word);
        }
        let replaced = was.replaces.into_iter().chain([was.key]).collect();
        merge(&mut device.replaces, replaced, false, &mut self.forgotten.1);
        self.note(Change::News)
    }

    fn note(&mut self, change: Change) -> Change {
        self.is_news |= change == Change::News;
        if change == Change::News {
            self.weigh();
        }
        change
    }

    fn weigh(&mut self) {
        let device = &self.device;
        let lists = [&device.addresses, &device.names, &device.replaces].into_iter().flatten();
        let texts = lists.chain(&device.serves).chain(&device.uses).chain(&device.hardware).chain([&device.key]);
        self.bytes = texts.fold(ITEM_BYTES, |sum, text| sum.saturating_add(text.len()).saturating_add(ITEM_BYTES));
    }
}

/// Puts `value` last. What falls out at the front is `lost`.
fn append(list: &mut Vec<String>, value: String, lost: &mut Vec<String>) -> Change {
    match list.iter().position(|other| *other == value) {
        Some(at) if at.saturating_add(1) == list.len() => return Change::None,
        Some(at) => {
            list.remove(at);
            list.push(value);
            return Change::Kept;
        }
        None => list.push(value),
    }
    let surplus = list.len().saturating_sub(MAX_DEVICE_TRAITS);
    lost.extend(list.drain(..surplus));
    Change::News
}

/// Adds to a list without an order while there is room: there are few protocols, and more claims than these are noise.
fn insert(list: &mut BTreeSet<String>, value: String) -> Change {
    let has_room = list.len() < MAX_DEVICE_TRAITS || list.contains(&value);
    if has_room && list.insert(value) { Change::News } else { Change::None }
}

fn merge(list: &mut Vec<String>, other: Vec<String>, is_older: bool, lost: &mut Vec<String>) {
    let (first, last) = if is_older { (other, std::mem::take(list)) } else { (std::mem::take(list), other) };
    *list = first;
    for value in last {
        append(list, value, lost);
    }
}
