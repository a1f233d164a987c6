//! The devices that a sensor has seen: glimpses folded into one value each.
//!
//! Bounded in number, traits and bytes, whatever the traffic claims; the device that was silent longest goes first.

mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::known::{Change, Known};
use super::bounds::{MAX_NAME_BYTES, MAX_WORD_BYTES, clean, hardware_address, network_address};
use super::{Device, Sighting};
use crate::policy::RetentionPolicy;
use crate::time::Timestamp;

/// Most bytes of text of all devices together.
pub const MAX_DEVICES_BYTES: usize = 16 * 1024 * 1024;
/// When there are too many, this share of them goes at once: finding the oldest costs a look at all.
const DROPPED_SHARE: usize = 32;

/// All devices of one sensor.
#[derive(Clone, Debug)]
pub struct Devices {
    at_most: usize,
    bytes_at_most: usize,
    told_every: Duration,
    known: BTreeMap<String, Known>,
    /// Which device has an address.
    owners: BTreeMap<String, String>,
    /// Which device has replaced another, by the key of that one.
    replaced: BTreeMap<String, String>,
    bytes: usize,
    touched: BTreeSet<String>,
    gone: BTreeSet<String>,
}

/// One device that is not saved as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed<'a> {
    /// The device.
    pub device: &'a Device,
    /// The control plane should hear of it.
    pub is_news: bool,
    /// Its last activity as the control plane will know it, or knows it already.
    pub told: Timestamp,
}

