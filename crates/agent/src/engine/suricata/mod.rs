//! The engine for packets: Suricata, a program of its own that is started, watched, asked and believed only after proof.
//!
//! Everything it says about itself is read back; nothing it answers is taken for done. It gets no right that capturing
//! does not need, and it never outlives the sensor.

pub mod canary;
pub mod check;
pub mod config;
pub mod control;
pub mod eve;
pub mod evidence;
mod handle;
pub mod home;
pub mod intake;
pub mod interfaces;
pub mod loading;
mod losses;
mod orders;
pub mod place;
pub mod process;
mod proving;
pub mod room;
pub mod rules;
mod running;
mod signature;
mod supervisor;
mod told;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use watchpost_core::facts::{EngineFacts, InterfaceCounters, InterfaceFacts};
use watchpost_core::time::Timestamp;

pub use evidence::Evidence;
pub use handle::{ConfigureError, Suricata, SuricataHandle};
pub use loading::{Expectation, LoadError, RulesLoaded};
pub use proving::ProveError;
pub use rules::RuleSources;

/// What the engine is started with. It listens on nothing until it is configured.
#[derive(Clone, Debug)]
pub struct SuricataOptions {
    /// Its folder; the engine's user must be able to reach it.
    pub folder: PathBuf,
    /// The user it runs as when we are root.
    pub user: String,
    /// The program, if not the one in the path.
    pub program: Option<PathBuf>,
    /// The rules of the release and of the package in effect.
    pub rules: RuleSources,
    /// Bytes of packets of alerts that are kept.
    pub packet_bytes: u64,
    /// In how many files.
    pub packet_files: u32,
    /// Threads for each interface.
    pub threads: u32,
    /// Pieces of evidence that may wait to be taken.
    pub evidence_waiting: usize,
    /// Alerts that may wait beside them.
    pub alerts_waiting: usize,
    /// How long things may take.
    pub patience: Patience,
}

impl SuricataOptions {
    /// The usual options for a folder and the rules of a release.
    #[must_use]
    pub fn new(folder: PathBuf, rules: RuleSources) -> Self {
        Self {
            folder,
            user: "nobody".to_owned(),
            program: None,
            rules,
            packet_bytes: 100 * 1024 * 1024,
            packet_files: 10,
            threads: 1,
            evidence_waiting: 4_096,
            // An alert with its event has about 2 KiB: 64 MiB when the disk has refused for long.
            alerts_waiting: 32_768,
            patience: Patience::default(),
        }
    }
}

/// How long things may take, all in real time but the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From its start to its first answer: 50 000 rules were measured at 15.7 s.
    pub start: Duration,
    /// One answer on the control socket.
    pub answer: Duration,
    /// One reload: 30 000 rules were measured at 16.4 s under load.
    pub reload: Duration,
    /// Between two looks at the interfaces and at the engine.
    pub look: Duration,
    /// One sampling window of packets and drops, by the clock. Suricata counts about a second late: longer than that.
    pub window: Duration,
    /// How long an interface is quiet before it is called silent, by the clock.
    pub quiet: Duration,
    /// How long it is told that packets were lost, by the clock.
    pub loss: Duration,
    /// A canary on its way.
    pub canary: Duration,
    /// The whole of a proof, in which canaries are sent again.
    pub proof: Duration,
    /// The first pause before an engine that ended is started again; it doubles.
    pub first_pause: Duration,
    /// The longest.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            start: seconds(120),
            answer: seconds(10),
            reload: seconds(180),
            look: seconds(1),
            window: seconds(10),
            quiet: interfaces::QUIET_FOR,
            loss: interfaces::LOSS_LASTS,
            canary: seconds(2),
            proof: seconds(15),
            first_pause: seconds(1),
            longest_pause: seconds(60),
        }
    }
}

/// How the engine is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SuricataStatus {
    /// The engine; `None`: nothing is to be listened on, so it does not run.
    pub engine: Option<EngineFacts>,
    /// The interfaces that are there, and those that should be.
    pub interfaces: BTreeMap<String, InterfaceFacts>,
    /// What was counted on those that are listened on, since the sensor started.
    pub counters: BTreeMap<String, InterfaceCounters>,
    /// The rules in force.
    pub rules: RulesLoaded,
    /// Events read since the sensor started.
    pub events_read: u64,
    /// Of these, lines that were not understood.
    pub events_not_understood: u64,
    /// Pieces of evidence that found no room.
    pub evidence_lost: u64,
    /// Evidence found no room, or events were not understood, since; `None`: not within the last hour.
    pub losing_events_since: Option<Timestamp>,
    /// Memory that the engine uses.
    pub memory_bytes: u64,
    /// The engine's process.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: u64,
    /// It was started and has not answered yet, whatever its facts go on saying.
    pub is_starting: bool,
}
