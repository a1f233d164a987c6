//! Which addresses are home, and whose hardware address a packet carries. Pure.
//!
//! A router's hardware address stands on the packets of everybody behind it; it must never become theirs.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use watchpost_core::time::Timestamp;

use super::config::PRIVATE_NETWORKS;

/// How long a hardware address must have carried one network address alone before it is taken for that device's own.
const SETTLES_AFTER: Duration = Duration::from_secs(60);
/// Hardware addresses that are remembered.
const NEIGHBOURS_LIMIT: usize = 16_384;

/// The networks that devices are looked for in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(Vec<(IpAddr, u8)>);

impl Home {
    /// Home as the settings have it; none: the private ranges. What is no network is passed over.
    #[must_use]
    pub fn new(networks: &BTreeSet<String>) -> Self {
        let parse = |text: &str| {
            let (address, length) = text.split_once('/')?;
            Some((address.parse().ok()?, length.parse().ok()?))
        };
        if networks.is_empty() {
            return Self(PRIVATE_NETWORKS.iter().filter_map(|text| parse(text)).collect());
        }
        Self(networks.iter().filter_map(|text| parse(text)).collect())
    }

    /// The address, if it is that of one device at home.
    #[must_use]
    pub fn device(&self, text: &str) -> Option<IpAddr> {
        let address: IpAddr = text.parse().ok()?;
        let is_single = !address.is_multicast() && !address.is_unspecified() && !address.is_loopback();
        let is_link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        let is_home = is_link_local || self.0.iter().any(|(network, length)| within(address, *network, *length));
        (is_single && !is_broadcast && is_home).then_some(address)
    }
}

fn within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let length = u32::from(length);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32u32.saturating_sub(length)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128u32.saturating_sub(length)).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Hardware addresses and what they carried.
#[derive(Debug, Default)]
pub struct Neighbours(HashMap<String, Carried>);

#[derive(Debug)]
enum Carried {
    /// One network address, since.
    One(Ipv4Addr, Timestamp),
    /// Several: a router, or a device that changed its address, which DHCP tells.
    Several,
}

impl Neighbours {
    /// Whether `hardware`, seen on a packet of `address`, is known to be that device's own.
    pub fn is_own(&mut self, hardware: &str, address: IpAddr, now: Timestamp) -> bool {
        let address = match address {
            // Never routed, so whoever sends it is on this very network.
            IpAddr::V6(v6) => return v6.is_unicast_link_local(),
            IpAddr::V4(v4) => v4,
        };
        if let Some(carried) = self.0.get_mut(hardware) {
            return match carried {
                Carried::One(known, since) if *known == address => now.since(*since) >= SETTLES_AFTER,
                Carried::One(..) | Carried::Several => {
                    *carried = Carried::Several;
                    false
                }
            };
        }
        if self.0.len() >= NEIGHBOURS_LIMIT {
            self.0.clear();
        }
        self.0.insert(hardware.to_owned(), Carried::One(address, now));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_single_addresses_at_home() {
        let home = Home::new(&BTreeSet::new());
        for good in ["10.0.0.1", "172.31.255.1", "192.168.7.9", "fd00::1", "fe80::1", "169.254.1.1"] {
            assert!(home.device(good).is_some(), "{good}");
        }
        for bad in ["8.8.8.8", "172.32.0.1", "224.0.0.251", "255.255.255.255", "0.0.0.0", "2001:db8::1", "ff02::1", "x"]
        {
            assert!(home.device(bad).is_none(), "{bad}");
        }
        let all = Home::new(&BTreeSet::from(["0.0.0.0/0".to_owned()]));
        assert!(all.device("8.8.8.8").is_some() && all.device("2001:db8::1").is_none());
        let one = Home::new(&BTreeSet::from(["192.0.2.7/32".to_owned()]));
        assert!(one.device("192.0.2.7").is_some() && one.device("192.0.2.6").is_none());
    }

    #[test]
    fn the_hardware_address_of_a_router_becomes_nobodys() {
        let mut neighbours = Neighbours::default();
        let (plc, hmi): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let start = Timestamp::from_millis(0);
        let later = start + SETTLES_AFTER;
        assert!(!neighbours.is_own("02:00:00:00:00:01", plc, start), "too early to tell");
        assert!(neighbours.is_own("02:00:00:00:00:01", plc, later));
        assert!(!neighbours.is_own("02:00:00:00:00:01", hmi, later), "it carries a second one");
        assert!(!neighbours.is_own("02:00:00:00:00:01", plc, later + SETTLES_AFTER));
        assert!(neighbours.is_own("02:00:00:00:00:02", "fe80::2".parse().unwrap(), start));
    }
}
