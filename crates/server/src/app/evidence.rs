//! Evidence comes in: a batch is believed within limits, kept in one transaction, and acknowledged once it is durable.
//!
//! A batch that comes again changes nothing. Nothing here touches the fleet in memory, and nobody's check-in waits for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::error;
use watchpost_core::evidence::{Alert, AlertStatus, Batch};
use watchpost_core::id::{AlertId, SensorId};
use watchpost_core::intake::{Disbelieved, believe};
use watchpost_core::policy::IntakePolicy;
use watchpost_core::time::Timestamp;
use watchpost_store::{AlertRow, Taken};

use super::{App, AppError, to_its_end};
use crate::auth::secret::sha256;
use crate::events::Event;

/// Batches that wait for their turn to be written; one more is asked to come back.
const MAX_WAITING: usize = 64;
/// When a sensor should come back whose batch could not be kept.
pub const COME_BACK_AFTER: Duration = Duration::from_secs(10);
/// Rows that are forgotten in one transaction, so that nobody waits long for it.
const FORGET_AT_ONCE: u32 = 2_000;

/// Why a batch was not taken. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceRefused {
    /// Something in it cannot be evidence.
    #[error("the evidence cannot be taken")]
    Malformed(#[from] Disbelieved),
    /// This sensor sends more than is taken.
    #[error("this sensor sends more evidence than is taken; it keeps it and sends it later")]
    TooMany(Duration),
    /// The server could not save it, or has too much to save; safe to repeat.
    #[error("the server could not save the evidence; keep it and send it again later")]
    Unavailable,
}

/// What keeps evidence from pushing anything else aside.
pub(crate) struct Intake {
    /// One batch is written at a time, so that the other connections are free for check-ins and readers.
    turn: tokio::sync::Mutex<()>,
    places: Semaphore,
    sent: Mutex<HashMap<SensorId, (Timestamp, u32)>>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self { turn: tokio::sync::Mutex::default(), places: Semaphore::new(MAX_WAITING), sent: Mutex::default() }
    }

    /// Counts a batch of an enrolled sensor; how long to wait when it is one too many.
    fn count(&self, sensor: SensorId, now: Timestamp, policy: &IntakePolicy) -> Result<(), Duration> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, batches) = sent.entry(sensor).or_insert((now, 0));
        if now < *since || now.since(*since) >= policy.window {
            (*since, *batches) = (now, 0);
        }
        if *batches >= policy.batches {
            return Err(policy.window.saturating_sub(now.since(*since)));
        }
        *batches += 1;
        Ok(())
    }
}

/// The row of an alert. Its id follows from what it is, so that it is the same however often it arrives.
fn row(sensor: SensorId, alert: Alert, received_at: Timestamp) -> AlertRow {
    let hash = sha256(format!("{sensor} {}", alert.id).as_bytes());
    let bits = hash.first_chunk().copied().map_or(0, u128::from_be_bytes);
    AlertRow { id: AlertId::from_parts(alert.at, bits), sensor, received_at, status: AlertStatus::New, alert }
}

impl App {
    /// Takes a batch of an enrolled sensor; tells how far its stream is taken, durably.
    ///
    /// # Errors
    /// When it cannot be evidence, comes too fast, or the store fails. The sensor sends it again.
    pub async fn take_evidence(&self, sensor: SensorId, batch: Batch, now: Timestamp) -> Result<u64, EvidenceRefused> {
        let policy = &self.0.policy;
        self.0.intake.count(sensor, now, &policy.intake).map_err(EvidenceRefused::TooMany)?;
        let batch = believe(batch, now, policy)?;
        let app = self.clone();
        let kept = to_its_end(async move { app.keep_evidence(sensor, batch, now).await }).await;
        kept.unwrap_or_else(|failure| {
            error!(%sensor, "evidence was not saved: {failure}");
            Err(EvidenceRefused::Unavailable)
        })
    }

