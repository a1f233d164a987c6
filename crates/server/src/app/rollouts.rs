//! Rollouts: what they have come to, and the hand of a person on them.

use serde_json::json;
use watchpost_core::rollout::{ActionError, Event as Decision, Planner, Rollout, RolloutState, Summary};
use watchpost_core::sensor::{Context, Sensor};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::fleet::Fleet;
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// Most events of one rollout in one answer, the oldest first.
pub const MAX_EVENTS: u32 = 10_000;

/// A rollout with what it has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutView {
    /// Its state.
    pub rollout: Rollout,
    /// Its numbers.
    pub summary: Summary,
    /// When its release was published.
    pub published_at: Option<Timestamp>,
    /// Whom it waits for, in words.
    pub waiting_for: Option<String>,
}

impl RolloutView {
    /// Whether somebody wants to see it first: it moves, or a person or its failures hold it.
    #[must_use]
    pub fn needs_eyes(&self) -> bool {
        match self.rollout.state {
            RolloutState::Planned | RolloutState::Running | RolloutState::Halted { .. } | RolloutState::Paused => true,
            RolloutState::Completed => self.summary.is_moving(),
            RolloutState::Aborted => false,
        }
    }
}

/// One line of a rollout's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineRow {
    /// What happened.
    pub event: Decision,
    /// Name of the sensor it is about.
    pub sensor_name: Option<String>,
}

/// What a person asks of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Begin with one that was held when it was published.
    Start,
    /// Start nobody until somebody resumes; who is in flight finishes.
    Pause,
    /// Go on; the failures seen so far are acknowledged.
    Resume,
    /// End it for good; who is in flight finishes.
    Abort,
}

impl Steer {
    fn audited(self) -> &'static str {
        match self {
            Self::Start => "rollout.start",
            Self::Pause => "rollout.pause",
            Self::Resume => "rollout.resume",
            Self::Abort => "rollout.abort",
        }
    }

    /// Whether sensors may be started after it, so that a plan is stated first.
    fn begins(self) -> bool {
        match self {
            Self::Start | Self::Resume => true,
            Self::Pause | Self::Abort => false,
        }
    }
}

fn view(fleet: &Fleet, rollout: &Rollout, context: &Context<'_>) -> RolloutView {
    let summary = fleet.planner.summary(rollout.version, &fleet.sensors, context);
    let release = context.catalogue.get(rollout.version);
    let mut flying = fleet
        .sensors
        .values()
        .filter(|sensor| sensor.update.flight.as_ref().is_some_and(|flight| flight.version == rollout.version));
    let waiting_for = match (flying.next(), summary.gate_opens_at) {
        (Some(sensor), _) => fleet.planner.waiting_for(sensor, context).map(|what| format!("{}: {what}", sensor.name)),
        (None, Some(at)) => Some(format!("the delayed ring, which opens at {at}")),
        (None, None) => None,
    };
    RolloutView { rollout: rollout.clone(), summary, published_at: release.map(|r| r.published_at), waiting_for }
}

impl App {
    /// All rollouts, newest release first.
    #[must_use]
    pub fn rollouts_view(&self, now: Timestamp) -> Vec<RolloutView> {
        self.fleet_ref(|fleet| {
            let context = self.context(fleet, now);
            let mut views: Vec<_> = fleet.planner.rollouts.values().map(|r| view(fleet, r, &context)).collect();
            views.sort_by_key(|view| std::cmp::Reverse((view.published_at, view.rollout.version)));
            views
        })
    }

    /// The rollout of one release.
    ///
    /// # Errors
    /// When there is none.
    pub fn rollout_view(&self, version: Version, now: Timestamp) -> Result<RolloutView, AppError> {
        let found = self.fleet_ref(|fleet| {
            let rollout = fleet.planner.rollouts.get(&version)?;
            Some(view(fleet, rollout, &self.context(fleet, now)))
        });
        found.ok_or_else(|| AppError::NotFound { what: "rollout of", id: version.to_string() })
    }

    /// What happened in a rollout, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn timeline(&self, version: Version) -> Result<Vec<TimelineRow>, AppError> {
        let mut tx = self.0.store.read(self.0.workspace).await?;
        let events = tx.rollout_events(version, MAX_EVENTS).await?;
        drop(tx);
        Ok(self.fleet_ref(|fleet| {
            let name = |event: &Decision| event.sensor.and_then(|id| fleet.sensors.get(&id)).map(|s| s.name.clone());
            events.into_iter().map(|event| TimelineRow { sensor_name: name(&event), event }).collect()
        }))
    }

    /// Why a sensor waits, in words.
    pub(super) fn waiting_for(fleet: &Fleet, sensor: &Sensor, context: &Context<'_>) -> Option<String> {
        fleet.planner.waiting_for(sensor, context)
    }

    /// Starts, pauses, resumes or aborts a rollout.
    ///
    /// # Errors
    /// When the principal may not, there is no such rollout, or its state does not allow it.
    pub async fn steer(
        &self,
        principal: &Principal,
        version: Version,
        steer: Steer,
        reason: Option<String>,
    ) -> Result<RolloutView, AppError> {
        authorize(principal, Action::SteerRollouts, Resource::Version(version))?;
        let _busy = self.busy();
        let release = self.fleet_ref(|fleet| fleet.catalogue.get(version).cloned());
        let plan = match release.filter(|_| steer.begins()) {
            Some(release) => self.draft_plan(release, self.0.clock.now()).await?,
            None => None,
        };
        {
            let _gate = self.0.gate.lock().await;
            let now = self.0.clock.now();
            let mut planner = self.fleet_ref(|fleet| fleet.planner.clone());
            let before = planner.rollouts.get(&version).map(|rollout| rollout.state.word());
            let event = self.act(&mut planner, version, steer, now)?;
            let after = planner.rollouts.get(&version).map(|rollout| rollout.state.word());
            let mut tx = self.begin().await?;
            self.save_rollout(&mut tx, &planner, version).await?;
            tx.append_rollout_events(std::slice::from_ref(&event)).await?;
            self.keep_plan(&mut tx, plan).await?;
            let (before, after) = (Some(json!({ "state": before })), Some(json!({ "state": after })));
            let subject = version.to_string();
            self.audit(&mut tx, &principal.actor, steer.audited(), &subject, before, after, reason).await?;
            tx.commit().await?;
            self.fleet_mut(|fleet| {
                fleet.planner = planner;
                fleet.rollout_was_saved(version);
            });
        }
        self.0.bus.announce(Event::Rollout(version));
        self.poke();
        self.rollout_view(version, self.0.clock.now())
    }

    fn act(&self, planner: &mut Planner, version: Version, steer: Steer, now: Timestamp) -> Result<Decision, AppError> {
        let done = match steer {
            Steer::Start => self.fleet_ref(|fleet| planner.start(version, &fleet.sensors, now)),
            Steer::Pause => planner.pause(version, now),
            Steer::Resume => self.fleet_ref(|fleet| planner.resume(version, &fleet.sensors, now)),
            Steer::Abort => planner.abort(version, now),
        };
        done.map_err(not_done)
    }
}

/// Why a person's act on a rollout was refused.
pub(super) fn not_done(error: ActionError) -> AppError {
    match error {
        ActionError::NoRollout(version) => AppError::NotFound { what: "rollout of", id: version.to_string() },
        ActionError::WrongState { .. } | ActionError::NothingToRetry { .. } | ActionError::NotStaged { .. } => {
            AppError::Refused { code: "wrongState", why: error.to_string() }
        }
    }
}
