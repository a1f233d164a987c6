//! What a person orders of one sensor in one rollout: to be kept out of it, to try it again, or to restart.

use serde_json::json;
use watchpost_core::version::Version;

use super::rollouts::not_done;
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

/// The order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOrder {
    /// Keep it out; an attempt under way finishes.
    Exclude,
    /// Restart for a staged version as soon as it is its turn, whatever the switch says.
    RestartNow,
    /// Try a version again that failed here, or take part again after an exclusion.
    Retry,
}

impl App {
    /// Gives one sensor, by its id or name, an order about one rollout.
    ///
    /// # Errors
    /// When the principal may not, there is no such sensor or rollout, or nothing failed that could be tried again.
    pub async fn order_update(
        &self,
        principal: &Principal,
        version: Version,
        id_or_name: &str,
        order: UpdateOrder,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        authorize(principal, Action::SteerRollouts, Resource::Version(version))?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let found = self.fleet_ref(|fleet| {
            let sensor = fleet.find(id_or_name)?.clone();
            Some((fleet.kept(sensor.id)?.revision, sensor, fleet.planner.clone()))
        });
        let missing = || AppError::NotFound { what: "sensor", id: id_or_name.chars().take(64).collect() };
        let (revision, mut sensor, mut planner) = found.ok_or_else(missing)?;
        let action = match order {
            UpdateOrder::Exclude => {
                planner.exclude(version, &mut sensor).map_err(not_done)?;
                "rollout.exclude"
            }
            UpdateOrder::RestartNow => {
                planner.restart_now(version, &mut sensor).map_err(not_done)?;
                "rollout.restartNow"
            }
            UpdateOrder::Retry => {
                planner.retry(version, &mut sensor).map_err(not_done)?;
                "rollout.retry"
            }
        };
        let mut tx = self.begin().await?;
        tx.save_sensors(&[(&sensor, revision)]).await?;
        let after = Some(json!({ "version": version, "sensor": sensor.name }));
        self.audit(&mut tx, &principal.actor, action, &sensor.id.to_string(), None, after, reason).await?;
        tx.commit().await?;
        let id = sensor.id;
        self.fleet_mut(|fleet| fleet.take_saved(sensor));
        self.0.bus.announce(Event::Sensor(id));
        self.0.bus.announce(Event::Rollout(version));
        self.poke();
        Ok(())
    }
}
