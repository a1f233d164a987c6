//! What of rule packages is under way on a host. An updater that ends forgets it, and its next one begins anew.

use std::collections::BTreeSet;
use std::time::Duration;

use super::DesiredRules;
use crate::facts::EngineKind;
use crate::time::Timestamp;

/// A package that is to be had.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Errand {
    pub(super) order: DesiredRules,
    /// When this round of attempts began.
    pub(super) began: Timestamp,
    pub(super) attempts: u32,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// On its way.
    Running,
    /// Tried again then, within this round.
    Again(Timestamp),
    /// Given up and told; a new round begins then.
    Rests(Timestamp),
}

/// What the sensor was asked last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) build: Option<Timestamp>,
    /// The first time; the deadline runs from here.
    pub(super) at: Timestamp,
    /// The last time.
    pub(super) last: Timestamp,
    pub(super) times: u32,
    /// The engines that ran then.
    pub(super) before: BTreeSet<EngineKind>,
}

/// A package whose load ended without a verdict: nothing is known against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Postponed {
    pub(super) build: Timestamp,
    pub(super) push: u32,
    pub(super) rounds: u32,
    pub(super) until: Timestamp,
}

/// A pause that doubles with every time.
pub(super) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1).min(16))).min(longest)
}
