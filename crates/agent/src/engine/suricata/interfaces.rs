//! The network interfaces of the host, and what two looks at the engine's counters say about each.
//!
//! Looking needs no rights and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::LinkAddr;
use watchpost_core::facts::{InterfaceCounters, InterfaceFacts};
use watchpost_core::time::Timestamp;

/// How long an interface is quiet before it is called silent. On a small network a packet may come every quarter of a
/// minute; a fact that changed with every pause between two would cost a write at every check-in.
pub const QUIET_FOR: Duration = Duration::from_secs(60);
/// How long a loss stays a fact: drops come in bursts, and what comes back within the minute has not ended.
pub const LOSS_LASTS: Duration = Duration::from_secs(60);

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
    /// The end of the last window with a packet, or when listening began.
    last_packet_at: Timestamp,
    silent_since: Option<Timestamp>,
    /// Since when packets were lost, and when the last of them was.
    losing: Option<(Timestamp, Timestamp)>,
}

/// Turns samples of counters into states.
#[derive(Debug)]
pub struct Windows {
    heard: BTreeMap<String, Heard>,
    /// When the window under way began.
    began: Timestamp,
    quiet_for: Duration,
    loss_lasts: Duration,
}

impl Windows {
    /// Nothing was heard yet. Silence is told after `quiet_for`, a loss as long as `loss_lasts`.
    #[must_use]
    pub fn new(quiet_for: Duration, loss_lasts: Duration) -> Self {
        Self { heard: BTreeMap::new(), began: Timestamp::default(), quiet_for, loss_lasts }
    }

    /// An engine begins to listen: its counters begin at zero.
    pub fn engine_started(&mut self, interfaces: &BTreeSet<String>, now: Timestamp) {
        self.began = now;
        self.heard.retain(|name, _| interfaces.contains(name));
        for name in interfaces {
            let heard = self.heard.entry(name.clone()).or_default();
            heard.before = sum(heard.before, heard.last);
            heard.last = InterfaceCounters::default();
            if heard.silent_since.is_none() {
                heard.last_packet_at = now;
            }
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
            if packets > expected || dropped > 0 {
                heard.last_packet_at = now;
            }
            let is_silent = now.since(heard.last_packet_at) >= self.quiet_for;
            heard.silent_since = is_silent.then_some(heard.last_packet_at);
            heard.losing = heard.losing.filter(|(_, last)| dropped > 0 || now.since(*last) < self.loss_lasts);
            if dropped > 0 {
                heard.losing = Some((heard.losing.map_or(began, |(since, _)| since), now));
            }
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
                losing_since: heard.losing.map(|(since, _)| since),
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

    const NAME: &str = "eth1";

    fn windows() -> Windows {
        Windows::new(QUIET_FOR, LOSS_LASTS)
    }

    fn selected() -> BTreeSet<String> {
        BTreeSet::from([NAME.to_owned()])
    }

    /// Ends a window at `now`; says since when it is silent and losing.
    fn window(windows: &mut Windows, (packets, dropped): (u64, u64), own: u64, now: i64) -> [Option<Timestamp>; 2] {
        let counters = BTreeMap::from([(NAME.to_owned(), InterfaceCounters { packets, dropped })]);
        windows.sample(&counters, &BTreeMap::from([(NAME.to_owned(), own)]), at(now));
        let facts = windows.facts(&BTreeMap::new(), &selected(), &selected())[NAME].clone();
        [facts.silent_since, facts.losing_since]
    }

    #[test]
    fn silence_is_told_after_a_quiet_minute_and_ends_with_the_first_packet() {
        let mut windows = windows();
        windows.engine_started(&selected(), at(0));
        assert_eq!(window(&mut windows, (0, 0), 0, 59), [None; 2]);
        assert_eq!(window(&mut windows, (0, 0), 0, 60), [Some(at(0)), None], "nothing since the start");
        assert_eq!(window(&mut windows, (1, 0), 1, 70), [Some(at(0)), None], "our own canary is no traffic");
        assert_eq!(window(&mut windows, (1, 0), 1, 72), [Some(at(0)), None]);
        assert_eq!(
            window(&mut windows, (2, 0), 0, 74),
            [Some(at(0)), None],
            "nor is one that is counted a window late"
        );
        assert_eq!(window(&mut windows, (3, 0), 0, 76), [None; 2]);
        assert_eq!(window(&mut windows, (3, 0), 0, 135), [None; 2]);
        assert_eq!(window(&mut windows, (3, 0), 0, 136), [Some(at(76)), None], "since the last packet");
        windows.engine_started(&selected(), at(140));
        assert_eq!(window(&mut windows, (0, 0), 0, 150), [Some(at(76)), None], "another engine breaks no silence");
    }

    #[test]
    fn a_network_with_a_packet_every_fifteen_seconds_reports_unchanged_facts() {
        let mut windows = windows();
        windows.engine_started(&selected(), at(0));
        for ended in 1..=60_u64 {
            let now = ended * 10;
            let facts = window(&mut windows, (now / 15, 0), 0, i64::try_from(now).unwrap());
            assert_eq!(facts, [None; 2], "at {now} s");
        }
    }

    #[test]
    fn a_loss_is_told_until_a_minute_after_the_last() {
        let mut windows = windows();
        windows.engine_started(&selected(), at(0));
        assert_eq!(window(&mut windows, (5, 0), 0, 30), [None; 2]);
        assert_eq!(window(&mut windows, (6, 7), 0, 40), [None, Some(at(30))]);
        for (dropped, now) in [(7, 50), (9, 99), (9, 110), (9, 158)] {
            assert_eq!(
                window(&mut windows, (now, dropped), 0, i64::try_from(now).unwrap()),
                [None, Some(at(30))],
                "{now}"
            );
        }
        assert_eq!(window(&mut windows, (200, 9), 0, 159), [None; 2]);
        assert_eq!(window(&mut windows, (201, 10), 0, 160), [None, Some(at(159))], "another loss, since another time");
    }

    #[test]
    fn counters_outlive_the_engine() {
        let mut windows = windows();
        let counters = |packets| BTreeMap::from([(NAME.to_owned(), InterfaceCounters { packets, dropped: 1 })]);
        windows.engine_started(&selected(), at(0));
        windows.sample(&counters(100), &BTreeMap::new(), at(10));
        windows.engine_started(&selected(), at(20));
        windows.sample(&counters(3), &BTreeMap::new(), at(30));
        assert_eq!(windows.counters()[NAME], InterfaceCounters { packets: 103, dropped: 2 });
    }

    #[test]
    fn the_loopback_of_this_host_is_there_and_left_out() {
        let there = look().unwrap();
        assert!(there["lo"].is_loopback);
        assert!(!windows().facts(&there, &BTreeSet::new(), &BTreeSet::new()).contains_key("lo"));
    }
}
