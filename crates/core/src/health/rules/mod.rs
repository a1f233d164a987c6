//! What opens and closes the issues of a sensor: facts and the clock, bound by what a person did.
//!
//! An absent fact opens nothing. Whether it closes: a section that the host no longer reports because its settings no
//! longer ask for it closes; what nobody has looked at (name resolution, a check of a collector, the operating system,
//! everything of a sensor process that is down) stays as it was.

mod contact;
mod door;
mod engines;
mod host;
mod interfaces;
#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::Scope;
use super::judge::{settle, suppression_ends};
use super::outlook::Outlook;
use super::{Change, IssueStatus, IssueType, Seen};
use crate::sensor::{Context, Sensor};
use crate::time::Timestamp;

pub(super) use door::seen as door_seen;

/// Looks at everything that is known of a sensor.
fn look<'a>(sensor: &'a Sensor, context: &'a Context<'a>) -> Outlook<'a> {
    let mut outlook = Outlook::new(sensor, context);
    contact::look(&mut outlook);
    let facts = &sensor.report.facts;
    engines::look(&mut outlook, facts);
    interfaces::look(&mut outlook, facts);
    host::look(&mut outlook, facts);
    door::look(&mut outlook, &facts.door);
    for word in &sensor.report.conditions {
        if let Some(kind) = IssueType::from_word(word).filter(|kind| kind.entry().scope != Scope::Global) {
            // What the control plane sees for itself says more than the host's word for it.
            outlook.found.entry(kind).or_insert_with(|| Seen::new("the host reports it"));
        }
    }
    outlook
}

/// The conditions that hold for a sensor, each with what was seen.
#[must_use]
pub fn conditions(sensor: &Sensor, context: &Context<'_>) -> BTreeMap<IssueType, Seen> {
    look(sensor, context).found
}

/// Opens and closes the sensor's issues as the conditions and the clock say; tells what changed.
pub fn review(sensor: &mut Sensor, context: &Context<'_>) -> Vec<Change> {
    let Outlook { found, unknown, .. } = look(sensor, context);
    if found.is_empty() && sensor.issues.is_empty() {
        return Vec::new();
    }
    let kinds: BTreeSet<IssueType> = sensor.issues.keys().chain(found.keys()).copied().collect();
    let mut changes = Vec::new();
    for kind in kinds {
        let is_known = found.contains_key(&kind) || !unknown.contains(&kind);
        let last = sensor.issues.get(&kind).filter(|_| !is_known);
        let seen = match last.map(|issue| (issue.status, issue)) {
            // What nobody looks at any longer still holds for all we know, once it may be heard of again.
            Some((IssueStatus::Suppressed { until }, issue)) if until <= context.now => {
                Some(Seen { reason: issue.reason.clone(), details: issue.details.clone() })
            }
            Some(_) => continue,
            None => found.get(&kind).cloned(),
        };
        let mut slot = sensor.issues.remove(&kind);
        changes.extend(settle(&mut slot, kind, seen.as_ref(), context.now));
        sensor.issues.extend(slot.map(|issue| (kind, issue)));
    }
    changes
}

/// The next instant at which an issue of this sensor may open or close although nothing is heard of it.
#[must_use]
pub fn next_change(sensor: &Sensor, context: &Context<'_>) -> Option<Timestamp> {
    let suppressed = suppression_ends(sensor.issues.values(), context.now);
    [look(sensor, context).wakes_at, suppressed].into_iter().flatten().min()
}
