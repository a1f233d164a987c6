//! Workspaces, sites and zones: where a sensor belongs.

use watchpost_core::id::{SiteId, WorkspaceId, ZoneId};
use watchpost_core::time::Timestamp;

use crate::cells::Cells;
use crate::{Store, StoreError, Transaction};

/// A site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRow {
    /// Its id.
    pub id: SiteId,
    /// Its name, unique in the workspace.
    pub name: String,
}

/// A zone of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneRow {
    /// Its id.
    pub id: ZoneId,
    /// The site it belongs to.
    pub site: SiteId,
    /// Its name, unique in the site.
    pub name: String,
}

impl Store {
    /// The oldest workspace of this database, or `None` before `init`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn first_workspace(&self) -> Result<Option<WorkspaceId>, StoreError> {
        let sql = "SELECT workspace_id FROM workspaces ORDER BY created_at, workspace_id LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&self.pool).await?;
        row.map(|row| Cells::new(&row, "workspaces", "workspace_id").parsed("workspace_id")).transpose()
    }
}

impl Transaction {
    /// Makes the transaction's own workspace.
    ///
    /// # Errors
    /// When it exists already or the store fails.
    pub async fn insert_workspace(&mut self, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, $2, $3)")
            .bind(workspace)
            .bind(name)
            .bind(now.millis())
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// Adds a site.
    ///
    /// # Errors
    /// When the name is taken or the store fails.
    pub async fn insert_site(&mut self, site: &SiteRow, now: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("INSERT INTO sites (id, workspace_id, name, created_at) VALUES ($1, $2, $3, $4)")
            .bind(site.id.to_string())
            .bind(workspace)
            .bind(&site.name)
            .bind(now.millis())
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// Adds a zone.
    ///
    /// # Errors
    /// When the name is taken in its site or the store fails.
    pub async fn insert_zone(&mut self, zone: &ZoneRow, now: Timestamp) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("INSERT INTO zones (id, workspace_id, site_id, name, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(zone.id.to_string())
            .bind(workspace)
            .bind(zone.site.to_string())
            .bind(&zone.name)
            .bind(now.millis())
            .execute(self.statement())
            .await?;
        Ok(())
    }

    /// All sites, oldest first.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn sites(&mut self) -> Result<Vec<SiteRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query("SELECT id, name FROM sites WHERE workspace_id = $1 ORDER BY created_at, id")
            .bind(workspace)
            .fetch_all(self.statement())
            .await?;
        let read = |row| {
            let cells = Cells::new(row, "sites", "id");
            Ok(SiteRow { id: cells.parsed("id")?, name: cells.text("name")? })
        };
        rows.iter().map(read).collect()
    }

    /// All zones, oldest first.
    ///
    /// # Errors
    /// When a row cannot be read or the store fails.
    pub async fn zones(&mut self) -> Result<Vec<ZoneRow>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query("SELECT id, site_id, name FROM zones WHERE workspace_id = $1 ORDER BY created_at, id")
            .bind(workspace)
            .fetch_all(self.statement())
            .await?;
        let read = |row| {
            let cells = Cells::new(row, "zones", "id");
            Ok(ZoneRow { id: cells.parsed("id")?, site: cells.parsed("site_id")?, name: cells.text("name")? })
        };
        rows.iter().map(read).collect()
    }
}
