//! What came of the kills within one path.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::life::{Drawn, Round, Victim};

/// The counts of one path.
#[derive(Default)]
pub(super) struct Tally {
    /// Control planes and hosts that it was played on.
    pub(super) lives: u32,
    launcher: u32,
    updater: u32,
    sensor: u32,
    at_operations: u32,
    too_late: u32,
    within: BTreeMap<&'static str, u32>,
    restarts: u32,
    longest: Duration,
    longest_here: Duration,
    stuck: Vec<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Kills that came while the path was under way.
    pub(super) fn kills(&self) -> u32 {
        self.launcher + self.updater + self.sensor
    }

    /// Hosts that did not get where they should.
    pub(super) fn stuck(&self) -> u32 {
        u32::try_from(self.stuck.len()).unwrap_or(u32::MAX)
    }

    /// Takes a round in; gives why the host is stuck, if it is.
    pub(super) fn note(&mut self, victim: Victim, round: Round) -> Option<&str> {
        match round.within {
            None => self.too_late += 1,
            Some(stage) => {
                *self.within.entry(stage).or_default() += 1;
                *(match victim {
                    Victim::Launcher => &mut self.launcher,
                    Victim::Updater => &mut self.updater,
                    Victim::Sensor => &mut self.sensor,
                }) += 1;
                self.at_operations += u32::from(matches!(round.drawn, Drawn::Operation(_)));
            }
        }
        self.restarts += round.restarts;
        self.longest = self.longest.max(round.recovered_in);
        self.longest_here = self.longest_here.max(round.recovered_in_here);
        let stuck = round.stuck?;
        eprintln!("kill9: stuck: {stuck}");
        self.stuck.push(stuck);
        self.stuck.last().map(String::as_str)
    }

    pub(super) fn evidence(&self) -> Value {
        json!({
            "kills": self.kills(),
            "ofLauncher": self.launcher,
            "ofUpdater": self.updater,
            "ofSensor": self.sensor,
            "atAnOperationOnAFile": self.at_operations,
            "atAnInstant": self.kills() - self.at_operations,
            "within": self.within,
            "cameTooLate": self.too_late,
            "lives": self.lives,
            "restarts": self.restarts,
            "longestRecoveryMs": self.longest.as_millis() as u64,
            "longestRecoveryOnTheHostsClockS": self.longest_here.as_secs(),
            "stuck": self.stuck.len(),
            "why": self.stuck,
        })
    }
}
