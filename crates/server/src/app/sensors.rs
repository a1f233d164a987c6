//! Sensors check in and are looked at. An unchanged check-in touches memory alone.

use std::time::{Duration, Instant};

use tracing::error;
use watchpost_core::facts::Measurements;
use watchpost_core::id::SensorId;
use watchpost_core::intake::{clean_facts, clean_measurements, clean_rules};
use watchpost_core::sensor::Sensor;
use watchpost_core::sync::{AskedReply, Desired, Report};
use watchpost_core::time::Timestamp;

use super::fleet::Fleet;
use super::{App, AppError, to_its_end};
use crate::auth::secret::random_bytes;
use crate::events::Event;
use crate::metrics::CheckInOutcome;

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
#[expect(clippy::large_enum_variant, reason = "one of it at a time, on the stack; a box would cost every check-in")]
pub enum Heard {
    /// It is over.
    Over(Result<CheckInReply, CheckInRefused>),
    /// The report differs from the one before: it must be kept before it is answered.
    Changed(Box<Changed>),
}

/// A report that differs from the one before.
pub struct Changed {
    sensor: SensorId,
    report: Report,
    has_pulled: bool,
    at: Timestamp,
    began: Instant,
}

/// What one look at the fleet says to a report.
#[expect(clippy::large_enum_variant, reason = "one of it at a time, on the stack; a box would cost every check-in")]
enum Quick {
    Gone,
    Changed,
    Same { desired: Desired, is_news: bool },
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
    pub async fn check_in(&self, id: SensorId, report: Report, now: Timestamp) -> Result<CheckInReply, CheckInRefused> {
        match self.hear(id, report, Measurements::default(), now) {
            Heard::Over(taken) => taken,
            Heard::Changed(changed) => self.keep(changed).await,
        }
    }

    /// Takes a report, and what was measured beside it, as far as memory alone can: nothing here waits for anything.
    #[must_use]
    pub fn hear(&self, id: SensorId, mut report: Report, measured: Measurements, now: Timestamp) -> Heard {
        let began = self.0.clock.instant();
        // That the configuration was pulled is an event, kept as an instant; the rest of a report is a state.
        let has_pulled = std::mem::take(&mut report.pulled_configuration);
        let measured = clean_measurements(measured);
        let (mut quick, was_late) = self.fleet_mut(|fleet| {
            let was_late = fleet.note_lateness(id, self.0.ready_at, now, &self.0.policy);
            fleet.measure(id, measured, now);
            (self.look_quickly(fleet, id, &report, has_pulled, was_late, now), was_late)
        });
        if matches!(quick, Quick::Changed) {
            // What is kept is clean. Who sends the same unclean report again is recognised once it is cleaned.
            report.facts = clean_facts(&report.facts);
            report.rules = clean_rules(&report.rules);
            report.connection = report.connection.map(|check| check.cleaned());
            quick = self.fleet_mut(|fleet| self.look_quickly(fleet, id, &report, has_pulled, was_late, now));
        }
        match quick {
            Quick::Changed => Heard::Changed(Box::new(Changed { sensor: id, report, has_pulled, at: now, began })),
            Quick::Gone => Heard::Over(self.counted(Err(CheckInRefused::Unknown), CheckInOutcome::Refused, began)),
            Quick::Same { desired, is_news } => {
                if is_news {
                    self.0.bus.announce(Event::Sensor(id));
                    self.poke();
                }
                Heard::Over(self.counted(Ok(self.reply(desired, now)), CheckInOutcome::Same, began))
            }
        }
    }

    /// Keeps a report that differs from the one before, durably, and answers it.
    ///
    /// # Errors
    /// When the sensor is gone or the store fails.
    pub async fn keep(&self, changed: Box<Changed>) -> Result<CheckInReply, CheckInRefused> {
        let (id, at, began, app) = (changed.sensor, changed.at, changed.began, self.clone());
        let taken = to_its_end(async move { app.take_report(*changed).await }).await;
        let taken = taken.unwrap_or_else(|failure| {
            error!(sensor = %id, "a check-in was not saved: {failure}");
            Err(CheckInRefused::Unavailable)
        });
        let outcome = if taken.is_ok() { CheckInOutcome::Changed } else { CheckInOutcome::Refused };
        self.counted(taken.map(|desired| self.reply(desired, at)), outcome, began)
    }

    fn counted<T>(&self, taken: T, outcome: CheckInOutcome, began: Instant) -> T {
        self.0.metrics.count_check_in(outcome, self.0.clock.instant().duration_since(began));
        taken
    }

    fn reply(&self, desired: Desired, now: Timestamp) -> CheckInReply {
        CheckInReply { server_time: now, desired, come_back_after: self.come_back_after() }
    }

    /// What a host is told on which somebody asks for a version. Memory only.
    #[must_use]
    pub fn answer_to_ask(&self, id: SensorId, now: Timestamp) -> Option<AskedReply> {
        self.fleet_ref(|fleet| {
            let sensor = fleet.sensors.get(&id).filter(|sensor| sensor.report.asked.is_some())?;
            fleet.planner.answer_to_ask(sensor, &self.context(fleet, now))
        })
    }

    /// What memory alone says to a report; notes the contact when it is the same as the one before.
    fn look_quickly(
        &self,
        fleet: &mut Fleet,
        id: SensorId,
        report: &Report,
        has_pulled: bool,
        was_late: bool,
        now: Timestamp,
    ) -> Quick {
        let silence = self.0.policy.contact.stopped_communicating_after;
        let Some(sensor) = fleet.sensors.get(&id) else { return Quick::Gone };
        let Some(seen_at) = sensor.last_contact.filter(|_| sensor.report == *report) else { return Quick::Changed };
        let is_news = was_late || now.since(seen_at) >= silence;
        let desired = Self::desired(fleet, sensor);
        fleet.hear(id, now, has_pulled);
        Quick::Same { desired, is_news }
    }

    /// Saves a report that differs from the one before.
    async fn take_report(&self, changed: Changed) -> Result<Desired, CheckInRefused> {
        let Changed { sensor: id, report, has_pulled, at: now, began: _ } = changed;
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
        let desired = self.fleet_mut(|fleet| {
            let id = sensor.id;
            fleet.take_saved(sensor);
            fleet.sensors.get(&id).map(|sensor| Self::desired(fleet, sensor))
        });
        let desired = desired.ok_or(CheckInRefused::Unknown)?;
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
