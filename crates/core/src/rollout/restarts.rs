//! Restarts that a major release needs (E4): who may do them now, and who waits staged.
//!
//! A restart is part of an update attempt: it has its place in the order, the pace and the coverage like any other.

use super::planner::Planner;
use super::record::{Flight, UpdateRecord};
use super::{ActionError, Event, What};
use crate::catalogue::Catalogue;
use crate::restart::{RestartNeed, RestartSwitch};
use crate::sensor::{Context, Sensor};
use crate::sync::UpdateProgress;
use crate::time::Timestamp;
use crate::version::Version;

/// The restart that a version needs; none where nobody knows of one.
pub(super) fn need(version: Version, catalogue: &Catalogue) -> RestartNeed {
    catalogue.get(version).map_or(RestartNeed::None, |release| release.restart)
}

/// The switch in force for a sensor.
pub(super) fn switch(sensor: &Sensor, context: &Context<'_>) -> RestartSwitch {
    sensor.update.restart_for_major.unwrap_or(context.policy.rollout.restart_for_major)
}

/// Whether the sensor may begin with `version` now, restart and all.
pub(super) fn may_restart(sensor: &Sensor, version: Version, context: &Context<'_>) -> bool {
    !need(version, context.catalogue).is_needed()
        || sensor.update.restart_now == Some(version)
        || switch(sensor, context).allows(context.now)
}

/// Whether nothing is left to do for it until the restart is allowed.
pub(super) fn waits(sensor: &Sensor, version: Version, context: &Context<'_>) -> bool {
    sensor.update.staged == Some(version) && !may_restart(sensor, version, context)
}

/// When the hours begin in which a sensor that waits may restart.
pub(super) fn opens_at(sensor: &Sensor, version: Version, context: &Context<'_>) -> Option<Timestamp> {
    need(version, context.catalogue).is_needed().then(|| switch(sensor, context).opens_at(context.now)).flatten()
}

/// A sensor that only staged has done so: it leaves its place in the pace, and waits.
pub(super) fn staged(sensor: &mut Sensor, flight: &Flight, now: Timestamp) -> Option<Event> {
    let has_staged = matches!(sensor.report.update, UpdateProgress::Staged { version } if version == flight.version);
    if !flight.only_stages || !has_staged || sensor.report.generation < flight.generation {
        return None;
    }
    sensor.update.flight = None;
    sensor.update.staged = Some(flight.version);
    Some(Event { at: now, sensor: Some(sensor.id), version: flight.version, what: What::Staged })
}

/// What is staged and not wanted any more is given up on the host too: it is asked for what it runs.
pub(super) fn withdraw_staged(sensor: &mut Sensor, context: &Context<'_>, is_wanted: impl Fn(Version) -> bool) -> bool {
    let Some(version) = sensor.update.staged else { return false };
    let runs_it = sensor.version() == Some(version);
    if !runs_it && is_wanted(version) && !sensor.update.excluded.contains(&version) {
        return false;
    }
    let update: &mut UpdateRecord = &mut sensor.update;
    update.staged = None;
    update.restart_now.take_if(|ordered| *ordered == version);
    if !runs_it && update.flight.is_none() && update.desired.version == Some(version) {
        let running = sensor.report.version;
        update.want(running, true, context.catalogue);
    }
    true
}

impl Planner {
    /// Orders one sensor to take `version` with its restart as soon as it is its turn, whatever the switch says.
    ///
    /// # Errors
    /// When there is no such rollout, or the release is not staged there.
    pub fn restart_now(&mut self, version: Version, sensor: &mut Sensor) -> Result<(), ActionError> {
        self.rollouts.get(&version).ok_or(ActionError::NoRollout(version))?;
        if sensor.update.staged != Some(version) {
            return Err(ActionError::NotStaged { version, sensor: sensor.name.clone() });
        }
        sensor.update.restart_now = Some(version);
        Ok(())
    }
}
