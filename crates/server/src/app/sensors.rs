//! Sensors check in and are looked at. An unchanged check-in touches memory alone.

use std::time::Duration;

use watchpost_core::id::SensorId;
use watchpost_core::sync::{Desired, Report};
use watchpost_core::time::Timestamp;

use super::App;

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

impl App {
    /// Whose pin this is: SHA-256 of the client certificate's DER. Memory only.
    #[must_use]
    pub fn sensor_by_pin(&self, pin: &[u8; 32]) -> Option<SensorId> {
        let _ = (&self.0, pin);
        None
    }

    /// Takes a report. Unchanged: memory only, no SQL. Changed: durable before it is answered.
    ///
    /// # Errors
    /// When the sensor is gone or the store fails.
    pub async fn check_in(&self, id: SensorId, report: Report, now: Timestamp) -> Result<CheckInReply, CheckInRefused> {
        let _ = (&self.0, id, report, now);
        Err(CheckInRefused::Unknown)
    }
}
