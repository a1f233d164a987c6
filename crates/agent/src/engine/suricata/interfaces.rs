//! The network interfaces of the host, and what two looks at the engine's counters say about each.
//!
//! Looking needs no rights and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::LinkAddr;
use watchpost_core::facts::{InterfaceCounters, InterfaceFacts};
use watchpost_core::time::Timestamp;

/// One interface that is there.
#[derive(Clone, Debug)]
pub struct Interface {
    /// It is up and has a link.
    pub up: bool,
    /// It is the loopback.
    pub is_loopback: bool,
    /// Its hardware address and number.
    pub link: Option<LinkAddr>,
}

/// The interfaces that are there, by name.
///
/// # Errors
/// When the system does not tell.
pub fn look() -> io::Result<BTreeMap<String, Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in getifaddrs()? {
        let link = entry.address.as_ref().and_then(|address| address.as_link_addr()).copied();
        let needed = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        let interface = found.entry(entry.interface_name).or_insert(Interface {
            up: entry.flags.contains(needed),
            is_loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            link: None,
        });
        interface.link = interface.link.or(link);
    }
    Ok(found)
}

/// What is known of one interface that is listened on.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// What the running engine said last.
    last: InterfaceCounters,
    /// What engines before this one counted.
    before: InterfaceCounters,
    /// Our own canaries that were not among the packets yet: the engine counts about a second late.
    own: u64,
    silent_since: Option<Timestamp>,
    losing_since: Option<Timestamp>,
}

/// Turns samples of counters into states.
#[derive(Debug, Default)]
pub struct Windows {
    heard: BTreeMap<String, Heard>,
    /// When the window under way began.
    began: Timestamp,
}

impl Windows {
    /// An engine begins to listen: its counters begin at zero.
    pub fn engine_started(&mut self, interfaces: &BTreeSet<String>, now: Timestamp) {
        self.began = now;
        self.heard.retain(|name, _| interfaces.contains(name));
        for name in interfaces {
            let heard = self.heard.entry(name.clone()).or_default();
            heard.before = sum(heard.before, heard.last);
            heard.last = InterfaceCounters::default();
        }
    }

    /// A window ends: `counters` is what the engine says, of which our own canaries were `own` packets.
    pub fn sample(
        &mut self,
        counters: &BTreeMap<String, InterfaceCounters>,
        own: &BTreeMap<String, u64>,
        now: Timestamp,
    ) {
        let began = std::mem::replace(&mut self.began, now);
        for (name, heard) in &mut self.heard {
            let Some(counted) = counters.get(name) else { continue };
            let own = own.get(name).copied().unwrap_or_default();
            let packets = counted.packets.saturating_sub(heard.last.packets);
            let dropped = counted.dropped.saturating_sub(heard.last.dropped);
            let expected = heard.own.saturating_add(own);
            heard.silent_since = (packets <= expected && dropped == 0).then(|| heard.silent_since.unwrap_or(began));
            heard.losing_since = (dropped > 0).then(|| heard.losing_since.unwrap_or(began));
            // Of one window only: a canary that was lost must not hide a packet for ever.
            heard.own = expected.saturating_sub(packets).min(own);
            heard.last = *counted;
        }
    }

    /// The facts about every interface that is there or should be.
    #[must_use]
    pub fn facts(
        &self,
        there: &BTreeMap<String, Interface>,
        selected: &BTreeSet<String>,
        listened: &BTreeSet<String>,
    ) -> BTreeMap<String, InterfaceFacts> {
        let named = there.iter().filter(|(_, interface)| !interface.is_loopback).map(|(name, _)| name);
        let names: BTreeSet<&String> = named.chain(selected).collect();
        let facts = |name: &String| {
            let heard = self.heard.get(name).filter(|_| listened.contains(name)).copied().unwrap_or_default();
            InterfaceFacts {
                selected: selected.contains(name),
                present: there.contains_key(name),
                up: there.get(name).is_some_and(|interface| interface.up),
                silent_since: heard.silent_since,
                losing_since: heard.losing_since,
            }
        };
        names.into_iter().map(|name| (name.clone(), facts(name))).collect()
    }

    /// What was counted since the sensor started, over all engines of its life.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, InterfaceCounters> {
        self.heard.iter().map(|(name, heard)| (name.clone(), sum(heard.before, heard.last))).collect()
    }
}

fn sum(a: InterfaceCounters, b: InterfaceCounters) -> InterfaceCounters {
    InterfaceCounters { packets: a.packets.saturating_add(b.packets), dropped: a.dropped.saturating_add(b.dropped) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn states_say_since_when_and_end_with_the_first_window_that_is_otherwise() {
        let selected = BTreeSet::from(["eth1".to_owned()]);
        let mut windows = Windows::default();
        windows.engine_started(&selected, at(0));
        let mut look = |packets, dropped, own, now| {
            let counters = BTreeMap::from([("eth1".to_owned(), InterfaceCounters { packets, dropped })]);
            windows.sample(&counters, &BTreeMap::from([("eth1".to_owned(), own)]), at(now));
            let facts = windows.facts(&BTreeMap::new(), &selected, &selected)["eth1"].clone();
            (facts.silent_since, facts.losing_since)
        };
        assert_eq!(look(0, 0, 0, 10), (Some(at(0)), None), "nothing since the start");
        assert_eq!(look(1, 0, 1, 20), (Some(at(0)), None), "our own canary is no traffic");
        assert_eq!(look(1, 0, 1, 22), (Some(at(0)), None));
        assert_eq!(look(2, 0, 0, 24), (Some(at(0)), None), "nor is one that is counted a window late");
        assert_eq!(look(3, 0, 0, 26), (None, None));
        assert_eq!(look(5, 0, 1, 30), (None, None));
        assert_eq!(look(5, 7, 0, 40), (None, Some(at(30))));
        assert_eq!(look(9, 9, 0, 50), (None, Some(at(30))));
        assert_eq!(look(9, 9, 0, 60), (Some(at(50)), None));
    }

    #[test]
    fn counters_outlive_the_engine() {
        let selected = BTreeSet::from(["eth1".to_owned()]);
        let mut windows = Windows::default();
        let counters = |packets| BTreeMap::from([("eth1".to_owned(), InterfaceCounters { packets, dropped: 1 })]);
        windows.engine_started(&selected, at(0));
        windows.sample(&counters(100), &BTreeMap::new(), at(10));
        windows.engine_started(&selected, at(20));
        windows.sample(&counters(3), &BTreeMap::new(), at(30));
        assert_eq!(windows.counters()["eth1"], InterfaceCounters { packets: 103, dropped: 2 });
    }

    #[test]
    fn the_loopback_of_this_host_is_there_and_left_out() {
        let there = look().unwrap();
        assert!(there["lo"].is_loopback);
        assert!(!Windows::default().facts(&there, &BTreeSet::new(), &BTreeSet::new()).contains_key("lo"));
    }
}
