//! Issues of the workspace: about a domain, a component, or several sensors at once. Whoever looks at one of these says
//! all conditions it sees; what it does not say has gone.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{line, settle, suppression_ends};
use super::{Change, Issue, IssueType, Seen};
use crate::time::Timestamp;

/// A condition that holds, of something other than one sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which type of issue it opens.
    pub kind: IssueType,
    /// What it is about: a domain such as `corp.example`, a component such as `director`.
    pub subject: String,
    /// What was seen, in one sentence.
    pub reason: String,
    /// One by one, where there are several.
    pub details: Vec<String>,
}

impl Condition {
    /// A condition without details.
    #[must_use]
    pub fn new(kind: IssueType, subject: &str, reason: &str) -> Self {
        Self { kind, subject: subject.to_owned(), reason: reason.to_owned(), details: Vec::new() }
    }

    /// What its issue is kept under.
    #[must_use]
    pub fn key(&self) -> GlobalKey {
        (self.kind, line(&self.subject))
    }
}

/// What an issue of the workspace is kept under: its type and what it is about.
pub type GlobalKey = (IssueType, String);
/// Issues of the workspace that one source looks after.
pub type GlobalIssues = BTreeMap<GlobalKey, Issue>;

/// An issue of the workspace that was opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalChange {
    /// What it is about.
    pub subject: String,
    /// What happened.
    pub change: Change,
}

/// Opens and closes the issues of one source as its conditions and the clock say; tells what changed. Of two conditions
/// under one key the first counts.
pub fn review_global(issues: &mut GlobalIssues, conditions: &[Condition], now: Timestamp) -> Vec<GlobalChange> {
    let mut found: BTreeMap<GlobalKey, Seen> = BTreeMap::new();
    for condition in conditions {
        found.entry(condition.key()).or_insert_with(|| Seen::listing(&condition.reason, &condition.details));
    }
    let keys: BTreeSet<GlobalKey> = issues.keys().chain(found.keys()).cloned().collect();
    let mut changes = Vec::new();
    for key in keys {
        let mut slot = issues.remove(&key);
        let change = settle(&mut slot, key.0, found.get(&key), now);
        changes.extend(change.map(|change| GlobalChange { subject: key.1.clone(), change }));
        issues.extend(slot.map(|issue| (key, issue)));
    }
    changes
}

/// The next instant at which a suppression ends.
#[must_use]
pub fn next_global_change(issues: &GlobalIssues, now: Timestamp) -> Option<Timestamp> {
    suppression_ends(issues.values(), now)
}
