//! The client certificates of sensors. A certificate belongs to one sensor; the table refuses anything else.

use std::collections::BTreeMap;

use watchpost_core::id::SensorId;
use watchpost_core::identity::{Held, Pin, Pins, Role};
use watchpost_core::time::Timestamp;

use crate::cells::{Cells, to_json};
use crate::{StoreError, Transaction};

const TABLE: &str = "certificates";

impl Transaction {
    /// Saves the certificates of one sensor in the place of those that were kept of it.
    ///
    /// # Errors
    /// When one of them belongs to another sensor, or the store fails.
    pub async fn save_certificates(&mut self, sensor: SensorId, pins: &Pins) -> Result<(), StoreError> {
        let workspace = self.workspace.clone();
        sqlx::query("DELETE FROM certificates WHERE workspace_id = $1 AND sensor_id = $2")
            .bind(&workspace)
            .bind(sensor.to_string())
            .execute(self.statement())
            .await?;
        let row = |held: &Held| {
            (held.pin, held.role.word(), held.registered_at.millis(), held.first_used_at.map(Timestamp::millis))
        };
        let rows: Vec<_> = pins.rows().iter().map(row).collect();
        sqlx::query(
            "INSERT INTO certificates (pin_sha256, workspace_id, sensor_id, role, registered_at, first_used_at) \
             SELECT json_extract(value, '$[0]'), $1, $2, json_extract(value, '$[1]'), json_extract(value, '$[2]'), \
             json_extract(value, '$[3]') FROM json_each($3)",
        )
        .bind(workspace)
        .bind(sensor.to_string())
        .bind(to_json(TABLE, &rows)?)
        .execute(self.statement())
        .await?;
        Ok(())
    }

    /// The certificates of every sensor.
    ///
    /// # Errors
    /// When a row cannot be read, those of a sensor do not go together, or the store fails.
    pub async fn certificates(&mut self) -> Result<BTreeMap<SensorId, Pins>, StoreError> {
        let workspace = self.workspace.clone();
        let rows = sqlx::query(
            "SELECT pin_sha256, sensor_id, role, registered_at, first_used_at FROM certificates \
             WHERE workspace_id = $1 ORDER BY sensor_id, pin_sha256",
        )
        .bind(workspace)
        .fetch_all(self.statement())
        .await?;
        let mut held: BTreeMap<SensorId, Vec<Held>> = BTreeMap::new();
        for row in &rows {
            let cells = Cells::new(row, TABLE, "pin_sha256");
            let certificate = Held {
                pin: Pin::from(cells.hash("pin_sha256")?),
                role: cells.with("role", Role::from_word)?,
                registered_at: cells.instant("registered_at")?,
                first_used_at: cells.optional_instant("first_used_at")?,
            };
            held.entry(cells.parsed("sensor_id")?).or_default().push(certificate);
        }
        let whole = |(sensor, rows): (SensorId, Vec<Held>)| match Pins::of_rows(&rows) {
            Ok(pins) => Ok((sensor, pins)),
            Err(error) => Err(StoreError::BadRow {
                table: TABLE,
                column: "role",
                id: sensor.to_string(),
                source: Box::new(error),
            }),
        };
        held.into_iter().map(whole).collect()
    }
}
