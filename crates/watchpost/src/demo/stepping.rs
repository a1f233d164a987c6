//! The hand on the demo's clock: jumps to the next instant anybody waits for (decision 24).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use watchpost_clock::{Clock, Stepper};

use super::life::Life;

/// How often the hand looks whether everybody waits.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Parties due within this time of the first are woken together: a host that checks in a few seconds late is an everyday thing.
pub(super) const TOGETHER: Duration = Duration::from_secs(15);

/// How fast the clock may run, in seconds of the clock per second of the wall. 1 is real time.
pub(super) struct Pace(AtomicU64);

impl Pace {
    pub(super) const REAL_TIME: u64 = 1;
    pub(super) const UNLIMITED: u64 = u64::MAX;

    pub(super) fn new(speed: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(speed)))
    }
    pub(super) fn set(&self, speed: u64) {
        self.0.store(speed, Ordering::SeqCst);
    }
    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Steps the clock for as long as the demo lives.
pub(super) async fn run(stepper: Arc<Stepper>, pace: Arc<Pace>, mut life: Life) {
    let real = Clock::system();
    let mut last = real.instant();
    let mut allowance = Duration::ZERO;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let elapsed = real.instant().saturating_duration_since(last);
        last = real.instant();
        life.go_on(stepper.now());
        let speed = pace.get();
        if speed <= Pace::REAL_TIME {
            allowance = Duration::ZERO;
            continue;
        }
        // A second of allowance at the most, so that a pause is not followed by a rush.
        let extra = u32::try_from(speed - 1).unwrap_or(u32::MAX);
        allowance = (allowance + elapsed.saturating_mul(extra)).min(Duration::from_secs(u64::from(extra)));
        let Some(due) = stepper.next_wake_within(TOGETHER) else { continue };
        let now = stepper.now();
        let step = due.since(now).min(allowance);
        if stepper.step_to(now + step).is_ok() {
            allowance -= step;
        }
    }
}
