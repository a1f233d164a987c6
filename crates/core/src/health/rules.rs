//! What opens and closes issues: facts and the clock, bound by what a person did.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hold, Issue, IssueStatus, IssueType};
use crate::sensor::{Context, Sensor};
use crate::time::Timestamp;

/// An issue that was opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub kind: IssueType,
    /// Opened, else closed.
    pub opened: bool,
    /// What was seen.
    pub reason: String,
}

/// The conditions that hold for a sensor, each with what was seen.
#[must_use]
pub fn conditions(sensor: &Sensor, context: &Context<'_>) -> BTreeMap<IssueType, String> {
    let mut found = BTreeMap::new();
    if context.now >= context.silent_since(sensor) + context.policy.contact.stopped_communicating_after {
        let since = context.silent_since(sensor);
        found.insert(IssueType::SensorStoppedCommunicating, format!("nothing was heard since {since}"));
    }
    if context.has_not_started(sensor) {
        let since = context.unpulled_since(sensor);
        found.insert(IssueType::SensorServiceFailedToStart, format!("no configuration was pulled since {since}"));
    }
    if let Some(failed) = sensor.update.standing_failure(context) {
        let went = if failed.reverted { "the host went back" } else { "the host stayed on its version" };
        let reason = format!("the update to {} failed and {went}: {}", failed.version, failed.reason);
        found.insert(IssueType::SensorOutdated, reason);
    } else if let Some(version) = sensor.version() {
        let behind = context.catalogue.releases_behind(version, context.now);
        if behind >= context.policy.rollout.outdated_from {
            found.insert(IssueType::SensorOutdated, format!("it is {behind} releases behind"));
        }
    }
    for word in &sensor.report.conditions {
        if let Some(kind) = IssueType::from_word(word) {
            // What the control plane sees for itself says more than the host's word for it.
            found.entry(kind).or_insert_with(|| "the host reports it".to_owned());
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
        let seen = found.get(&kind);
        let before = sensor.issues.get(&kind).is_some_and(Issue::is_open);
        match (sensor.issues.get_mut(&kind), seen) {
            (None, Some(reason)) => {
                sensor.issues.insert(kind, opened(reason.clone(), context.now));
            }
            (Some(issue), seen) => judge(issue, seen, context.now),
            (None, None) => {}
        }
        let after = sensor.issues.get(&kind);
        let is_open = after.is_some_and(Issue::is_open);
        if is_open != before {
            let reason = after.map(|issue| issue.reason.clone()).unwrap_or_default();
            changes.push(Change { kind, opened: is_open, reason });
        }
    }
    changes
}

fn opened(reason: String, now: Timestamp) -> Issue {
    Issue { status: IssueStatus::Open, opened_at: now, changed_at: now, reason, hold: Hold::None }
}

/// One issue against what is seen of its condition.
fn judge(issue: &mut Issue, seen: Option<&String>, now: Timestamp) {
    match (issue.status, issue.hold, seen) {
        (IssueStatus::Suppressed { until }, _, _) if now < until => {}
        (IssueStatus::Suppressed { .. }, _, None) => {
            issue.status = IssueStatus::Closed;
            issue.changed_at = now;
        }
        // Closed by hand: the condition must go before it can come back.
        (IssueStatus::Closed, Hold::ClosedByHand, Some(_)) => {}
        (IssueStatus::Closed, Hold::ClosedByHand, None) => issue.hold = Hold::None,
        (IssueStatus::Suppressed { .. } | IssueStatus::Closed, _, Some(reason)) => *issue = opened(reason.clone(), now),
        (IssueStatus::Closed, _, None) => {}
        // Reopened by hand: from the moment the condition is seen, the condition decides again.
        (IssueStatus::Open, Hold::ReopenedByHand, None) => {}
        (IssueStatus::Open, _, Some(reason)) => {
            issue.hold = Hold::None;
            issue.reason.clone_from(reason);
        }
        (IssueStatus::Open, Hold::None | Hold::ClosedByHand, None) => {
            issue.status = IssueStatus::Closed;
            issue.changed_at = now;
        }
    }
}

/// The next instant at which a suppression of this sensor ends.
#[must_use]
pub fn next_change(sensor: &Sensor, now: Timestamp) -> Option<Timestamp> {
    let ends = sensor.issues.values().filter_map(|issue| match issue.status {
        IssueStatus::Suppressed { until } => Some(until),
        IssueStatus::Open | IssueStatus::Closed => None,
    });
    ends.filter(|at| *at > now).min()
}
