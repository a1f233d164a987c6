//! One issue against what is seen of its condition, bound by what a person did. The same for sensors and for the whole.

use super::{Hold, Issue, IssueStatus, IssueType};
use crate::time::Timestamp;

/// Most characters of a reason, and of a detail: hosts and collectors write them.
pub const MAX_TEXT: usize = 300;
/// Most details of one issue.
pub const MAX_DETAILS: usize = 20;

/// What was seen of a condition that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// In one sentence.
    pub reason: String,
    /// One by one, where there are several.
    pub details: Vec<String>,
}

impl Seen {
    /// One thing.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self::listing(reason, Vec::<String>::new())
    }

    /// Several things, each in a line.
    #[must_use]
    pub fn listing(reason: &str, details: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let details = details.into_iter().take(MAX_DETAILS).map(|detail| line(detail.as_ref())).collect();
        Self { reason: line(reason), details }
    }
}

/// A text of somebody else as one line of bounded length, without control characters.
#[must_use]
pub fn line(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

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

/// Judges one issue that is there or not; says whether that opened or closed it.
pub(super) fn settle(slot: &mut Option<Issue>, kind: IssueType, seen: Option<&Seen>, now: Timestamp) -> Option<Change> {
    let before = slot.as_ref().is_some_and(Issue::is_open);
    match (slot.as_mut(), seen) {
        (None, Some(seen)) => *slot = Some(opened(seen, now)),
        (Some(issue), seen) => judge(issue, seen, now),
        (None, None) => {}
    }
    let after = slot.as_ref();
    let is_open = after.is_some_and(Issue::is_open);
    let reason = || after.map(|issue| issue.reason.clone()).unwrap_or_default();
    (is_open != before).then(|| Change { kind, opened: is_open, reason: reason() })
}

fn opened(seen: &Seen, now: Timestamp) -> Issue {
    let Seen { reason, details } = seen.clone();
    Issue { status: IssueStatus::Open, opened_at: now, changed_at: now, reason, details, hold: Hold::None }
}

/// One issue against what is seen of its condition.
fn judge(issue: &mut Issue, seen: Option<&Seen>, now: Timestamp) {
    match (issue.status, issue.hold, seen) {
        (IssueStatus::Suppressed { until }, _, _) if now < until => {}
        (IssueStatus::Suppressed { .. }, _, None) => {
            issue.status = IssueStatus::Closed;
            issue.changed_at = now;
        }
        // Closed by hand: the condition must go before it can come back.
        (IssueStatus::Closed, Hold::ClosedByHand, Some(_)) => {}
        (IssueStatus::Closed, Hold::ClosedByHand, None) => issue.hold = Hold::None,
        (IssueStatus::Suppressed { .. } | IssueStatus::Closed, _, Some(seen)) => *issue = opened(seen, now),
        (IssueStatus::Closed, _, None) => {}
        // Reopened by hand: from the moment the condition is seen, the condition decides again.
        (IssueStatus::Open, Hold::ReopenedByHand, None) => {}
        (IssueStatus::Open, _, Some(seen)) => {
            issue.hold = Hold::None;
            issue.reason.clone_from(&seen.reason);
            issue.details.clone_from(&seen.details);
        }
        (IssueStatus::Open, Hold::None | Hold::ClosedByHand, None) => {
            issue.status = IssueStatus::Closed;
            issue.changed_at = now;
        }
    }
}

/// The next instant at which one of these suppressions ends.
pub(super) fn suppression_ends<'a>(issues: impl Iterator<Item = &'a Issue>, now: Timestamp) -> Option<Timestamp> {
    let ends = issues.filter_map(|issue| match issue.status {
        IssueStatus::Suppressed { until } => Some(until),
        IssueStatus::Open | IssueStatus::Closed => None,
    });
    ends.filter(|at| *at > now).min()
}
