//! Folding, against the sentences of the evidence's contract and against a naive model.

use proptest::prelude::*;

use super::*;
use crate::evidence::{MAX_BATCH_BYTES, MAX_DEVICE_TRAITS};

const H1: &str = "02:00:00:00:00:01";
const H2: &str = "02:00:00:00:00:02";
const MINUTE: i64 = 60_000;

fn devices() -> Devices {
    Devices::new(&RetentionPolicy::default())
}

fn glimpse(minute: i64, hardware: Option<&str>, address: Option<&str>) -> Sighting {
    Sighting {
        at: Timestamp::from_millis(minute * MINUTE + 7),
        hardware: hardware.map(str::to_owned),
        address: address.map(str::to_owned),
        ..Sighting::default()
    }
}

fn news(devices: &mut Devices) -> Vec<String> {
    let keys = devices.changed().filter(|changed| changed.is_news).map(|changed| changed.device.key.clone()).collect();
    devices.settle();
    keys
}

#[test]
fn a_device_is_known_by_its_hardware_else_by_its_address() {
    let mut devices = devices();
    devices.see(&glimpse(1, None, Some("10.0.0.1")));
    devices.see(&Sighting { name: Some("plc-1\u{0}".into()), ..glimpse(2, Some(H1), Some("10.0.0.2")) });
    devices.see(&Sighting { protocol: Some("modbus".into()), is_server: true, ..glimpse(3, None, Some("10.0.0.2")) });
    devices.see(&glimpse(4, None, None));
    devices.see(&glimpse(4, Some("ff:ff:ff:ff:ff:ff"), Some("224.0.0.1")));
    let keys: Vec<&str> = devices.all().map(|device| device.key.as_str()).collect();
    assert_eq!(keys, [H1, "10.0.0.1"]);
    let plc = devices.find("10.0.0.2").unwrap();
    assert_eq!((plc.names.as_slice(), plc.hardware.as_deref()), (["plc-1".to_owned()].as_slice(), Some(H1)));
    assert!(plc.serves.contains("modbus") && plc.uses.is_empty());
    assert_eq!((plc.first_seen.millis(), plc.last_seen.millis()), (2 * MINUTE + 7, 3 * MINUTE));
}

#[test]
fn a_known_address_that_shows_its_hardware_is_the_same_device_under_another_key() {
    let mut devices = devices();
    devices.see(&Sighting { name: Some("hmi".into()), ..glimpse(1, None, Some("10.0.0.1")) });
    devices.settle();
    devices.see(&glimpse(5, Some(H1), Some("10.0.0.1")));
    assert_eq!(devices.gone().collect::<Vec<_>>(), ["10.0.0.1"]);
    assert_eq!(news(&mut devices), [H1]);
    let device = devices.find(H1).unwrap();
    assert_eq!((&device.names, &device.replaces), (&vec!["hmi".to_owned()], &vec!["10.0.0.1".to_owned()]));
    assert_eq!((device.first_seen.millis(), devices.count()), (MINUTE + 7, 1));
}

#[test]
fn a_lease_that_moves_takes_the_address_along() {
    let mut devices = devices();
    devices.see(&glimpse(1, Some(H1), Some("10.0.0.1")));
    devices.settle();
    devices.see(&glimpse(9, Some(H2), Some("10.0.0.1")));
    assert_eq!(news(&mut devices), [H1, H2]);
    assert!(devices.find(H1).unwrap().addresses.is_empty());
    devices.see(&glimpse(10, None, Some("10.0.0.1")));
    assert_eq!(devices.find("10.0.0.1").unwrap().key, H2);
}

#[test]
fn a_key_that_stands_for_itself_again_is_replaced_by_nobody() {
    let mut devices = devices();
    devices.see(&glimpse(1, None, Some("10.0.0.1")));
    devices.see(&glimpse(2, Some(H1), Some("10.0.0.1")));
    devices.see(&glimpse(3, Some(H2), Some("10.0.0.1")));
    devices.see(&glimpse(300_000, Some(H1), Some("10.0.0.9")));
    devices.settle();
    assert_eq!(devices.expire(Timestamp::from_millis(200_000 * MINUTE)), 1);
    devices.see(&glimpse(300_001, None, Some("10.0.0.1")));
    assert!(devices.find(H1).unwrap().replaces.is_empty());
    assert_eq!(devices.find("10.0.0.1").unwrap().key, "10.0.0.1");
}

