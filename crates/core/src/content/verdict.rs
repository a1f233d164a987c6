//! Whether the engines have loaded what a package promised, by what they answer when they are asked.

use std::collections::{BTreeMap, BTreeSet};

use super::{RulesFailure, RulesPromise};
use crate::facts::{EngineFacts, EngineKind, EngineState};
use crate::release::ReleaseManifest;
use crate::time::Timestamp;

/// How many rules the engines have without any package: those of the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Baseline {
    /// For `sigma`.
    pub sigma: u32,
    /// For `suricata`.
    pub suricata: u32,
}

/// Rules that the packet engine has whatever a release brings: its canary's.
pub const BUILT_IN_SURICATA_RULES: u32 = 1;

impl From<&ReleaseManifest> for Baseline {
    fn from(release: &ReleaseManifest) -> Self {
        let suricata = release.suricata_rules_expected.saturating_add(BUILT_IN_SURICATA_RULES);
        Self { sigma: release.rules_expected, suricata }
    }
}

/// What one engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineReading {
    /// What it does.
    pub state: EngineState,
    /// Rules it has loaded, those of the release included.
    pub loaded: u32,
    /// Rules it has refused.
    pub failed: u32,
    /// Rules of the package that it left out, because the release has the same.
    pub superseded: u32,
    /// Its first complaint.
    pub complaint: Option<String>,
}

impl From<&EngineFacts> for EngineReading {
    fn from(facts: &EngineFacts) -> Self {
        Self {
            state: facts.state,
            loaded: facts.rules_loaded,
            failed: facts.rules_failed,
            superseded: facts.rules_superseded,
            complaint: facts.complaints.first().cloned(),
        }
    }
}

/// How the sensor process stands with rules, as it says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RulesView {
    /// Which run of the sensor says so: another number after every start, or always 0 if it has none.
    pub run: u64,
    /// The build that its engines have loaded; `None`: the rules of the release alone.
    pub build: Option<Timestamp>,
    /// The build that it is loading.
    pub loading: Option<Timestamp>,
    /// The last build that it refused to load.
    pub refused: Option<RulesFailure>,
    /// Its engines.
    pub engines: BTreeMap<EngineKind, EngineReading>,
    /// What the release brings.
    pub baseline: Baseline,
}

impl RulesView {
    /// The engines that answer.
    #[must_use]
    pub fn running(&self) -> BTreeSet<EngineKind> {
        let runs = |reading: &EngineReading| reading.state == EngineState::Running;
        self.engines.iter().filter(|(_, reading)| runs(reading)).map(|(kind, _)| *kind).collect()
    }
}

/// What the engines' answers mean for a package on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An engine has yet to answer.
    Wait,
    /// Every engine that runs here has what was promised.
    Kept,
    /// One has not: why, in one line.
    Broken(String),
}

/// Judges a package by the engines' answers. `before`: the engines that ran when it was handed over; one that does not run
/// here and did not run before does not count, one that ran before must run again.
#[must_use]
pub fn judge_load(promise: RulesPromise, before: &BTreeSet<EngineKind>, view: &RulesView) -> Verdict {
    let mut verdict = Verdict::Kept;
    for kind in EngineKind::ALL {
        let (promised, beside) = match kind {
            EngineKind::Sigma => (promise.sigma, view.baseline.sigma),
            EngineKind::Suricata => (promise.suricata, view.baseline.suricata),
        };
        let Some(reading) = view.engines.get(&kind) else {
            if before.contains(&kind) {
                verdict = Verdict::Wait;
            }
            continue;
        };
        match reading.state {
            EngineState::Running => {}
            EngineState::Starting => {
                verdict = Verdict::Wait;
                continue;
            }
            EngineState::NotRunning | EngineState::StartFailed => {
                if before.contains(&kind) {
                    verdict = Verdict::Wait;
                }
                continue;
            }
        }
        let word = kind.word();
        if reading.failed > 0 {
            let first = reading.complaint.as_deref().map(|line| format!(", the first: {line}")).unwrap_or_default();
            return Verdict::Broken(format!("{word} refused {} rules{first}", reading.failed));
        }
        let expected = beside.saturating_add(promised);
        // What the release has already, the package need not bring.
        if reading.loaded.saturating_add(reading.superseded) < expected {
            let loaded = reading.loaded;
            let why = format!(
                "{word} has loaded {loaded} rules; the release brings {beside} and the package promises {promised} more"
            );
            return Verdict::Broken(why);
        }
    }
    verdict
}
