//! The on-host updater as a sans-IO machine: state, event, now in; state and commands out (E3, E7).
//!
//! The driver (`agent::updater`, or the rehearsal in virtual time) carries out the commands **in order**, stops at the
//! first that fails, and tells the machine what happened. A command that follows a `Persist` may rely on it being on
//! the disk: decisions are durable before they have an effect. Nothing here reads a clock or a disk.

mod attempt;
mod machine;
mod record;
mod recovery;
mod restarting;
#[cfg(test)]
mod restarting_tests;
mod sensor;
mod supervise;

#[cfg(test)]
mod property;
#[cfg(test)]
mod simulated_host;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::restart::RestartNeed;
use crate::sync::{Desired, DetectionProof, TargetRef};

pub use machine::Machine;
pub use record::{Failure, Phase, Purpose, Record, Release, ReleaseParseError};
pub use recovery::{DiskView, Running, recover};

/// How often a new version may fail to start before the host goes back (balena #2301: one power cut is no failure).
pub const FAILED_STARTS: u32 = 2;
/// How often a new version may be started without ever getting ready, whatever stopped it, before the host goes back.
pub const UNPROVEN_STARTS: u32 = 5;
/// How often a new version may die while it waits for clearance before the host goes back.
pub const CRASHES_BEFORE_CLEARANCE: u32 = 3;

/// The updater's numbers, with the defaults of `spec/defaults.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The local gate: from the start of the process until it says that it is ready.
    pub ready_within: Duration,
    /// From the switch until the server has cleared it, while the server can be reached.
    pub clearance_deadline: Duration,
    /// From hand-out to switch.
    pub staging_deadline: Duration,
    /// From asking for the restart that a release needs until it has come.
    pub restart_within: Duration,
    /// Check-ins further apart than this are an outage; after one, clearance gets this much time again.
    pub contact_gap: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ready_within: Duration::from_secs(60),
            clearance_deadline: Duration::from_secs(10 * 60),
            staging_deadline: Duration::from_secs(30 * 60),
            restart_within: Duration::from_secs(10 * 60),
            contact_gap: Duration::from_secs(3 * 60),
        }
    }
}

/// Something that happened on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A check-in was answered: the server can be reached, and this is what it wants.
    DesiredReceived(Desired),
    /// So much of the package has arrived, in percent.
    PrepareProgress {
        /// What is being prepared.
        release: Release,
        /// 0 to 100.
        percent: u8,
    },
    /// The release lies verified in its version folder.
    Prepared {
        /// What was prepared.
        release: Release,
        /// The restart that its manifest declares.
        restart: RestartNeed,
    },
    /// The release could not be prepared.
    PrepareFailed {
        /// What was to be prepared.
        release: Release,
        /// Why, in one line for a person.
        reason: String,
        /// Whether trying again before the staging deadline may help.
        retryable: bool,
    },
    /// `current` points at this release, durably.
    Switched(Release),
    /// `current` could not be pointed at this release and is as it was.
    SwitchFailed {
        /// Where it should have pointed.
        release: Release,
        /// Why.
        reason: String,
        /// Whether the disk failed, rather than the release being unfit: a way back is then tried again.
        retryable: bool,
    },
    /// What the release on its way needed restarted was restarted. The restart of a host is not told but seen at start.
    Restarted,
    /// It could not be.
    RestartFailed(String),
    /// The sensor that runs from this release has its rules loaded and follows its log.
    SensorReady(Release),
    /// The sensor that runs from this release is not ready any more.
    SensorNotReady(Release),
    /// The sensor process that was started last, or adopted, is gone, or could not be started.
    SensorDied(Death),
    /// The running sensor has detected a canary.
    ProofSeen(DetectionProof),
    /// What the running sensor has proven does not hold for all of it any more: an engine has joined since.
    ProofOutgrown,
    /// The host needs the sensor's memory: it is to be stopped, and started again after this pause.
    MemoryNeeded {
        /// How long it stays down.
        pause: Duration,
    },
    /// Time has passed; see [`Machine::wakes_at`].
    Tick,
}

/// How a sensor process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// It refused to run here and said why (exit code 78): trying again does not help.
    Refused(String),
    /// It ended by itself, or was killed, or could not be started at all.
    Ended(String),
}

/// What the driver is to do. The order in the list is the order of doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the record durable. If that fails, drop the rest of the list and recover from the disk.
    Persist(Record),
    /// Fetch, verify and extract this release; answer with `Prepared` or `PrepareFailed`. Runs beside everything else.
    /// Whatever lies in its folder is verified again: presence is no proof (fleetdm #9053).
    Prepare {
        /// What to prepare.
        release: Release,
        /// Its package.
        target: TargetRef,
    },
    /// Stop preparing; nothing is answered.
    AbandonPrepare,
    /// Verify the release's folder once more and point `current` at it; answer `Switched` or `SwitchFailed`.
    SwitchTo(Release),
    /// Restart this, beside everything else; answer `Restarted` or `RestartFailed`. A host that goes down answers nothing.
    Restart(RestartNeed),
    /// Start the sensor of this release. There is none running: `StopSensor` came before.
    StartSensor(Release),
    /// Stop the running sensor and wait until it is gone; nothing is answered.
    StopSensor,
    /// Run a canary with this mark through the running sensor; a detection is answered with `ProofSeen`.
    Prove {
        /// The mark.
        generation: u64,
    },
    /// Delete every version folder but these (and but what `current` points at or a process runs from).
    CollectGarbage {
        /// What stays.
        keep: BTreeSet<Release>,
    },
}
