//! Keeps the record of a rehearsal: what the planner, the status list and the health rules said, and when.

use std::collections::BTreeMap;

use super::outcome::EventRow;
use crate::health::Change;
use crate::id::SensorId;
use crate::rollout::{Event, What};
use crate::sensor::SensorStatus;
use crate::time::{Timestamp, format_duration};
use crate::version::Version;

/// The events so far.
#[derive(Debug)]
pub(super) struct Recorder {
    start: Timestamp,
    rows: Vec<(Timestamp, EventRow)>,
    names: BTreeMap<SensorId, String>,
    /// Why a sensor was last passed over, until something else happens to it: the same is not said twice.
    passed_over: BTreeMap<(SensorId, Version), String>,
    /// What the planner decided and hosts did, as it was said.
    decisions: Vec<Event>,
}

impl Recorder {
    pub(super) fn new(start: Timestamp, names: BTreeMap<SensorId, String>) -> Self {
        Self { start, rows: Vec::new(), names, passed_over: BTreeMap::new(), decisions: Vec::new() }
    }

    fn add(&mut self, at: Timestamp, row: EventRow) {
        let row = EventRow { at: format_duration(at.since(self.start)), ..row };
        self.rows.push((at, row));
    }

    fn name(&self, id: SensorId) -> Option<String> {
        self.names.get(&id).cloned()
    }

    /// What the planner decided. A switch is told by the host itself, at the instant it happens.
    pub(super) fn planner(&mut self, event: &Event) {
        if event.what == What::Switched || self.is_repeated(event) {
            return;
        }
        self.decisions.push(event.clone());
        let reason = event.what.reason().map(str::to_owned);
        let row = EventRow { event: event.what.word().to_owned(), reason, ..EventRow::default() };
        let row = match event.sensor {
            Some(id) => EventRow { sensor: self.name(id), version: Some(event.version), ..row },
            None => EventRow { rollout: Some(event.version), ..row },
        };
        self.add(event.at, row);
    }

    fn is_repeated(&mut self, event: &Event) -> bool {
        let Some(id) = event.sensor else { return false };
        match (&event.what, event.what.reason()) {
            (What::Skipped { .. }, Some(reason)) => {
                let before = self.passed_over.insert((id, event.version), reason.to_owned());
                before.as_deref() == Some(reason)
            }
            _ => {
                self.passed_over.remove(&(id, event.version));
                false
            }
        }
    }

    pub(super) fn switched(&mut self, id: SensorId, version: Version, at: Timestamp) {
        self.decisions.push(Event { at, sensor: Some(id), version, what: What::Switched });
        let row = EventRow { event: "switched".to_owned(), version: Some(version), ..EventRow::default() };
        let row = EventRow { sensor: self.name(id), ..row };
        self.add(at, row);
    }

    pub(super) fn status(&mut self, id: SensorId, from: SensorStatus, to: SensorStatus, at: Timestamp) {
        let (from, to) = (Some(from.word().to_owned()), Some(to.word().to_owned()));
        let row = EventRow { event: "statusChanged".to_owned(), from, to, ..EventRow::default() };
        let row = EventRow { sensor: self.name(id), ..row };
        self.add(at, row);
    }

    pub(super) fn issue(&mut self, id: SensorId, change: &Change, at: Timestamp) {
        let event = if change.opened { "issueOpened" } else { "issueClosed" };
        let issue_type = Some(change.kind.word().to_owned());
        let row = EventRow { event: event.to_owned(), issue_type, ..EventRow::default() };
        let row = EventRow { sensor: self.name(id), ..row };
        self.add(at, row);
    }

    /// What the planner decided and hosts did, in the order in which it was said.
    pub(super) fn decisions(&self) -> &[Event] {
        &self.decisions
    }

    /// All events, in time order; at one instant in the order in which they were said.
    pub(super) fn into_rows(mut self) -> Vec<EventRow> {
        self.rows.sort_by_key(|(at, _)| *at);
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}
