//! What goes up: each alert exactly once and every device's newest state, whatever happens to replies and processes.

use std::collections::{BTreeMap, VecDeque};

use watchpost_core::evidence::{Batch, MAX_BATCH_BYTES, MAX_BATCH_ITEMS};

use super::*;

/// A control plane that does what the contract says, and counts.
#[derive(Default)]
struct Server {
    taken: BTreeMap<String, u64>,
    alerts: BTreeMap<String, u32>,
    devices: BTreeMap<String, Device>,
}

impl Server {
    fn take(&mut self, json: &str) -> (String, u64) {
        assert!(json.len() <= MAX_BATCH_BYTES);
        let batch: Batch = serde_json::from_str(json).unwrap();
        assert!(batch.alerts.len() + batch.devices.len() <= MAX_BATCH_ITEMS);
        let taken = self.taken.entry(batch.stream.clone()).or_default();
        if batch.through > *taken {
            *taken = batch.through;
            for alert in batch.alerts {
                self.alerts.entry(alert.id).or_insert(0);
            }
            for device in batch.devices {
                device.replaces.iter().for_each(|key| drop(self.devices.remove(key)));
                self.devices.insert(device.key.clone(), device);
            }
        }
        (batch.stream, *taken)
    }
}

/// Chance with a seed: SplitMix (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What a kill leaves: the files as they are, without a word of goodbye.
fn killed(root: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("state")).unwrap();
    for file in fs::read_dir(root.join("state")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), copy.path().join("state").join(file.file_name())).unwrap();
    }
    copy
}

fn some(chance: &mut Chance, clock: &mut i64, given: &mut u64) -> Recorded {
    *clock += i64::try_from(chance.below(20)).unwrap() * MINUTE;
    let mut recorded = Recorded::default();
    for _ in 0..chance.below(300) {
        *given += 1;
        recorded.alerts.push(alert(*given));
    }
    for _ in 0..chance.below(8) {
        let hardware = chance.below(4);
        recorded.sightings.push(Sighting {
            hardware: (hardware > 0).then(|| format!("02:00:00:00:00:0{hardware}")),
            name: (chance.below(3) == 0).then(|| format!("name-{}", chance.below(40))),
            ..glimpse(*clock, &format!("10.0.0.{}", 1 + chance.below(6)))
        });
    }
    recorded.timeline.push(entry(*given, "given"));
    recorded
}

fn without_activity(device: &Device) -> Device {
    let mut device = Device { last_seen: at(0), ..device.clone() };
    // Their order is no news.
    device.addresses.sort();
    device.names.sort();
    device
}

fn campaign(seed: u64) {
    let mut chance = Chance(seed);
    let mut root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    let stream = evidence.stream().unwrap().to_owned();
    let (mut server, mut replies, mut clock, mut given) = (Server::default(), VecDeque::new(), 0, 0);
    for _ in 0..60 {
        match chance.below(10) {
            0..4 => {
                let recorded = some(&mut chance, &mut clock, &mut given);
                evidence.record(&recorded).unwrap();
                if chance.below(3) == 0 {
                    assert!(evidence.record(&Recorded { timeline: vec![], ..recorded }).unwrap().is_empty());
                }
            }
            4..7 => {
                if let Some((json, _)) = evidence.next_batch().unwrap() {
                    let reply = server.take(&json);
                    // A reply is lost, comes, or comes again later.
                    (0..chance.below(3)).for_each(|_| replies.push_back(reply.clone()));
                }
            }
            7..9 => {
                if let Some((stream, through)) = replies.remove(usize::try_from(chance.below(4)).unwrap()) {
                    evidence.taken(&stream, through).unwrap();
                }
            }
            _ => {
                let copy = killed(root.path());
                drop(evidence);
                root = copy;
                evidence = open(root.path());
            }
        }
    }
    while let Some((json, through)) = evidence.next_batch().unwrap() {
        let (stream, taken) = server.take(&json);
        assert!(taken >= through);
        evidence.taken(&stream, taken).unwrap();
    }
    let expected: Vec<String> = (1..=given).map(|n| alert(n).id).collect();
    assert_eq!(server.alerts.keys().cloned().collect::<Vec<_>>(), expected, "seed {seed}");
    assert_eq!(all_alerts(&mut evidence).len() as u64, given, "seed {seed}");
    let there: Vec<Device> = server.devices.values().map(without_activity).collect();
    let here: Vec<Device> = evidence.devices().map(without_activity).collect();
    assert_eq!(there, here, "seed {seed}");
    for device in evidence.devices() {
        let told = server.devices[&device.key].last_seen;
        assert!(device.last_seen.since(told) < RetentionPolicy::default().device_told_every, "seed {seed}");
    }
    assert_eq!(evidence.waiting().unwrap(), 0);
    assert_eq!(evidence.stream().unwrap(), stream, "seed {seed}");
}

#[test]
fn each_alert_arrives_once_and_each_device_as_it_is_now() {
    (1..=30).for_each(campaign);
}

#[test]
fn the_same_items_come_again_until_they_are_taken_and_never_after() {
    let root = tempfile::tempdir().unwrap();
    let mut evidence = open(root.path());
    evidence.record(&Recorded { alerts: (1..=500).map(alert).collect(), ..Recorded::default() }).unwrap();
    let (first, through) = evidence.next_batch().unwrap().unwrap();
    assert_eq!(evidence.next_batch().unwrap().unwrap(), (first.clone(), through));
    let stream = evidence.stream().unwrap().to_owned();
    evidence.taken("another", through).unwrap();
    drop(evidence);
    let mut evidence = open(root.path());
    assert_eq!(evidence.next_batch().unwrap().unwrap().0, first);
    evidence.taken(&stream, through).unwrap();
    evidence.taken(&stream, 1).unwrap();
    drop(evidence);
    let mut evidence = open(root.path());
    let batch: Batch = serde_json::from_str(&evidence.next_batch().unwrap().unwrap().0).unwrap();
    assert_eq!(batch.alerts[0], alert(through + 1));
    assert_eq!(evidence.waiting().unwrap(), 500 - through);
}

#[test]
fn a_store_that_was_put_back_from_an_old_copy_begins_a_stream_and_loses_nothing() {
    for (before, after) in [(10, 1), (250, 300)] {
        let root = tempfile::tempdir().unwrap();
        let mut evidence = open(root.path());
        let stream = evidence.stream().unwrap().to_owned();
        let old = killed(root.path());
        let mut server = Server::default();
        evidence.record(&Recorded { alerts: (1..=before).map(alert).collect(), ..Recorded::default() }).unwrap();
        while let Some((json, _)) = evidence.next_batch().unwrap() {
            let (stream, taken) = server.take(&json);
            evidence.taken(&stream, taken).unwrap();
        }
        drop(evidence);
        // Its numbers begin again at 1, for other alerts.
        let mut evidence = open(old.path());
        let others = (1_000..1_000 + after).map(alert).collect();
        evidence.record(&Recorded { alerts: others, ..Recorded::default() }).unwrap();
        while let Some((json, _)) = evidence.next_batch().unwrap() {
            let (stream, taken) = server.take(&json);
            evidence.taken(&stream, taken).unwrap();
        }
        assert_ne!(evidence.stream().unwrap(), stream);
        assert_eq!(server.alerts.len() as u64, before + after);
    }
}
