//! The one place that reads a clock. Everybody else takes `now`, or holds a [`Clock`].
//!
//! Without the feature `stepped` there is only the system's clock: a shipped server or host cannot be told another time.

#[cfg(feature = "stepped")]
mod stepped;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use watchpost_core::time::Timestamp;

#[cfg(feature = "stepped")]
pub use stepped::Stepper;

/// Tells the time and waits for it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    System,
    #[cfg(feature = "stepped")]
    Stepped(Arc<stepped::Party>),
    Fixed(Arc<std::sync::atomic::AtomicI64>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands still at `at` until [`Clock::set`]; for tests of one process.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self(Kind::Fixed(Arc::new(std::sync::atomic::AtomicI64::new(at.millis()))))
    }

    /// Moves a fixed clock; any other kind stays as it is.
    pub fn set(&self, at: Timestamp) {
        if let Kind::Fixed(millis) = &self.0 {
            millis.store(at.millis(), std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// A clock stepped through the folder `dir` by a [`Stepper`]; `party` names this process there.
    ///
    /// # Errors
    /// When the folder or its files cannot be opened or written.
    #[cfg(feature = "stepped")]
    pub fn stepped(dir: &std::path::Path, party: &str) -> std::io::Result<Self> {
        Ok(Self(Kind::Stepped(Arc::new(stepped::Party::join(dir, party)?))))
    }

    /// The instant by which everything is judged.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System => wall(),
            #[cfg(feature = "stepped")]
            Kind::Stepped(party) => party.now(),
            Kind::Fixed(millis) => Timestamp::from_millis(millis.load(std::sync::atomic::Ordering::SeqCst)),
        }
    }

    /// The instant people live in: sign-in sessions and tokens are judged by it, even in a demo.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Kind::System => wall(),
            #[cfg(feature = "stepped")]
            Kind::Stepped(_) => wall(),
            Kind::Fixed(_) => self.now(),
        }
    }

    /// A steady instant, for time-outs of sockets and for measuring.
    #[must_use]
    pub fn instant(&self) -> Instant {
        instant()
    }

    /// Waits until `at`; returns at once if it has passed. Safe to cancel.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(self.longest_nap())).await;
        }
    }

    /// How long one nap may be before the time is read again: the system's clock can be set, a stepped one jumps.
    fn longest_nap(&self) -> Duration {
        match &self.0 {
            Kind::System => Duration::from_secs(60),
            #[cfg(feature = "stepped")]
            Kind::Stepped(_) => Duration::from_millis(1),
            Kind::Fixed(_) => Duration::from_millis(1),
        }
    }

    /// Says that this process has work in hand, so that a stepped clock must not jump. No effect on the system's clock.
    pub fn busy(&self) {
        #[cfg(feature = "stepped")]
        if let Kind::Stepped(party) = &self.0 {
            party.report(stepped::BUSY);
        }
    }

    /// Says that this process waits for nothing earlier than `at` (`None`: for no instant at all).
    pub fn idle_until(&self, at: Option<Timestamp>) {
        #[cfg(feature = "stepped")]
        if let Kind::Stepped(party) = &self.0 {
            party.report(at.map_or(stepped::NEVER, Timestamp::millis));
        }
        #[cfg(not(feature = "stepped"))]
        let _ = at;
    }
}

/// The system's clock, in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The system's steady clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn instant() -> Instant {
    Instant::now()
}
