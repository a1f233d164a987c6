//! Other rules for a running sensor: loaded on a thread of their own while the ones in force go on, checked, handed over.
//!
//! A set that loads worse than was expected of it is never handed over.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use tokio::sync::oneshot;

use crate::engine::sigma::{RulesError, Sigma};
use crate::engine::{Engine as _, RuleSet};

/// What rules promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// At least so many are loaded.
    pub loaded: u32,
    /// At most so many are refused.
    pub failed: u32,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The rules are in force.
    Swapped(RuleSet),
    /// The rules before are still in force.
    Refused {
        /// What was loaded, and dropped again.
        rules: RuleSet,
        /// Why, in one line for a person.
        why: String,
    },
}

/// Rules to load.
#[derive(Debug)]
pub struct Reload {
    /// The rules of the release, and those of a rule package.
    pub folders: Vec<PathBuf>,
    /// What they promise.
    pub expectation: Expectation,
    /// Who waits to hear.
    pub reply: oneshot::Sender<Reloaded>,
}

impl Reload {
    /// The rules are not taken.
    pub fn refuse(self, rules: RuleSet, why: &str) {
        tracing::warn!(loaded = rules.loaded, failed = rules.failed, why, "rules were not swapped in");
        // Whoever asked may have gone.
        let _ = self.reply.send(Reloaded::Refused { rules, why: why.to_owned() });
    }

    /// The rules are in force.
    pub fn swapped(self, rules: RuleSet) {
        let _ = self.reply.send(Reloaded::Swapped(rules));
    }
}

/// Rules being loaded.
pub(super) struct Building {
    reload: Reload,
    loaded: Receiver<Result<Sigma, RulesError>>,
}

impl Building {
    /// Begins; `None` if the system refuses a thread, which is answered.
    pub(super) fn begin(reload: Reload) -> Option<Self> {
        let (send, loaded) = sync_channel(1);
        let folders = reload.folders.clone();
        let thread = std::thread::Builder::new().name("rules".to_owned()).spawn(move || {
            // Nobody takes them any more when the sensor is ending.
            let _ = send.send(Sigma::load_all(&folders));
        });
        match thread {
            Ok(_) => Some(Self { reload, loaded }),
            Err(error) => {
                reload.refuse(RuleSet::default(), &format!("the system gives no thread to load the rules on: {error}"));
                None
            }
        }
    }

    /// The rules, once they are loaded and as good as expected; `Ok(None)` if they are not, which is answered; itself
    /// while they are being loaded.
    pub(super) fn poll(self) -> Result<Option<(Sigma, Reload)>, Self> {
        let loaded = match self.loaded.try_recv() {
            Ok(loaded) => loaded,
            Err(TryRecvError::Empty) => return Err(self),
            Err(TryRecvError::Disconnected) => {
                self.reload.refuse(RuleSet::default(), "the rules broke what loads them; report the rule package");
                return Ok(None);
            }
        };
        match loaded {
            Ok(sigma) => Ok(judge(sigma, self.reload)),
            Err(error) => {
                self.reload.refuse(RuleSet::default(), &super::one_line(&error));
                Ok(None)
            }
        }
    }
}

fn judge(sigma: Sigma, reload: Reload) -> Option<(Sigma, Reload)> {
    let (rules, wanted) = (sigma.rules(), reload.expectation);
    if rules.loaded.saturating_add(rules.superseded) >= wanted.loaded && rules.failed <= wanted.failed {
        return Some((sigma, reload));
    }
    let first = rules.complaints.first().map(|complaint| format!("; first: {complaint}")).unwrap_or_default();
    let why = format!(
        "{} rules loaded and {} were refused, where at least {} and at most {} were promised{first}",
        rules.loaded, rules.failed, wanted.loaded, wanted.failed
    );
    reload.refuse(rules.clone(), &why);
    None
}