    async fn keep_evidence(&self, sensor: SensorId, batch: Batch, now: Timestamp) -> Result<u64, EvidenceRefused> {
        let Ok(_place) = self.0.intake.places.try_acquire() else { return Err(EvidenceRefused::Unavailable) };
        let _busy = self.busy();
        let _turn = self.0.intake.turn.lock().await;
        match self.save_evidence(sensor, batch, now).await {
            Ok((taken, alerts, devices)) => {
                self.0.metrics.count_evidence(alerts);
                if alerts > 0 {
                    self.0.bus.announce(Event::Alerts(sensor));
                }
                if devices > 0 {
                    self.0.bus.announce(Event::Devices(sensor));
                }
                Ok(taken)
            }
            Err(failure) => {
                error!(%sensor, "evidence was not saved: {}", failure.chain());
                Err(EvidenceRefused::Unavailable)
            }
        }
    }

    /// Saves a batch, in one transaction: how far the stream is taken, and how many alerts and devices were news.
    async fn save_evidence(&self, sensor: SensorId, batch: Batch, now: Timestamp) -> Result<(u64, u64, u64), AppError> {
        let rows: Vec<_> = batch.alerts.into_iter().map(|alert| row(sensor, alert, now)).collect();
        let mut tx = self.begin().await?;
        let taken = tx.take_stream(sensor, &batch.stream, batch.through, now).await?;
        // Two batches may overtake each other, so an older one is looked at too; it adds what is missing and no more.
        let alerts = tx.take_alerts(&rows).await?;
        let word = Taken { through: batch.through, ..taken };
        let devices = tx.take_devices(sensor, word, &batch.devices).await?;
        tx.commit().await?;
        Ok((taken.through, alerts, devices))
    }

    /// Forgets alerts and devices that were kept for long enough, or are more than one sensor may have.
    ///
    /// # Errors
    /// When the store fails; what was forgotten before stays forgotten.
    pub async fn forget_evidence(&self) -> Result<u64, AppError> {
        let (policy, now) = (&self.0.policy, self.0.clock.now());
        let mut forgotten = 0;
        for is_alerts in [true, false] {
            loop {
                let _turn = self.0.intake.turn.lock().await;
                let mut tx = self.begin().await?;
                let gone = if is_alerts {
                    tx.forget_alerts(now - policy.retention.alerts, FORGET_AT_ONCE).await?
                } else {
                    tx.forget_devices(now - policy.retention.devices, FORGET_AT_ONCE).await?
                };
                tx.commit().await?;
                forgotten += gone;
                if gone < u64::from(FORGET_AT_ONCE) {
                    break;
                }
            }
        }
        let mut tx = self.0.store.read(self.0.workspace).await?;
        let over_alerts = tx.sensors_over_alerts(policy.intake.alerts).await?;
        let over_devices = tx.sensors_over_devices(policy.intake.devices).await?;
        drop(tx);
        let alerts = over_alerts.into_iter().map(|(sensor, beyond)| (sensor, beyond, true));
        let devices = over_devices.into_iter().map(|(sensor, beyond)| (sensor, beyond, false));
        for (sensor, beyond, is_alerts) in alerts.chain(devices) {
            self.forget_surplus(sensor, beyond, is_alerts).await?;
            forgotten += beyond;
        }
        Ok(forgotten)
    }

    async fn forget_surplus(&self, sensor: SensorId, beyond: u64, is_alerts: bool) -> Result<(), AppError> {
        let mut left = beyond;
        while left > 0 {
            let _turn = self.0.intake.turn.lock().await;
            let now = u32::try_from(left).unwrap_or(FORGET_AT_ONCE).min(FORGET_AT_ONCE);
            let mut tx = self.begin().await?;
            if is_alerts {
                tx.forget_oldest_alerts(sensor, now).await?;
            } else {
                tx.forget_longest_unseen(sensor, now).await?;
            }
            tx.commit().await?;
            left -= u64::from(now);
        }
        Ok(())
    }
}
