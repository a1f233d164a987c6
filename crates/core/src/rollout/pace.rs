//! How many sensors of a ring may be between versions at once. The planner and the plan that is read before ask the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::RolloutPolicy;

/// The pace of one ring of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "pace")]
pub enum RingPace {
    /// Somebody has set a hard cap, across all rollouts.
    Capped {
        /// The cap.
        max_in_flight: u32,
    },
    /// One after another.
    OneByOne,
    /// One at a time would take too long: 1, doubling after each clean step, halving after one with a failure.
    Adaptive {
        /// The widest step.
        widest: u32,
    },
}

impl RingPace {
    /// The pace of a ring of so many sensors.
    #[must_use]
    pub fn of(ring: u32, policy: &RolloutPolicy) -> Self {
        if let Some(max_in_flight) = policy.max_in_flight {
            return Self::Capped { max_in_flight };
        }
        if one_by_one_takes(ring, policy) <= policy.longest_serial_ring {
            return Self::OneByOne;
        }
        let share = u64::from(ring) * u64::from(policy.adaptive_widest_percent) / 100;
        let widest = u32::try_from(share).unwrap_or(u32::MAX).clamp(1, policy.adaptive_widest.max(1));
        Self::Adaptive { widest }
    }
}

/// What a ring of so many sensors would take one at a time, its gate not counted.
#[must_use]
pub fn one_by_one_takes(ring: u32, policy: &RolloutPolicy) -> Duration {
    policy.expected_step.saturating_mul(ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_would_take_more_than_a_day_one_by_one_takes_the_adaptive_pace() {
        let policy = RolloutPolicy::default();
        // Two minutes each: 720 sensors are exactly the 24 hours.
        assert_eq!(RingPace::of(720, &policy), RingPace::OneByOne);
        assert_eq!(RingPace::of(721, &policy), RingPace::Adaptive { widest: 72 });
        assert_eq!(RingPace::of(5_000, &policy), RingPace::Adaptive { widest: 500 });
        assert_eq!(RingPace::of(80_000, &policy), RingPace::Adaptive { widest: 500 }, "500 at most");
        let capped = RolloutPolicy { max_in_flight: Some(3), ..policy };
        assert_eq!(RingPace::of(80_000, &capped), RingPace::Capped { max_in_flight: 3 });
    }
}