impl Devices {
    /// No devices.
    #[must_use]
    pub fn new(policy: &RetentionPolicy) -> Self {
        Self {
            at_most: policy.devices_at_most,
            bytes_at_most: MAX_DEVICES_BYTES,
            told_every: policy.device_told_every,
            known: BTreeMap::new(),
            owners: BTreeMap::new(),
            replaced: BTreeMap::new(),
            bytes: 0,
            touched: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    /// Takes back a device that was saved, with what the control plane was told of its last activity.
    pub fn restore(&mut self, device: Device, told: Timestamp) {
        for address in &device.addresses {
            self.owners.insert(address.clone(), device.key.clone());
        }
        for key in &device.replaces {
            self.replaced.insert(key.clone(), device.key.clone());
        }
        let known = Known::saved(device, told);
        self.bytes = self.bytes.saturating_add(known.bytes());
        self.known.insert(known.device().key.clone(), known);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Every device, by key.
    pub fn all(&self) -> impl Iterator<Item = &Device> {
        self.known.values().map(Known::device)
    }

    /// The device that has this address, hardware address or key.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Device> {
        let key = self.owners.get(name).map_or(name, String::as_str);
        self.known.get(key).map(Known::device)
    }

    /// What was changed since [`Self::settle`].
    pub fn changed(&self) -> impl Iterator<Item = Changed<'_>> {
        self.touched.iter().filter_map(|key| self.known.get(key)).map(Known::changed)
    }

    /// Keys that were saved once and stand for no device.
    pub fn gone(&self) -> impl Iterator<Item = &str> {
        self.gone.iter().map(String::as_str)
    }

    /// All that was changed is saved, and what is news is on its way.
    pub fn settle(&mut self) {
        for key in &self.touched {
            if let Some(known) = self.known.get_mut(key) {
                known.settle();
            }
        }
        self.touched.clear();
        self.gone.clear();
    }

    /// Nothing of it is saved anywhere, and the control plane is to be told of every one.
    pub fn unsettle(&mut self) {
        self.gone.clear();
        self.touched = self.known.keys().cloned().collect();
        self.known.values_mut().for_each(Known::unsettle);
    }

    /// Folds one glimpse in. A glimpse that names no device is passed over.
    pub fn see(&mut self, sighting: &Sighting) {
        let hardware = sighting.hardware.as_deref().and_then(hardware_address);
        let address = sighting.address.as_deref().and_then(network_address);
        let Some(key) = self.whose(hardware, address.as_deref(), sighting.at) else { return };
        let name = sighting.name.as_deref().and_then(|name| clean(name, MAX_NAME_BYTES));
        let protocol = sighting.protocol.as_deref().and_then(|word| clean(word, MAX_WORD_BYTES));
        let told_every = self.told_every;
        self.change(&key, |known| {
            let mut change = known.seen_at(sighting.at, told_every);
            if let Some(address) = &address {
                change = change.max(known.add_address(address));
            }
            if let Some(name) = name {
                change = change.max(known.add_name(name));
            }
            if let Some(protocol) = protocol {
                change = change.max(known.add_protocol(protocol, sighting.is_server));
            }
            change
        });
        if let Some(address) = address {
            self.owners.insert(address, key);
        }
        if self.known.len() > self.at_most || self.bytes > self.bytes_at_most {
            self.drop_oldest((self.known.len() / DROPPED_SHARE).max(1));
        }
    }

    /// Drops the devices that were last seen before; gives how many.
    pub fn expire(&mut self, before: Timestamp) -> usize {
        let silent = |known: &&Known| known.device().last_seen < before;
        let keys: Vec<String> = self.known.values().filter(silent).map(|known| known.device().key.clone()).collect();
        keys.iter().for_each(|key| drop(self.remove(key)));
        keys.len()
    }

    /// Drops so many devices, those first that were silent longest; gives how many there were to drop.
    pub fn drop_oldest(&mut self, count: usize) -> usize {
        let mut by_age: Vec<(Timestamp, &String)> =
            self.known.iter().map(|(key, known)| (known.device().last_seen, key)).collect();
        by_age.sort_unstable();
        let keys: Vec<String> = by_age.into_iter().take(count).map(|(_, key)| key.clone()).collect();
        keys.iter().for_each(|key| drop(self.remove(key)));
        keys.len()
    }

    /// The key of the device that is meant, which is there when this returns.
    fn whose(&mut self, hardware: Option<String>, address: Option<&str>, at: Timestamp) -> Option<String> {
        let owner = address.and_then(|address| self.owners.get(address)).cloned();
        let Some(hardware) = hardware else {
            let key = owner.or_else(|| address.map(str::to_owned))?;
            self.begin(&key, None, at);
            return Some(key);
        };
        self.begin(&hardware, Some(&hardware), at);
        match (owner, address) {
            (Some(owner), Some(address)) if owner != hardware => self.hand_over(&owner, &hardware, address),
            (Some(_) | None, _) => {}
        }
        Some(hardware)
    }

    fn begin(&mut self, key: &str, hardware: Option<&str>, at: Timestamp) {
        if self.known.contains_key(key) {
            return;
        }
        // A device of that key stands for itself again.
        if let Some(by) = self.replaced.remove(key) {
            self.change(&by, |known| known.stop_replacing(key));
        }
        let known = Known::begun(key, hardware, at);
        self.bytes = self.bytes.saturating_add(known.bytes());
        self.known.insert(key.to_owned(), known);
        self.touched.insert(key.to_owned());
        self.gone.remove(key);
    }

    /// `address` belongs to the hardware `to`. A device known by nothing but that address was the same one all along;
    /// one with other hardware has lost a lease.
    fn hand_over(&mut self, from: &str, to: &str, address: &str) {
        let has_hardware = self.known.get(from).is_some_and(|known| known.device().hardware.is_some());
        if has_hardware {
            self.change(from, |known| known.lose_address(address));
        } else if let Some(was) = self.remove(from) {
            for key in was.replaces.iter().chain([&was.key]) {
                self.replaced.insert(key.clone(), to.to_owned());
            }
            self.change(to, |known| known.absorb(was));
        }
    }

    /// Lets `with` change a device, and keeps count of what that means.
    fn change(&mut self, key: &str, with: impl FnOnce(&mut Known) -> Change) {
        let Some(known) = self.known.get_mut(key) else { return };
        let before = known.bytes();
        let change = with(known);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(known.bytes());
        let (addresses, replaces) = known.take_forgotten();
        forget(&mut self.owners, &addresses, key);
        forget(&mut self.replaced, &replaces, key);
        if change > Change::None {
            self.touched.insert(key.to_owned());
        }
    }

    fn remove(&mut self, key: &str) -> Option<Device> {
        let known = self.known.remove(key)?;
        self.bytes = self.bytes.saturating_sub(known.bytes());
        let device = known.into_device();
        forget(&mut self.owners, &device.addresses, key);
        forget(&mut self.replaced, &device.replaces, key);
        self.touched.remove(key);
        self.gone.insert(key.to_owned());
        Some(device)
    }
}

/// Takes out of a lookup what points at a device that has gone.
fn forget(lookup: &mut BTreeMap<String, String>, names: &[String], key: &str) {
    for name in names {
        if lookup.get(name).is_some_and(|owner| owner == key) {
            lookup.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
