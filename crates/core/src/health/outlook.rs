//! What holds for a sensor at an instant, and when that changes by itself: gathered in one pass over its facts.
//!
//! While nothing is heard from a sensor its facts grow old. They are judged as of the moment it fell silent, so that
//! what rests on them neither opens nor closes until it is heard of again.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::generation;
use super::{IssueType, Seen};
use crate::sensor::{Context, Sensor};
use crate::time::Timestamp;

/// What holds, what is not known, and when to ask again.
pub(super) struct Outlook<'a> {
    pub(super) sensor: &'a Sensor,
    pub(super) context: &'a Context<'a>,
    /// The instant as of which facts are judged.
    pub(super) facts_at: Timestamp,
    /// Facts are not judged as of any later instant.
    facts_until: Timestamp,
    /// The conditions that hold.
    pub(super) found: BTreeMap<IssueType, Seen>,
    /// Conditions nobody has looked at: their issues stay as they are.
    pub(super) unknown: BTreeSet<IssueType>,
    /// When something may change by itself.
    pub(super) wakes_at: Option<Timestamp>,
}

impl<'a> Outlook<'a> {
    pub(super) fn new(sensor: &'a Sensor, context: &'a Context<'a>) -> Self {
        let contact = sensor.last_contact.unwrap_or(sensor.created_at);
        let facts_until = contact + context.policy.contact.stopped_communicating_after;
        let facts_at = context.now.min(facts_until);
        let (found, unknown) = (BTreeMap::new(), BTreeSet::new());
        Self { sensor, context, facts_at, facts_until, found, unknown, wakes_at: None }
    }

    fn applies(&self, kind: IssueType) -> bool {
        kind.entry().is_for(self.sensor.kind, generation(self.sensor))
    }

    /// It holds. Types that are not for this sensor are passed over.
    pub(super) fn see(&mut self, kind: IssueType, seen: Seen) {
        if self.applies(kind) {
            self.found.insert(kind, seen);
        }
    }

    /// It holds, if there is something to list.
    pub(super) fn see_each(&mut self, kind: IssueType, lines: &[String]) {
        match lines {
            [] => {}
            [one] => self.see(kind, Seen::new(one)),
            several => self.see(kind, Seen::listing(&several.join("; "), several)),
        }
    }

    /// It holds from `at` on, by the clock alone.
    pub(super) fn see_from(&mut self, at: Timestamp, kind: IssueType, seen: Seen) {
        if self.context.now >= at {
            self.see(kind, seen);
        } else {
            self.wake(at);
        }
    }

    /// Whether a fact that counts from `at` on counts; otherwise asks again then, if its sensor may still be heard then.
    pub(super) fn is_due(&mut self, at: Timestamp) -> bool {
        if self.facts_at < at && at <= self.facts_until {
            self.wake(at);
        }
        self.facts_at >= at
    }

    /// Nobody has looked: an issue of it stays as it is.
    pub(super) fn keep(&mut self, kind: IssueType) {
        if self.applies(kind) {
            self.unknown.insert(kind);
        }
    }

    /// Something may change then.
    pub(super) fn wake(&mut self, at: Timestamp) {
        if at > self.context.now {
            self.wakes_at = Some(self.wakes_at.map_or(at, |before| before.min(at)));
        }
    }
}