#[test]
fn a_chatty_device_is_saved_once_a_minute_and_told_once_an_hour() {
    let mut devices = devices();
    devices.see(&glimpse(0, None, Some("10.0.0.1")));
    assert_eq!(news(&mut devices).len(), 1);
    let (mut saved, mut told) = (0, Vec::new());
    for second in 1..=7_200 {
        let at = Timestamp::from_millis(second * 1_000);
        devices.see(&Sighting { at, ..glimpse(0, None, Some("10.0.0.1")) });
        saved += devices.changed().count();
        if !news(&mut devices).is_empty() {
            told.push(second);
        }
    }
    assert_eq!((saved, told), (120, vec![3_600, 7_200]));
}

#[test]
fn traits_are_bounded_and_the_most_recent_stay() {
    let mut devices = devices();
    for n in 0..100 {
        let address = format!("10.0.1.{n}");
        let name = format!("{n}{}", "\"\u{1F600}".repeat(300));
        let protocol = Some(format!("{n}{}", "\\".repeat(300)));
        devices.see(&Sighting {
            name: Some(name),
            protocol,
            is_server: n % 2 == 0,
            ..glimpse(n, Some(H1), Some(&address))
        });
    }
    let device = devices.find(H1).unwrap();
    assert_eq!((device.addresses.len(), device.names.len()), (MAX_DEVICE_TRAITS, MAX_DEVICE_TRAITS));
    assert_eq!(device.addresses.last().unwrap(), "10.0.1.99");
    assert!(device.serves.len() <= MAX_DEVICE_TRAITS && device.uses.len() <= MAX_DEVICE_TRAITS);
    assert!(serde_json::to_vec(device).unwrap().len() < MAX_BATCH_BYTES - 1_024);
    assert!(devices.find("10.0.1.0").is_none(), "an address that fell out still leads to the device");
}

#[test]
fn a_flood_of_claims_drops_the_longest_silent() {
    let mut devices = Devices::new(&RetentionPolicy { devices_at_most: 64, ..RetentionPolicy::default() });
    for n in 0..1_000 {
        devices.see(&glimpse(n, None, Some(&format!("10.1.{}.{}", n / 250, n % 250 + 1))));
        assert!(devices.count() <= 64);
    }
    let oldest = devices.all().map(|device| device.last_seen.millis()).min().unwrap();
    let newest_kept = 999 * MINUTE - i64::try_from(devices.count() - 1).unwrap() * MINUTE;
    assert_eq!(oldest, newest_kept, "something newer went before something older");
    devices.bytes_at_most = devices.bytes - 1;
    devices.see(&glimpse(1_000, None, Some("10.9.9.9")));
    assert!(devices.bytes <= devices.bytes_at_most);
}

proptest! {
    #[test]
    fn lookups_always_agree_with_the_devices(
        glimpses in prop::collection::vec((0..3_u8, 0..6_u8, 0..500_i64), 1..200),
        few in 2..8_usize,
    ) {
        let mut devices = Devices::new(&RetentionPolicy { devices_at_most: few, ..RetentionPolicy::default() });
        for (hardware, address, minute) in glimpses {
            let hardware = (hardware > 0).then(|| format!("02:00:00:00:00:0{hardware}"));
            let address = (address > 0).then(|| format!("10.0.0.{address}"));
            let sighting = glimpse(minute, hardware.as_deref(), address.as_deref());
            devices.see(&sighting);
            let once: Vec<Device> = devices.all().cloned().collect();
            devices.see(&sighting);
            prop_assert_eq!(once, devices.all().cloned().collect::<Vec<_>>(), "the same glimpse changed it again");
            let mut owned = BTreeMap::new();
            let mut replaced = BTreeMap::new();
            for device in devices.all() {
                prop_assert!(device.hardware.as_ref().is_none_or(|hardware| *hardware == device.key));
                for address in &device.addresses {
                    let other = owned.insert(address.clone(), device.key.clone());
                    prop_assert!(other.is_none(), "two devices have {}", address);
                }
                for key in &device.replaces {
                    prop_assert!(!devices.known.contains_key(key), "{} is there and replaced", key);
                    replaced.insert(key.clone(), device.key.clone());
                }
            }
            prop_assert_eq!(&owned, &devices.owners);
            prop_assert_eq!(&replaced, &devices.replaced);
            prop_assert_eq!(devices.bytes, devices.known.values().map(Known::bytes).sum::<usize>());
            prop_assert!(devices.gone.iter().all(|key| !devices.known.contains_key(key)));
        }
    }
}
