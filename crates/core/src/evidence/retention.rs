//! What goes next when evidence outgrows its budgets: the oldest of what is missed least.
//!
//! Within a kind nothing newer goes before something older; an alert that the control plane does not have goes last.

use crate::policy::RetentionPolicy;
use crate::time::Timestamp;

/// Alerts or devices that go in one step, when they have to: few, because each step looks again.
pub const CUT_ITEMS: u64 = 256;

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stock {
    /// Bytes in use.
    pub bytes: u64,
    /// Entries of the timeline.
    pub timeline_events: u64,
    /// There are alerts that the control plane has.
    pub has_taken_alerts: bool,
    /// There are devices.
    pub has_devices: bool,
    /// There are alerts that the control plane does not have yet.
    pub has_waiting_alerts: bool,
}

/// How much of it there may be, after room was left for what is about to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// Entries of the timeline.
    pub timeline_events: u64,
}

/// One step towards fitting; always the oldest of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// So many entries of the timeline.
    TimelineEvents(u64),
    /// Entries of the timeline that take so many bytes.
    TimelineBytes(u64),
    /// So many alerts that the control plane has.
    TakenAlerts(u64),
    /// So many devices.
    Devices(u64),
    /// So many alerts that the control plane does not have.
    WaitingAlerts(u64),
}

/// The next step; `None`: it fits, or nothing is left.
#[must_use]
pub fn next_cut(stock: &Stock, room: &Room) -> Option<Cut> {
    let events = stock.timeline_events.saturating_sub(room.timeline_events);
    if events > 0 {
        return Some(Cut::TimelineEvents(events));
    }
    let bytes = stock.bytes.saturating_sub(room.bytes);
    match stock {
        _ if bytes == 0 => None,
        Stock { timeline_events: 1.., .. } => Some(Cut::TimelineBytes(bytes)),
        Stock { has_taken_alerts: true, .. } => Some(Cut::TakenAlerts(CUT_ITEMS)),
        Stock { has_devices: true, .. } => Some(Cut::Devices(CUT_ITEMS)),
        Stock { has_waiting_alerts: true, .. } => Some(Cut::WaitingAlerts(CUT_ITEMS)),
        Stock { .. } => None,
    }
}

/// Alerts that were raised before have had their time.
#[must_use]
pub fn alerts_before(policy: &RetentionPolicy, now: Timestamp) -> Timestamp {
    now - policy.alerts
}

/// Devices last seen before have had their time.
#[must_use]
pub fn devices_before(policy: &RetentionPolicy, now: Timestamp) -> Timestamp {
    now - policy.devices
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { bytes: 100, timeline_events: 10 };

    #[test]
    fn what_fits_stays() {
        let stock = Stock { bytes: 100, timeline_events: 10, has_taken_alerts: true, ..Stock::default() };
        assert_eq!(next_cut(&stock, &ROOM), None);
    }

    #[test]
    fn what_is_missed_least_goes_first_and_what_nobody_else_has_goes_last() {
        let mut stock = Stock {
            bytes: 130,
            timeline_events: 12,
            has_taken_alerts: true,
            has_devices: true,
            has_waiting_alerts: true,
        };
        assert_eq!(next_cut(&stock, &ROOM), Some(Cut::TimelineEvents(2)));
        stock.timeline_events = 10;
        assert_eq!(next_cut(&stock, &ROOM), Some(Cut::TimelineBytes(30)));
        stock.timeline_events = 0;
        assert_eq!(next_cut(&stock, &ROOM), Some(Cut::TakenAlerts(CUT_ITEMS)));
        stock.has_taken_alerts = false;
        assert_eq!(next_cut(&stock, &ROOM), Some(Cut::Devices(CUT_ITEMS)));
        stock.has_devices = false;
        assert_eq!(next_cut(&stock, &ROOM), Some(Cut::WaitingAlerts(CUT_ITEMS)));
        stock.has_waiting_alerts = false;
        assert_eq!(next_cut(&stock, &ROOM), None);
    }

    #[test]
    fn ninety_days_are_kept_to_the_millisecond() {
        let (policy, now) = (RetentionPolicy::default(), Timestamp::from_millis(7_776_000_000));
        assert_eq!(alerts_before(&policy, now), Timestamp::from_millis(0));
        assert_eq!(devices_before(&policy, now), Timestamp::from_millis(0));
    }
}
