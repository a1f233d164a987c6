//! Whether the server has work in hand, for a clock that must not step over it.

use std::sync::{Arc, Mutex, PoisonError};

use watchpost_clock::Clock;
use watchpost_core::time::Timestamp;

/// Counts the pieces of work in hand and tells the clock when there are none.
pub(crate) struct Activity {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_hand: u64,
    wakes_at: Option<Timestamp>,
}

/// A piece of work in hand, until it is dropped.
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default() })
    }

    /// Takes a piece of work in hand.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_hand = state.in_hand.saturating_add(1);
        self.clock.busy();
        Busy(Arc::clone(self))
    }

    /// Notes what the server waits for next; said to the clock as soon as nothing is in hand.
    pub(crate) fn wake_at(&self, at: Option<Timestamp>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).wakes_at = at;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.in_hand = state.in_hand.saturating_sub(1);
        if state.in_hand == 0 {
            self.0.clock.idle_until(state.wakes_at);
        }
    }
}
