//! What the script does to the fleet: releases, behaviour, people.

use super::plan;
use super::scenario::{Deed, ReleaseSpec, Step};
use super::simulation::Simulation;
use crate::id::SensorId;
use crate::rollout::{ActionError, Event, RolloutState};
use crate::time::Timestamp;
use crate::version::Version;

impl Simulation<'_> {
    pub(super) fn publish(&mut self, spec: &ReleaseSpec, now: Timestamp) {
        // A release that was made up as history of a sensor cannot come again: the check refused it.
        self.catalogue.insert(plan::published(spec, self.scenario.start));
        if let Some(event) = self.planner.publish(spec.version, now) {
            self.say(&event);
        }
        self.published.push(spec.version);
        for id in self.kept_out.clone() {
            self.exclude(id, Some(spec.version));
        }
        self.step.is_news = true;
        self.step.judge_all = true;
    }

    /// A host goes off or on, or what it reports changes.
    pub(super) fn behave(&mut self, index: usize, now: Timestamp) {
        self.rouse(index, now);
        self.step.touched.insert(index);
        let Some(member) = self.members.get_mut(index).filter(|member| !member.is_deleted) else { return };
        member.host.follow_script(now);
        member.checks_in_at = member.host.can_talk().then(|| member.beat.next(now));
        self.wake_host(index, now);
    }

    /// A person does something. What the product would refuse changes nothing here either.
    pub(super) fn operate(&mut self, step: &Step, now: Timestamp) {
        self.step.is_news = true;
        if let (Deed::Pause | Deed::Resume | Deed::Abort, Some(version)) = (step.deed, step.version) {
            if let Ok(event) = self.steer(step.deed, version, now) {
                self.say(&event);
            }
            return;
        }
        let found = self.scenario.sensors.iter().position(|spec| Some(&spec.name) == step.sensor.as_ref());
        let Some((index, id)) = found.and_then(|index| Some((index, self.members.get(index)?.id))) else { return };
        self.step.touched.insert(index);
        let Some(sensor) = self.fleet.get_mut(&id) else { return };
        match step.deed {
            Deed::SetDelayed => sensor.delayed = step.value.unwrap_or(sensor.delayed),
            Deed::RemoveFromDirectory => sensor.removed_from_directory = true,
            Deed::Retry => self.retry(id, step.version),
            Deed::Exclude => self.exclude(id, step.version),
            Deed::Delete => {
                self.fleet.remove(&id);
                if let Some(member) = self.members.get_mut(index) {
                    member.is_deleted = true;
                }
            }
            Deed::Pause | Deed::Resume | Deed::Abort => {}
        }
    }

    fn steer(&mut self, deed: Deed, version: Version, now: Timestamp) -> Result<Event, ActionError> {
        let refused = ActionError::WrongState { version, state: "completed", action: "changed" };
        match deed {
            Deed::Pause | Deed::Abort if self.is_over(version, now) => Err(refused),
            Deed::Pause => self.planner.pause(version, now),
            Deed::Resume => self.planner.resume(version, &self.fleet, now),
            Deed::Abort => self.planner.abort(version, now),
            Deed::SetDelayed | Deed::Retry | Deed::Exclude | Deed::Delete | Deed::RemoveFromDirectory => Err(refused),
        }
    }

    /// Whether a rollout is completed and nobody is left who could come back to it.
    fn is_over(&self, version: Version, now: Timestamp) -> bool {
        let is_completed = self.planner.rollouts.get(&version).is_some_and(|r| r.state == RolloutState::Completed);
        let summary = self.planner.summary(version, &self.fleet, &self.context(now));
        is_completed && summary.pending + summary.skipped + summary.in_flight == 0
    }

    /// A retry without a version is about the one that failed last.
    fn retry(&mut self, id: SensorId, version: Option<Version>) {
        self.kept_out.remove(&id);
        let Some(sensor) = self.fleet.get_mut(&id) else { return };
        sensor.update.excluded.clear();
        let failed = sensor.update.outcomes.iter().rev().find(|(_, outcome)| !outcome.cleared);
        let version = version.or_else(|| failed.map(|(version, _)| *version));
        if let Some(version) = version {
            // Nothing has failed: there is nothing to try again.
            let _ = self.planner.retry(version, sensor);
        }
    }

    /// An exclusion without a version holds for every release until a retry.
    fn exclude(&mut self, id: SensorId, version: Option<Version>) {
        let versions = version.map_or_else(|| self.published.clone(), |version| vec![version]);
        if version.is_none() {
            self.kept_out.insert(id);
        }
        let Some(sensor) = self.fleet.get_mut(&id) else { return };
        for version in versions {
            // Every version named here was published before.
            let _ = self.planner.exclude(version, sensor);
        }
    }
}
