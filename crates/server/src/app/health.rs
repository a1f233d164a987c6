//! A person's hand on a health issue: close, reopen, suppress. What the condition does afterwards, `core` says.

use serde_json::json;
use watchpost_core::health::{Issue, IssueStatus, IssueType};
use watchpost_core::id::{IssueId, SensorId};
use watchpost_core::time::Timestamp;
use watchpost_store::{GlobalIssueRow, IssueRow as SensorIssueRow, Transaction};

use super::views::IssueRow;
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// What a person asks of an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueStep {
    /// Closed until its condition has gone and come back.
    Close,
    /// Open until its condition is seen and goes, or a person closes it.
    Reopen,
    /// Not heard of for seven days.
    Suppress,
}

impl IssueStep {
    /// The step that leads to a status of the API.
    #[must_use]
    pub fn to_status(word: &str) -> Option<Self> {
        match word {
            "closed" => Some(Self::Close),
            "open" => Some(Self::Reopen),
            "suppressed" => Some(Self::Suppress),
            _ => None,
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Close => "healthIssue.close",
            Self::Reopen => "healthIssue.reopen",
            Self::Suppress => "healthIssue.suppress",
        }
    }
}

/// The API's word of a status.
#[must_use]
pub fn status_word(issue: &Issue) -> &'static str {
    match issue.status {
        IssueStatus::Open => "open",
        IssueStatus::Closed => "closed",
        IssueStatus::Suppressed { .. } => "suppressed",
    }
}

/// An issue as it is kept.
enum Found {
    Sensor(SensorIssueRow),
    Global(GlobalIssueRow),
}

impl Found {
    fn issue(&mut self) -> &mut Issue {
        match self {
            Self::Sensor(row) => &mut row.issue,
            Self::Global(row) => &mut row.issue,
        }
    }

    async fn save(&self, tx: &mut Transaction) -> Result<(), AppError> {
        match self {
            Self::Sensor(row) => tx.save_issues(std::slice::from_ref(row)).await?,
            Self::Global(row) => tx.save_global_issues(std::slice::from_ref(row)).await?,
        }
        Ok(())
    }
}

impl App {
    /// One health issue, of a sensor or of the workspace.
    ///
    /// # Errors
    /// When there is none with this id.
    pub fn health_issue(&self, id: &str) -> Result<IssueRow, AppError> {
        let found =
            id.parse().ok().and_then(|id: IssueId| self.health_issues().into_iter().find(|row| row.id == Some(id)));
        found.ok_or_else(|| AppError::NotFound { what: "health issue", id: id.chars().take(40).collect() })
    }

    /// Closes, reopens or suppresses a health issue. One that is so already stays as it is.
    ///
    /// # Errors
    /// When the principal may not, there is no such issue, or one that is closed is to be suppressed.
    pub async fn change_issue(
        &self,
        principal: &Principal,
        id: &str,
        step: IssueStep,
        reason: Option<String>,
    ) -> Result<IssueRow, AppError> {
        authorize(principal, Action::ManageHealth, Resource::Workspace)?;
        let row = self.health_issue(id)?;
        let Some(issue_id) = row.id else { return Ok(row) };
        let _busy = self.busy();
        {
            let _gate = self.0.gate.lock().await;
            let Some(mut found) = self.find_issue(issue_id, row.sensor, row.kind) else { return Ok(row) };
            let before = status_word(found.issue());
            if !self.take_step(found.issue(), step, self.0.clock.now())? {
                return self.health_issue(id);
            }
            let after = status_word(found.issue());
            let mut tx = self.begin().await?;
            found.save(&mut tx).await?;
            let (before, after) =
                (json!({ "status": before }), json!({ "status": after, "issueType": row.kind.word() }));
            self.audit(&mut tx, &principal.actor, step.action(), id, Some(before), Some(after), reason).await?;
            tx.commit().await?;
            self.remember_issue(found);
        }
        self.0.bus.announce(row.sensor.map_or(Event::Health, Event::Sensor));
        self.poke();
        self.health_issue(id)
    }

    fn find_issue(&self, id: IssueId, sensor: Option<SensorId>, kind: IssueType) -> Option<Found> {
        self.fleet_ref(|fleet| match sensor {
            Some(sensor) => {
                let issue = fleet.sensors.get(&sensor)?.issues.get(&kind)?.clone();
                Some(Found::Sensor(SensorIssueRow { id, sensor, kind, issue }))
            }
            None => fleet.globals.find(id).map(Found::Global),
        })
    }

    /// Takes the step; says whether that changed anything.
    fn take_step(&self, issue: &mut Issue, step: IssueStep, now: Timestamp) -> Result<bool, AppError> {
        match (step, issue.status) {
            (IssueStep::Close, IssueStatus::Closed) | (IssueStep::Reopen, IssueStatus::Open) => return Ok(false),
            (IssueStep::Close, IssueStatus::Open | IssueStatus::Suppressed { .. }) => issue.close(now),
            (IssueStep::Reopen, IssueStatus::Closed | IssueStatus::Suppressed { .. }) => issue.reopen(now),
            (IssueStep::Suppress, IssueStatus::Open | IssueStatus::Suppressed { .. }) => {
                issue.suppress(now + self.0.policy.health.suppressed_for, now);
            }
            (IssueStep::Suppress, IssueStatus::Closed) => {
                let why = "this issue is closed; only one that is open can be suppressed".to_owned();
                return Err(AppError::Refused { code: "wrongState", why });
            }
        }
        Ok(true)
    }

    fn remember_issue(&self, found: Found) {
        self.fleet_mut(|fleet| match found {
            Found::Sensor(row) => fleet.take_issue(row),
            Found::Global(row) => fleet.take_saved_global(vec![row]),
        });
    }
}
