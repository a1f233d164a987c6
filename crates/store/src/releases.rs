//! Published releases: the catalogue.

use watchpost_core::release::ReleaseManifest;
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

/// A published release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRow {
    /// What it says about itself; its version is the key.
    pub manifest: ReleaseManifest,
    /// Its package.
    pub target: TargetRef,
    /// When it was published.
    pub published_at: Timestamp,
    /// When it was pulled back.
    pub pulled_back_at: Option<Timestamp>,
}

impl Transaction {
    /// Adds a release.
    ///
    /// # Errors
    /// When the version was published before or the store fails.
    pub async fn insert_release(&mut self, release: &ReleaseRow) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "INSERT INTO releases (version, workspace_id, target_name, target_sha256, target_length, manifest, \
             published_at, pulled_back_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(release.manifest.version.to_string())
        .bind(workspace)
        .bind(&release.target.name)
        .bind(&release.target.sha256)
        .bind(i64::try_from(release.target.length).unwrap_or(i64::MAX))
        .bind(to_json("releases", &release.manifest)?)
        .bind(release.published_at.millis())
        .bind(release.pulled_back_at.map(Timestamp::millis))
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// Notes that a release was pulled back. The first time counts.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pull_back_release(&mut self, version: Version, at: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query(
            "UPDATE releases SET pulled_back_at = $1 \
             WHERE workspace_id = $2 AND version = $3 AND pulled_back_at IS NULL",
        )
        .bind(at.millis())
        .bind(workspace)
        .bind(version.to_string())
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// All releases, oldest first.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn releases(&mut self) -> Result<Vec<ReleaseRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT version, target_name, target_sha256, target_length, manifest, published_at, pulled_back_at \
             FROM releases WHERE workspace_id = $1 ORDER BY published_at, version",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let read = |row| {
            let cells = Cells::new(row, "releases", "version");
            Ok(ReleaseRow {
                manifest: cells.json("manifest")?,
                target: cells.target()?,
                published_at: cells.instant("published_at")?,
                pulled_back_at: cells.optional_instant("pulled_back_at")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
