//! What a sensor leaves to its host: the numbers of the resource guard, each with its source as in all of the policy.

use std::time::Duration;

use super::{GIBIBYTE, MEBIBYTE, minutes};

/// What a sensor leaves to its host.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourcePolicy {
    /// Memory and processor time a host keeps free, in percent (S: “at least 15 %”).
    pub kept_free_percent: u32,
    /// How often that is looked at (L: 10 s).
    pub checked_every: Duration,
    /// Breaches in a row after which the sensor is stopped and started again (L: 3).
    pub breaches: u32,
    /// How often the limits of a sensor are set to what the host has left (P: 1 s).
    pub limited_every: Duration,
    /// Processor time that is kept free beyond the reserve, so that it holds between two looks, in percent (P: 5 %;
    /// with 2 %, one second in ten of a host that was filled by its sensor alone fell short of the reserve).
    pub processor_margin_percent: u32,
    /// Looks of which the busiest decides what is left to the sensor (P: 5).
    pub processor_looks: usize,
    /// What a sensor keeps of the processors however busy they are, in percent (P: 5 %; one that stands still is blind).
    pub processor_floor_percent: u32,
    /// What a sensor may have of the memory in any case, in bytes (P: 128 MiB; an idle one needs about half of it).
    pub memory_floor: u64,
    /// While memory is short, a sensor may grow by one part in so many of what it has (P: 8).
    pub memory_headroom_share: u64,
    /// From stopping a sensor for its memory until it is started again (P: 5 s; within the minute that F1 grants).
    pub restart_pause: Duration,
    /// From one such restart to the next, however short memory is (P: 10 min).
    pub restart_again_after: Duration,
    /// Processors busier than that for so long are an issue (P: 5 min).
    pub processor_short_after: Duration,
    /// Less of the sensor's disk free than this is low, in percent (P: 10 %).
    pub disk_low_percent: u32,
    /// Processor time of generation 3 at most, in percent (L: 30 %).
    pub v3_processor_percent: u32,
    /// Memory of generation 3 at most, in bytes (L: 1.5 GB).
    pub v3_memory: u64,
}

impl Default for ResourcePolicy {
    fn default() -> Self {
        Self {
            kept_free_percent: 15,
            checked_every: Duration::from_secs(10),
            breaches: 3,
            limited_every: Duration::from_secs(1),
            processor_margin_percent: 5,
            processor_looks: 5,
            processor_floor_percent: 5,
            memory_floor: 128 * MEBIBYTE,
            memory_headroom_share: 8,
            restart_pause: Duration::from_secs(5),
            restart_again_after: minutes(10),
            processor_short_after: minutes(5),
            disk_low_percent: 10,
            v3_processor_percent: 30,
            v3_memory: GIBIBYTE * 3 / 2,
        }
    }
}
