//! Which check-ins of a sensor came late, as far as that still matters. It is kept in memory alone and is empty for a
//! sensor that is on time; a restart of the control plane forgets it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::{ContactPolicy, NetworkPolicy, Policy};
use crate::time::Timestamp;

/// Most late check-ins that are remembered; with this many within the stretch the answer is clear.
const MAX_LATE: usize = 32;

/// A check-in that came late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Late {
    at: Timestamp,
    gap: Duration,
}

/// The late check-ins of one sensor, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Contacts(VecDeque<Late>);

/// From so long after the one before, a check-in is late: twice the jitter is allowed for.
fn late_after(policy: &ContactPolicy) -> Duration {
    policy.check_in * (100 + 2 * policy.check_in_jitter_percent) / 100
}

/// From so long after the one before, at least one check-in was missed: the sensor came back.
fn back_after(policy: &ContactPolicy) -> Duration {
    policy.check_in * 2 * 100_u32.saturating_sub(policy.check_in_jitter_percent) / 100
}

impl Contacts {
    /// Takes a check-in at `now` whose predecessor was at `before`; says whether it was late.
    pub fn heard(&mut self, before: Timestamp, now: Timestamp, policy: &Policy) -> bool {
        let gap = now.since(before);
        while self.0.front().is_some_and(|late| late.at + policy.network.unstable_within <= now) {
            self.0.pop_front();
        }
        let is_late = gap > late_after(&policy.contact);
        if is_late {
            if self.0.len() >= MAX_LATE {
                self.0.pop_front();
            }
            self.0.push_back(Late { at: now, gap });
        }
        is_late
    }

    fn recent(&self, now: Timestamp, policy: &NetworkPolicy) -> impl Iterator<Item = &Late> {
        let within = policy.unstable_within;
        self.0.iter().filter(move |late| late.at <= now && late.at + within > now)
    }

    /// Whether the connection comes and goes, and how: it came back too often, or too many check-ins were late.
    #[must_use]
    pub fn instability(&self, now: Timestamp, policy: &Policy) -> Option<String> {
        let (network, contact) = (&policy.network, &policy.contact);
        let (mut late, mut back, mut gaps) = (0_u32, 0_u32, Duration::ZERO);
        for one in self.recent(now, network) {
            late += 1;
            back += u32::from(one.gap >= back_after(contact));
            gaps += one.gap;
        }
        if late == 0 {
            return None;
        }
        let minutes = network.unstable_within.as_secs() / 60;
        if back >= network.unstable_reconnects {
            return Some(format!("the sensor came back {back} times within {minutes} minutes"));
        }
        let punctual = network.unstable_within.saturating_sub(gaps).as_millis() / contact.check_in.as_millis().max(1);
        let all = u128::from(late) + punctual;
        let is_unstable = u128::from(late) * 100 > u128::from(network.unstable_late_percent) * all;
        is_unstable.then(|| format!("{late} of {all} check-ins within {minutes} minutes were late"))
    }

    /// When the next late check-in stops to matter.
    #[must_use]
    pub fn changes_at(&self, now: Timestamp, policy: &Policy) -> Option<Timestamp> {
        self.recent(now, &policy.network).map(|late| late.at + policy.network.unstable_within).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    /// Check-ins with these gaps, in seconds; the instant of the last.
    fn after_gaps(gaps: &[u64]) -> (Contacts, Timestamp) {
        let (mut contacts, mut at) = (Contacts::default(), START);
        for gap in gaps {
            let before = at;
            at = at + Duration::from_secs(*gap);
            contacts.heard(before, at, &Policy::default());
        }
        (contacts, at)
    }

    #[test]
    fn who_is_on_time_within_the_jitter_leaves_no_trace() {
        let (contacts, _) = after_gaps(&[60, 66, 54, 66, 72]);
        assert_eq!(contacts, Contacts::default());
    }

    #[test]
    fn three_returns_within_fifteen_minutes_are_unstable_until_the_first_is_fifteen_minutes_old() {
        let policy = Policy::default();
        let (contacts, last) = after_gaps(&[120, 60, 120, 60]);
        assert_eq!(contacts.instability(last, &policy), None, "two only");
        // The three come back at 120, 300 and 420 s.
        let (contacts, last) = after_gaps(&[120, 60, 120, 120]);
        let why = "the sensor came back 3 times within 15 minutes";
        assert_eq!(contacts.instability(last, &policy).as_deref(), Some(why));
        let over = START + Duration::from_secs(120 + 900);
        assert_eq!(contacts.changes_at(last, &policy), Some(over));
        assert!(contacts.instability(over - Duration::from_secs(1), &policy).is_some());
        assert_eq!(contacts.instability(over, &policy), None);
    }

    #[test]
    fn more_than_a_fifth_of_late_check_ins_is_unstable() {
        let policy = Policy::default();
        // Two of 80 s: 740 s are left for 12 others, 2 of 14 are 14 %.
        let (contacts, last) = after_gaps(&[80, 60, 80]);
        assert_eq!(contacts.instability(last, &policy), None);
        // Three of 80 s: 660 s are left for 11 others, 3 of 14 are 21 %.
        let (contacts, last) = after_gaps(&[80, 60, 80, 80]);
        let why = "3 of 14 check-ins within 15 minutes were late";
        assert_eq!(contacts.instability(last, &policy).as_deref(), Some(why));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (contacts, _) = after_gaps(&[80; 100]);
        assert!(contacts.0.len() <= MAX_LATE);
    }
}
