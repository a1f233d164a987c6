//! How an updater takes the place of another (E16): on trial, for three starts, until a check-in is answered.
//!
//! The launcher asks here which program to start, the running updater whether another is to take its place. Whatever
//! they are told is durable before they act on it. Never in one step with the sensor: see [`Standing::allows`].

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::updater::Release;
use crate::version::Version;

/// Starts that a successor has to prove itself (safety 5.5; balena #2301: one power cut is no failure).
pub const TRIAL_STARTS: u32 = 3;
/// How long one of them may take: as long as a check-in may be late without being missed.
pub const TRIAL_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Programs that are remembered as given up. Older ones are forgotten: each came with a release, which is old by then.
const REMEMBERED: usize = 16;

/// An updater's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// The release that brought it.
    pub version: Version,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
}

impl Program {
    /// What its file is called; `None`: the hash is none.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        Release::new(self.version, &self.sha256).map(|named| format!("watchpost-updater-{named}"))
    }
}

/// A successor that has not proved itself yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// What is on trial.
    pub program: Program,
    /// Starts begun; counted before each, so that one that takes the host down counts.
    pub starts: u32,
    /// How the last start ended, in words; `None`: nobody saw it.
    pub last_end: Option<End>,
}

/// How a start on trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "how", content = "words")]
pub enum End {
    /// By itself, or it could not be started: in these words.
    Itself(String),
    /// It ran, no check-in was answered, and its time was over.
    Unanswered,
}

/// A successor that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenUp {
    /// What was tried.
    pub program: Program,
    /// Why, in one line for a person.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The server may have been out of reach, which is no evidence against a program (safety 5.4): whoever runs in its
    /// place finds that out with its first check-in.
    pub in_doubt: bool,
}

/// What a host remembers of its updater's programs. Without one: what was installed runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Succession {
    /// What has proved itself; `None`: the program that was installed beside the launcher.
    pub settled: Option<Program>,
    /// What ran before it.
    pub previous: Option<Program>,
    /// What is on trial.
    pub trial: Option<Trial>,
    /// What was given up, oldest first.
    pub given_up: Vec<GivenUp>,
}

/// Where the rest of the host stands when another updater is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The release that is committed here has brought it.
    pub is_of_committed: bool,
    /// Neither an update of the sensor nor anything else is under way.
    pub is_idle: bool,
    /// The sensor runs and is ready.
    pub sensor_runs: bool,
    /// The control plane has just answered and wants nothing else.
    pub is_answered: bool,
}

impl Standing {
    /// Whether a successor may begin: never while the sensor is being updated, never without somebody to answer it.
    #[must_use]
    pub fn allows(self) -> bool {
        self.is_of_committed && self.is_idle && self.sensor_runs && self.is_answered
    }
}

impl Succession {
    /// Which program the launcher is to start; `None`: what was installed. A start on trial is counted, and a successor
    /// whose starts are used up is given up.
    pub fn next(&mut self, is_whole: impl Fn(&Program) -> bool, now: Timestamp) -> Option<Program> {
        if let Some(trial) = &mut self.trial {
            if trial.starts < TRIAL_STARTS && is_whole(&trial.program) {
                trial.starts += 1;
                trial.last_end = None;
                return Some(trial.program.clone());
            }
            let is_used_up = trial.starts >= TRIAL_STARTS;
            self.give_up(is_used_up, now);
        }
        [&self.settled, &self.previous].into_iter().flatten().find(|program| is_whole(program)).cloned()
    }

    fn give_up(&mut self, is_used_up: bool, now: Timestamp) {
        let Some(Trial { program, last_end, .. }) = self.trial.take() else { return };
        let (reason, in_doubt) = match (is_used_up, last_end) {
            (false, _) => ("its file is damaged".to_owned(), false),
            (true, None) => (format!("it was started {TRIAL_STARTS} times and did not prove itself"), false),
            (true, Some(End::Itself(words))) => (format!("it was started {TRIAL_STARTS} times: {words}"), false),
            (true, Some(End::Unanswered)) => {
                (format!("it was started {TRIAL_STARTS} times and no check-in of it was answered"), true)
            }
        };
        self.given_up.push(GivenUp { program, reason, at: now, in_doubt });
        let excess = self.given_up.len().saturating_sub(REMEMBERED);
        self.given_up.drain(..excess);
    }

    /// A start on trial has ended.
    pub fn ended(&mut self, end: End) {
        if let Some(trial) = &mut self.trial {
            trial.last_end = Some(end);
        }
    }

    /// A start on trial was ended by whoever stops the service: it counts for nothing.
    pub fn stopped(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.starts = trial.starts.saturating_sub(1);
        }
    }

    /// Whether the program with this hash is on trial.
    #[must_use]
    pub fn is_on_trial(&self, sha256: &str) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.program.sha256 == sha256)
    }

    /// The program with this hash keeps watch and was answered: if it was on trial, it has proved itself.
    pub fn proved(&mut self, sha256: &str) {
        if let Some(trial) = self.trial.take_if(|trial| trial.program.sha256 == sha256) {
            self.previous = self.settled.replace(trial.program);
        }
    }

    /// The first check-in of a run that is not on trial was answered, or not. That settles what was in doubt: who was
    /// given up while the server could not be reached gets another trial.
    pub fn first_check_in(&mut self, is_answered: bool) {
        if !is_answered {
            self.given_up.retain(|tried| !tried.in_doubt);
        }
        self.given_up.iter_mut().for_each(|tried| tried.in_doubt = false);
    }

    /// Whether the offered program is to take the place of the one with this hash.
    #[must_use]
    pub fn wants(&self, offered: &Program, runs: &str) -> bool {
        let was_given_up = || self.given_up.iter().any(|tried| tried.program.sha256 == offered.sha256);
        self.trial.is_none() && offered.sha256 != runs && !was_given_up()
    }

    /// Begins the trial of a program whose file is durable.
    pub fn begin(&mut self, program: Program) {
        self.trial = Some(Trial { program, starts: 0, last_end: None });
    }

    /// The version of the program with this hash; `None`: it is the installed one.
    #[must_use]
    pub fn version_of(&self, sha256: &str) -> Option<Version> {
        let trial = self.trial.as_ref().map(|trial| &trial.program);
        let known = [self.settled.as_ref(), self.previous.as_ref(), trial];
        known.into_iter().flatten().find(|program| program.sha256 == sha256).map(|program| program.version)
    }

    /// The successor that was given up last, if the verdict stands.
    #[must_use]
    pub fn refused(&self) -> Option<&GivenUp> {
        self.given_up.last().filter(|tried| !tried.in_doubt)
    }

    /// The programs whose files must stay.
    pub fn in_use(&self) -> impl Iterator<Item = &Program> {
        let trial = self.trial.as_ref().map(|trial| &trial.program);
        [self.settled.as_ref(), self.previous.as_ref(), trial].into_iter().flatten()
    }
}
