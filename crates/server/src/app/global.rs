//! Health issues of the workspace: workers say what they see, the memory holds it, the store remembers what it opened.
//!
//! A source that has not looked since the server started opens and closes nothing: what it opened before stays.

use std::collections::BTreeMap;

use watchpost_core::health::Issue;
use watchpost_core::health::domains::{SOURCE, domain_conditions};
use watchpost_core::health::global::{Condition, GlobalIssues, GlobalKey, next_global_change, review_global};
use watchpost_core::id::IssueId;
use watchpost_core::time::Timestamp;
use watchpost_store::GlobalIssueRow;

use super::{App, AppError};
use crate::auth::secret::random_bits;
use crate::events::Event;

/// Issues of the workspace as they are held in memory.
#[derive(Default)]
pub(crate) struct Globals {
    issues: BTreeMap<String, GlobalIssues>,
    ids: BTreeMap<(String, GlobalKey), IssueId>,
    /// What each source said last; nothing before it looked for the first time.
    observed: BTreeMap<&'static str, Vec<Condition>>,
}

impl Globals {
    pub(super) fn over(rows: Vec<GlobalIssueRow>) -> Self {
        let mut globals = Self::default();
        rows.into_iter().for_each(|row| globals.take(row));
        globals
    }

    /// Takes a saved issue over.
    pub(super) fn take(&mut self, row: GlobalIssueRow) {
        let key = (row.kind, row.subject);
        self.ids.insert((row.source.clone(), key.clone()), row.id);
        self.issues.entry(row.source).or_default().insert(key, row.issue);
    }

    /// Every issue, with its id and who looks after it.
    pub(super) fn rows(&self) -> impl Iterator<Item = GlobalIssueRow> {
        self.ids.iter().filter_map(|((source, key), id)| {
            let issue = self.issues.get(source)?.get(key)?.clone();
            Some(GlobalIssueRow { id: *id, source: source.clone(), kind: key.0, subject: key.1.clone(), issue })
        })
    }

    /// One issue by its id.
    pub(super) fn find(&self, id: IssueId) -> Option<GlobalIssueRow> {
        self.rows().find(|row| row.id == id)
    }

    /// The issues that `source` has opened, open or not.
    pub(super) fn of_source(&self, source: &str) -> GlobalIssues {
        self.issues.get(source).cloned().unwrap_or_default()
    }

    /// The issues that what was observed changes at `now`, and when to look again.
    fn look(&self, now: Timestamp) -> (Vec<(&'static str, GlobalKey, Issue)>, Option<Timestamp>) {
        let (mut changed, mut wakes_at) = (Vec::new(), None);
        for (source, conditions) in &self.observed {
            let before = self.of_source(source);
            let mut after = before.clone();
            review_global(&mut after, conditions, now);
            wakes_at = [wakes_at, next_global_change(&after, now)].into_iter().flatten().min();
            let is_other = |(key, issue): &(GlobalKey, Issue)| before.get(key) != Some(issue);
            changed.extend(after.into_iter().filter(is_other).map(|(key, issue)| (*source, key, issue)));
        }
        (changed, wakes_at)
    }
}

impl App {
    /// Takes what `source` sees of the workspace: all conditions that hold, each time. What it does not say any longer
    /// has gone. Opens and closes issues, durable before it returns; the same conditions again cost no SQL.
    ///
    /// # Errors
    /// When the store fails; the conditions are kept, and the planner's next look opens and closes by them.
    pub async fn observe_global(&self, source: &'static str, conditions: Vec<Condition>) -> Result<(), AppError> {
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        self.fleet_mut(|fleet| fleet.globals.observed.insert(source, conditions));
        self.settle_global(self.0.clock.now()).await.map(drop)
    }

    /// Notes what the sensors together say of their domains.
    pub(super) fn observe_domains(&self) {
        let conditions = self.fleet_ref(|fleet| {
            let before = fleet.globals.of_source(SOURCE);
            domain_conditions(fleet.sensors.values(), &before, &self.0.policy.health)
        });
        self.fleet_mut(|fleet| fleet.globals.observed.insert(SOURCE, conditions));
    }

    /// Opens and closes by what was observed; says when to look again. The gate must be held.
    pub(super) async fn settle_global(&self, now: Timestamp) -> Result<Option<Timestamp>, AppError> {
        let (changed, wakes_at) = self.fleet_ref(|fleet| fleet.globals.look(now));
        if changed.is_empty() {
            return Ok(wakes_at);
        }
        let mut rows = Vec::with_capacity(changed.len());
        for (source, key, issue) in changed {
            let known = self.fleet_ref(|fleet| fleet.globals.ids.get(&(source.to_owned(), key.clone())).copied());
            let id = match known {
                Some(id) => id,
                None => IssueId::from_parts(now, random_bits()?),
            };
            rows.push(GlobalIssueRow { id, source: source.to_owned(), kind: key.0, subject: key.1, issue });
        }
        self.save_global(rows).await?;
        Ok(wakes_at)
    }

    pub(super) async fn save_global(&self, rows: Vec<GlobalIssueRow>) -> Result<(), AppError> {
        let mut tx = self.begin().await?;
        tx.save_global_issues(&rows).await?;
        tx.commit().await?;
        self.fleet_mut(|fleet| fleet.take_saved_global(rows));
        self.0.bus.announce(Event::Health);
        Ok(())
    }
}
