//! Published rule packages.

use watchpost_core::content::RulesManifest;
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// A published rule package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePackageRow {
    /// What it says about itself; its build date is the key.
    pub manifest: RulesManifest,
    /// Its package.
    pub target: TargetRef,
    /// When it was published.
    pub published_at: Timestamp,
    /// When it was pulled back.
    pub pulled_back_at: Option<Timestamp>,
}

const TABLE: &str = "rule_packages";

impl Transaction {
    /// Adds a rule package.
    ///
    /// # Errors
    /// When the build was published before or the store fails.
    pub async fn insert_rule_package(&mut self, package: &RulePackageRow) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO rule_packages (build, workspace_id, target_name, target_sha256, target_length, manifest, \
             published_at, pulled_back_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(package.manifest.build.millis())
        .bind(workspace)
        .bind(&package.target.name)
        .bind(&package.target.sha256)
        .bind(i64::try_from(package.target.length).unwrap_or(i64::MAX))
        .bind(to_json(TABLE, &package.manifest)?)
        .bind(package.published_at.millis())
        .bind(package.pulled_back_at.map(Timestamp::millis))
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// Notes that a rule package was pulled back. The first time counts.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pull_back_rule_package(&mut self, build: Timestamp, at: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "UPDATE rule_packages SET pulled_back_at = $1 \
             WHERE workspace_id = $2 AND build = $3 AND pulled_back_at IS NULL",
        )
        .bind(at.millis())
        .bind(workspace)
        .bind(build.millis())
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All rule packages, oldest build first.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn rule_packages(&mut self) -> Result<Vec<RulePackageRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT target_name, target_sha256, target_length, manifest, published_at, pulled_back_at \
             FROM rule_packages WHERE workspace_id = $1 ORDER BY build",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, TABLE, "target_name");
            Ok(RulePackageRow {
                manifest: cells.json("manifest")?,
                target: cells.target()?,
                published_at: cells.instant("published_at")?,
                pulled_back_at: cells.optional_instant("pulled_back_at")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
