//! What people set about all rollouts: durable, audited, and in force from the planner's next look on.

use serde_json::json;
use watchpost_core::rollout::RolloutSettings;

use super::shelves::refused;
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;

impl App {
    /// What is set.
    #[must_use]
    pub fn rollout_settings(&self) -> RolloutSettings {
        self.fleet_ref(|fleet| fleet.rollout_settings().clone())
    }

    /// Sets it. What is the same already changes nothing.
    ///
    /// # Errors
    /// When the principal may not, a value is out of its limits, or the store fails.
    pub async fn set_rollout_settings(
        &self,
        principal: &Principal,
        settings: RolloutSettings,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        authorize(principal, Action::ManageSensors, Resource::Workspace)?;
        settings.validate().map_err(|error| refused("badSettings", error.to_string()))?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let before = self.rollout_settings();
        if before == settings {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        tx.save_rollout_settings(&settings).await?;
        let (was, is) = (Some(json!(before)), Some(json!(settings)));
        self.audit(&mut tx, &principal.actor, "rollouts.configure", "rollouts", was, is, reason).await?;
        tx.commit().await?;
        self.fleet_mut(|fleet| fleet.take_rollout_settings(settings));
        self.0.bus.announce(Event::Settings);
        self.poke();
        Ok(())
    }
}
