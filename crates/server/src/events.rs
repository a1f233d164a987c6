//! The bus of announcements: which rows changed, so that the portal and `/api/v1/events` can show it live.
//!
//! It carries names of things, never their content, and it never holds anybody up: a listener that falls
//! behind is told so and reads everything again.

use tokio::sync::broadcast;
use watchpost_core::id::SensorId;
use watchpost_core::version::Version;

/// How many announcements a slow listener may fall behind before it has to read everything again.
pub const BACKLOG: usize = 1024;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A sensor's row: its facts, its status or its health issues.
    Sensor(SensorId),
    /// A health issue that is not of one sensor.
    Health,
    /// A rollout.
    Rollout(Version),
    /// A release was published or pulled back.
    Release(Version),
    /// Sites, zones, tokens, people or the audit log.
    Settings,
}

/// Where changes are announced, after they are durable.
#[derive(Clone, Debug)]
pub struct Bus(broadcast::Sender<Event>);

impl Bus {
    /// A bus nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    /// Tells everybody who listens. Nobody listening is fine.
    pub fn announce(&self, event: Event) {
        let _ = self.0.send(event);
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}
