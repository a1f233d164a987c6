//! What a person does to a rollout.

use std::collections::BTreeMap;

use super::planner::Planner;
use super::{Event, Fleet, Rollout, RolloutState, What};
use crate::sensor::Sensor;
use crate::time::Timestamp;
use crate::version::Version;

/// Why an action is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// Nobody published that version here.
    #[error("there is no rollout of {0}: `watchpost rollouts list` names those there are")]
    NoRollout(Version),
    /// The action does not fit the state.
    #[error("the rollout of {version} is {state} and cannot be {action}")]
    WrongState {
        /// Of what.
        version: Version,
        /// What it is.
        state: &'static str,
        /// What was asked.
        action: &'static str,
    },
    /// A restart for what is not staged.
    #[error(
        "{version} is not staged on {sensor}, so there is nothing to restart for: `watchpost rollouts show {version}` tells who waits"
    )]
    NotStaged {
        /// Of what.
        version: Version,
        /// Where.
        sensor: String,
    },
    /// A retry of what did not fail.
    #[error("{version} has not failed on {sensor} and is not kept from it, so there is nothing to retry")]
    NothingToRetry {
        /// Of what.
        version: Version,
        /// Where.
        sensor: String,
    },
}

impl Planner {
    fn rollout(&mut self, version: Version) -> Result<&mut Rollout, ActionError> {
        self.rollouts.get_mut(&version).ok_or(ActionError::NoRollout(version))
    }

    /// Plans the rollout of a release that was just published. Planning it again changes nothing.
    pub fn publish(&mut self, version: Version, now: Timestamp) -> Option<Event> {
        if self.rollouts.contains_key(&version) {
            return None;
        }
        let rollout = Rollout {
            version,
            state: RolloutState::Planned,
            planned_at: now,
            acknowledged: BTreeMap::new(),
            peak_in_flight: 0,
            pace: BTreeMap::new(),
        };
        self.rollouts.insert(version, rollout);
        Some(Event { at: now, sensor: None, version, what: What::Planned })
    }

    /// Starts nobody until somebody resumes; who is in flight finishes.
    ///
    /// # Errors
    /// When there is no such rollout, or it is not one that could go on.
    pub fn pause(&mut self, version: Version, now: Timestamp) -> Result<Event, ActionError> {
        let rollout = self.rollout(version)?;
        if !rollout.state.hands_out() {
            let state = rollout.state.word();
            return Err(ActionError::WrongState { version, state, action: "paused" });
        }
        rollout.state = RolloutState::Paused;
        Ok(Event { at: now, sensor: None, version, what: What::Paused })
    }

    /// Goes on with a paused or halted rollout; acknowledges the failures seen so far.
    ///
    /// # Errors
    /// When there is no such rollout, or it neither is paused nor has halted.
    pub fn resume(&mut self, version: Version, fleet: &Fleet, now: Timestamp) -> Result<Event, ActionError> {
        let failures = Self::failures(fleet, version);
        let rollout = self.rollout(version)?;
        if !matches!(rollout.state, RolloutState::Paused | RolloutState::Halted { .. }) {
            let state = rollout.state.word();
            return Err(ActionError::WrongState { version, state, action: "resumed" });
        }
        rollout.acknowledged = failures;
        let is_begun = rollout.peak_in_flight > 0;
        rollout.state = if is_begun { RolloutState::Running } else { RolloutState::Planned };
        Ok(Event { at: now, sensor: None, version, what: What::Resumed })
    }

    /// Begins with a rollout that was held when its release was published.
    ///
    /// # Errors
    /// When there is no such rollout, or it has begun already.
    pub fn start(&mut self, version: Version, fleet: &Fleet, now: Timestamp) -> Result<Event, ActionError> {
        let rollout = self.rollout(version)?;
        if rollout.state != RolloutState::Paused || rollout.peak_in_flight > 0 {
            let state = if rollout.peak_in_flight > 0 { "begun already" } else { rollout.state.word() };
            return Err(ActionError::WrongState { version, state, action: "started" });
        }
        self.resume(version, fleet, now)
    }

    /// Ends a rollout for good; who is in flight finishes.
    ///
    /// # Errors
    /// When there is no such rollout, or it was aborted before.
    pub fn abort(&mut self, version: Version, now: Timestamp) -> Result<Event, ActionError> {
        let rollout = self.rollout(version)?;
        if rollout.state == RolloutState::Aborted {
            let state = rollout.state.word();
            return Err(ActionError::WrongState { version, state, action: "aborted" });
        }
        rollout.state = RolloutState::Aborted;
        Ok(Event { at: now, sensor: None, version, what: What::Aborted })
    }

    /// Orders one sensor to try a version again that failed there; ends its exclusion too.
    ///
    /// # Errors
    /// When there is no such rollout, or the version neither failed on that sensor nor is kept from it.
    pub fn retry(&mut self, version: Version, sensor: &mut Sensor) -> Result<(), ActionError> {
        self.rollout(version)?;
        let was_excluded = sensor.update.excluded.remove(&version);
        if was_excluded && !sensor.update.outcomes.contains_key(&version) {
            return Ok(());
        }
        if sensor.update.outcomes.get(&version).is_none_or(|outcome| outcome.cleared) {
            return Err(ActionError::NothingToRetry { version, sensor: sensor.name.clone() });
        }
        sensor.update.outcomes.remove(&version);
        sensor.update.failures.remove(&version);
        sensor.update.retry = Some(version);
        Ok(())
    }

    /// Keeps one sensor out of a rollout. An attempt under way finishes.
    ///
    /// # Errors
    /// When there is no such rollout.
    pub fn exclude(&mut self, version: Version, sensor: &mut Sensor) -> Result<(), ActionError> {
        self.rollout(version)?;
        sensor.update.excluded.insert(version);
        Ok(())
    }
}
