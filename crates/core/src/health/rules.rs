//! What opens and closes issues: facts and the clock, bound by what a person did.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{settle, suppression_ends};
use super::{Change, IssueType, Seen};
use crate::sensor::{Context, Sensor};
use crate::time::Timestamp;

/// The conditions that hold for a sensor, each with what was seen.
#[must_use]
pub fn conditions(sensor: &Sensor, context: &Context<'_>) -> BTreeMap<IssueType, Seen> {
    let mut found = BTreeMap::new();
    if context.now >= context.silent_since(sensor) + context.policy.contact.stopped_communicating_after {
        let since = context.silent_since(sensor);
        found.insert(IssueType::SensorStoppedCommunicating, Seen::new(&format!("nothing was heard since {since}")));
    }
    if context.has_not_started(sensor) {
        let since = context.unpulled_since(sensor);
        found.insert(
            IssueType::SensorServiceFailedToStart,
            Seen::new(&format!("no configuration was pulled since {since}")),
        );
    }
    if let Some(failed) = sensor.update.standing_failure(context) {
        let went = if failed.reverted { "the host went back" } else { "the host stayed on its version" };
        let reason = format!("the update to {} failed and {went}: {}", failed.version, failed.reason);
        found.insert(IssueType::SensorOutdated, Seen::new(&reason));
    } else if let Some(version) = sensor.version() {
        let behind = context.catalogue.releases_behind(version, context.now);
        if behind >= context.policy.rollout.outdated_from {
            found.insert(IssueType::SensorOutdated, Seen::new(&format!("it is {behind} releases behind")));
        }
    }
    for word in &sensor.report.conditions {
        if let Some(kind) = IssueType::from_word(word) {
            // What the control plane sees for itself says more than the host's word for it.
            found.entry(kind).or_insert_with(|| Seen::new("the host reports it"));
        }
    }
    found
}

/// Opens and closes the sensor's issues as the conditions and the clock say; tells what changed.
pub fn review(sensor: &mut Sensor, context: &Context<'_>) -> Vec<Change> {
    let found = conditions(sensor, context);
    if found.is_empty() && sensor.issues.is_empty() {
        return Vec::new();
    }
    let kinds: BTreeSet<IssueType> = sensor.issues.keys().chain(found.keys()).copied().collect();
    let mut changes = Vec::new();
    for kind in kinds {
        let mut slot = sensor.issues.remove(&kind);
        changes.extend(settle(&mut slot, kind, found.get(&kind), context.now));
        sensor.issues.extend(slot.map(|issue| (kind, issue)));
    }
    changes
}

/// The next instant at which a suppression of this sensor ends.
#[must_use]
pub fn next_change(sensor: &Sensor, now: Timestamp) -> Option<Timestamp> {
    suppression_ends(sensor.issues.values(), now)
}
