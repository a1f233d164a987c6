//! Sensors check in and are looked at. An unchanged check-in touches memory alone.

use std::time::Duration;

use tracing::error;
use watchpost_core::id::SensorId;
use watchpost_core::sensor::Sensor;
use watchpost_core::sync::{Desired, Report};
use watchpost_core::time::Timestamp;

use super::{App, AppError, to_its_end};
use crate::auth::secret::random_bytes;
use crate::events::Event;

/// When a host that has just enrolled checks in first.
pub(super) const FIRST_CHECK_IN: Duration = Duration::from_secs(1);

/// What a check-in is answered with.
#[derive(Clone, Debug)]
pub struct CheckInReply {
    /// When the server answered.
    pub server_time: Timestamp,
    /// What the host should be.
    pub desired: Desired,
    /// When to come back (policy, jittered).
    pub come_back_after: Duration,
}

/// Why a check-in was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CheckInRefused {
    /// The sensor was deleted meanwhile.
    #[error("this sensor is not enrolled here any more")]
    Unknown,
    /// The server could not save the change; safe to repeat.
    #[error("the server could not save the check-in; try again later")]
    Unavailable,
}

/// What memory alone says to a check-in.
enum Quick {
    Gone,
    Changed,
    Same { desired: Box<Desired>, is_news: bool },
}

impl App {
    /// Whose pin this is: SHA-256 of the client certificate's DER. Memory only.
    #[must_use]
    pub fn sensor_by_pin(&self, pin: &[u8; 32]) -> Option<SensorId> {
        self.fleet_ref(|fleet| fleet.by_pin(pin))
    }

    /// Revokes a sensor's certificate in memory, for the tests of the doors.
    #[cfg(test)]
    pub(crate) fn forget_pin(&self, id: SensorId) {
        self.fleet_mut(|fleet| fleet.forget_pin(id));
    }

    /// Takes a report. Unchanged: memory only, no SQL. Changed: durable before it is answered.
    ///
    /// # Errors
    /// When the sensor is gone or the store fails.
    pub async fn check_in(
        &self,
        id: SensorId,
        mut report: Report,
        now: Timestamp,
    ) -> Result<CheckInReply, CheckInRefused> {
        // That the configuration was pulled is an event, kept as an instant; the rest of a report is a state.
        let has_pulled = std::mem::take(&mut report.pulled_configuration);
        let silence = self.0.policy.contact.stopped_communicating_after;
        let quick = self.fleet_mut(|fleet| {
            let was_late = fleet.note_lateness(id, self.0.ready_at, now, &self.0.policy);
            let Some(sensor) = fleet.sensors.get(&id) else { return Quick::Gone };
            let Some(seen_at) = sensor.last_contact.filter(|_| sensor.report == report) else { return Quick::Changed };
            let is_news = was_late || now.since(seen_at) >= silence;
            let desired = Box::new(Self::desired(sensor));
            fleet.hear(id, now, has_pulled);
            Quick::Same { desired, is_news }
        });
        let desired = match quick {
            Quick::Gone => return Err(CheckInRefused::Unknown),
            Quick::Same { desired, is_news } => {
                if is_news {
                    self.0.bus.announce(Event::Sensor(id));
                    self.poke();
                }
                *desired
            }
            Quick::Changed => {
                let app = self.clone();
                let taken = to_its_end(async move { app.take_report(id, report, has_pulled, now).await }).await;
                taken.unwrap_or_else(|failure| {
                    error!(sensor = %id, "a check-in was not saved: {failure}");
                    Err(CheckInRefused::Unavailable)
                })?
            }
        };
        Ok(CheckInReply { server_time: now, desired, come_back_after: self.come_back_after() })
    }

    /// Saves a report that differs from the one before.
    async fn take_report(
        &self,
        id: SensorId,
        report: Report,
        has_pulled: bool,
        now: Timestamp,
    ) -> Result<Desired, CheckInRefused> {
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let Some(mut sensor) = self.fleet_ref(|fleet| fleet.sensors.get(&id).cloned()) else {
            return Err(CheckInRefused::Unknown);
        };
        sensor.report = report;
        sensor.last_contact = sensor.last_contact.max(Some(now));
        if has_pulled {
            sensor.last_config_pull = sensor.last_config_pull.max(Some(now));
        }
        if let Err(failure) = self.save_sensor(&sensor).await {
            error!(sensor = %id, "a check-in was not saved: {}", failure.chain());
            return Err(CheckInRefused::Unavailable);
        }
        let desired = Self::desired(&sensor);
        self.fleet_mut(|fleet| fleet.take_saved(sensor));
        self.0.bus.announce(Event::Sensor(id));
        self.poke();
        Ok(desired)
    }

    async fn save_sensor(&self, sensor: &Sensor) -> Result<(), AppError> {
        let revision = self.fleet_ref(|fleet| fleet.kept(sensor.id)).map_or(0, |kept| kept.revision);
        let mut tx = self.begin().await?;
        tx.save_sensors(&[(sensor, revision)]).await?;
        Ok(tx.commit().await?)
    }

    /// The check-in interval, moved about so that a fleet does not call in step.
    fn come_back_after(&self) -> Duration {
        let policy = &self.0.policy;
        // Without randomness the fleet calls in step, which is no reason to refuse it.
        let drawn = random_bytes::<2>().map_or(0, u16::from_le_bytes);
        let jitter = u64::from(policy.contact.check_in_jitter_percent.min(100)) * 10;
        let permille = 1_000 - jitter + u64::from(drawn) % (2 * jitter + 1);
        let millis = u64::try_from(policy.contact.check_in.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis.saturating_mul(permille) / 1_000)
    }

    /// Saves last contacts that are newer in memory than in the store, in one statement.
    ///
    /// # Errors
    /// When the store fails; they stay in memory then.
    pub async fn write_behind(&self) -> Result<(), AppError> {
        let _gate = self.0.gate.lock().await;
        let contacts = self.fleet_mut(super::fleet::Fleet::take_heard);
        if contacts.is_empty() {
            return Ok(());
        }
        let saved = async {
            let mut tx = self.begin().await?;
            tx.save_contacts(&contacts).await?;
            Ok::<_, AppError>(tx.commit().await?)
        };
        let saved = saved.await;
        if saved.is_err() {
            self.fleet_mut(|fleet| fleet.put_heard_back(&contacts));
        }
        saved
    }
}
