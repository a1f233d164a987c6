//! Plans of rollouts, written once; and what people have set about rollouts.

use watchpost_core::rehearsal::RolloutPlan;
use watchpost_core::rollout::RolloutSettings;
use watchpost_core::version::Version;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// Plans that are kept of one rollout; the oldest go.
const PLANS_PER_ROLLOUT: u32 = 20;

const PLANS: &str = "rollout_plans";
const SETTINGS: &str = "rollout_settings";

impl Transaction {
    /// Adds a plan under its generation.
    ///
    /// # Errors
    /// When that rollout has a plan of this generation or the store fails.
    pub async fn insert_plan(&mut self, plan: &RolloutPlan) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO rollout_plans (workspace_id, version, generation, made_at, plan) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&workspace)
        .bind(plan.version.to_string())
        .bind(i64::from(plan.generation))
        .bind(plan.made_at.millis())
        .bind(to_json(PLANS, plan)?)
        .execute(self.statement())
        .await?;
        sqlx::query("DELETE FROM rollout_plans WHERE workspace_id = $1 AND version = $2 AND generation <= $3")
            .bind(workspace)
            .bind(plan.version.to_string())
            .bind(i64::from(plan.generation) - i64::from(PLANS_PER_ROLLOUT))
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// The newest plan of a rollout, or the one of this generation.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn plan(&mut self, version: Version, generation: Option<u32>) -> Result<Option<RolloutPlan>, StoreError> {
        let workspace = self.workspace.clone();
        let row = sqlx::query(
            "SELECT version, plan FROM rollout_plans WHERE workspace_id = $1 AND version = $2 \
             AND ($3 < 0 OR generation = $3) ORDER BY generation DESC LIMIT 1",
        )
        .bind(workspace)
        .bind(version.to_string())
        .bind(generation.map_or(-1, i64::from))
        .fetch_optional(self.statement())
        .await?;
        row.as_ref().map(|row| Cells::new(row, PLANS, "version").json("plan")).transpose()
    }

    /// What people have set about rollouts; the defaults if they never did.
    ///
    /// # Errors
    /// When the row cannot be read or the store fails.
    pub async fn rollout_settings(&mut self) -> Result<RolloutSettings, StoreError> {
        let workspace = self.workspace.clone();
        let row = sqlx::query("SELECT workspace_id, settings FROM rollout_settings WHERE workspace_id = $1")
            .bind(workspace)
            .fetch_optional(self.statement())
            .await?;
        let found = row.as_ref().map(|row| Cells::new(row, SETTINGS, "workspace_id").json("settings")).transpose()?;
        Ok(found.unwrap_or_default())
    }

    /// Keeps what people have set about rollouts.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_rollout_settings(&mut self, settings: &RolloutSettings) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO rollout_settings (workspace_id, settings) VALUES ($1, $2) \
             ON CONFLICT (workspace_id) DO UPDATE SET settings = excluded.settings",
        )
        .bind(workspace)
        .bind(to_json(SETTINGS, settings)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }
}
