//! What the engine is told by the rest of the sensor, and what it answers.

use std::collections::HashMap;

use tokio::sync::oneshot;
use watchpost_core::sync::EngineProof;

use super::canary;
use super::check::{Checked, check};
use super::config::render;
use super::handle::{ConfigureError, Order};
use super::home::Home;
use super::loading::{COMPLAINTS_LIMIT, Expectation, LoadError, Loader, RulesLoaded};
use super::place::remove;
use super::proving::{ProveError, Prover};
use super::rules::{Gathered, RuleSources, write_beside};
use super::supervisor::{Supervisor, Tools, Wanted};
use super::told::clipped;

impl Supervisor {
    /// Does what it is told. Whoever asked may have gone meanwhile.
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Configure { interfaces, home, done } => {
                let _ = done.send(self.configure(Wanted { interfaces, home }).await);
            }
            Order::Load { sources, expectation, done } => {
                let _ = done.send(self.load(sources, expectation).await);
            }
            Order::Prove { done } => self.prove(done).await,
        }
    }

    async fn configure(&mut self, wanted: Wanted) -> Result<(), ConfigureError> {
        if wanted == self.wanted {
            return Ok(());
        }
        // Without Suricata nothing can be checked: the engine's facts say what is missing, and it starts once it is there.
        if let (Ok(tools), false) = (self.tools_beside_running(), wanted.interfaces.is_empty()) {
            self.check_settings(&tools, &wanted).await?;
        }
        self.intake.set_home(Home::new(&wanted.home)).await;
        self.wanted = wanted;
        self.stop_engine().await;
        // What was wrong with the engine before is not said of the one that is wanted now.
        self.engine = None;
        self.start_soon();
        self.look().await;
        Ok(())
    }

    /// The tools, without touching the sockets of an engine that runs.
    fn tools_beside_running(&self) -> Result<Tools, ConfigureError> {
        if self.running.is_none() {
            return self.tools();
        }
        let place = self.tools_of_running()?;
        Ok(Tools { place, programs: super::process::Programs::find(self.options.program.as_deref())? })
    }

    async fn check_settings(&self, tools: &Tools, wanted: &Wanted) -> Result<(), ConfigureError> {
        let yaml = render(&self.settings(&tools.place, wanted, wanted.interfaces.clone()));
        let config = write_beside(&tools.place.config(), yaml.as_bytes())?;
        let rules = write_beside(&tools.place.folder.join("canary.rules"), canary::RULE.as_bytes())?;
        let checked = check(&tools.programs, &tools.place, &config, &rules).await;
        remove(&config)?;
        remove(&rules)?;
        let checked = checked?;
        if checked.is_clean { Ok(()) } else { Err(ConfigureError::Refused(checked.errors.join("; "))) }
    }

    async fn load(&mut self, sources: RuleSources, expectation: Expectation) -> Result<RulesLoaded, LoadError> {
        let gathered = Gathered::read(&sources)?;
        let checked = match self.tools_beside_running() {
            Ok(tools) => self.check_rules(&tools, &gathered, expectation).await?,
            Err(_) if self.wanted.interfaces.is_empty() => None,
            Err(_) => return Err(LoadError::NotRunning),
        };
        let loaded = if self.wanted.interfaces.is_empty() {
            checked.map_or_else(RulesLoaded::default, |(_, would)| would)
        } else {
            let reasons = checked.map(|(checked, _)| checked.reasons).unwrap_or_default();
            self.load_running(&gathered, &reasons, expectation).await?
        };
        self.tell("rules", format!("Suricata has loaded {} rules and refused {}", loaded.loaded, loaded.failed));
        self.options.rules = sources;
        self.gathered = Some(gathered);
        self.rules = loaded.clone();
        self.publish();
        Ok(loaded)
    }

    /// What the check says; an error if that is worse than expected.
    async fn check_rules(
        &self,
        tools: &Tools,
        gathered: &Gathered,
        expectation: Expectation,
    ) -> Result<Option<(Checked, RulesLoaded)>, LoadError> {
        let yaml = render(&self.settings(&tools.place, &self.wanted, self.wanted.interfaces.clone()));
        let config = write_beside(&tools.place.config(), yaml.as_bytes())?;
        let beside = write_beside(&tools.place.folder.join("checked.rules"), gathered.text())?;
        let checked = check(&tools.programs, &tools.place, &config, &beside).await;
        for path in [config, beside] {
            // What is left of a check is written over by the next one.
            let _ = remove(&path);
        }
        let checked = checked?;
        let would = promised(&checked, gathered);
        match checked.rules {
            Some(counts) if expectation.is_met_by(counts, would.superseded) => Ok(Some((checked, would))),
            Some(_) | None => Err(LoadError::Refused(would)),
        }
    }

    async fn load_running(
        &mut self,
        gathered: &Gathered,
        reasons: &HashMap<usize, String>,
        expectation: Expectation,
    ) -> Result<RulesLoaded, LoadError> {
        let patience = self.options.patience;
        let place = self.tools_of_running().map_err(|_| LoadError::NotRunning)?;
        let running = self.running.as_ref().filter(|running| running.answers).ok_or(LoadError::NotRunning)?;
        let mut control = running.control(&place, patience.answer).await?;
        let rules = place.rules();
        let mut loader = Loader { clock: &self.clock, control: &mut control, rules: &rules, patience: patience.reload };
        let loaded = loader.load(gathered, reasons, expectation).await;
        if matches!(loaded, Err(LoadError::Unsettled)) {
            self.stop_engine().await;
            self.start_soon();
        }
        loaded
    }

    /// A proof takes its time, in which the engine is looked after as ever.
    async fn prove(&mut self, done: oneshot::Sender<Result<EngineProof, ProveError>>) {
        let prover = self.prover().await;
        tokio::spawn(async move {
            let proof = match prover {
                Ok(prover) => prover.run().await,
                Err(error) => Err(error),
            };
            let _ = done.send(proof);
        });
    }

    async fn prover(&self) -> Result<Prover, ProveError> {
        let running = self.running.as_ref().filter(|running| running.answers).ok_or(ProveError::NotRunning)?;
        let place = self.tools_of_running().map_err(|_| ProveError::NotRunning)?;
        let mut control =
            running.control(&place, self.options.patience.answer).await.map_err(|_| ProveError::NotRunning)?;
        let rules = control.rule_counts().await.map_err(|_| ProveError::NotRunning)?;
        let up = self.there.iter().filter(|(name, found)| found.up && running.interfaces.contains(*name));
        Ok(Prover {
            clock: self.clock.clone(),
            patience: self.options.patience,
            expected: self.expected.clone(),
            sent: self.sent.clone(),
            interfaces: up.map(|(name, found)| (name.clone(), found.clone())).collect(),
            rules,
        })
    }
}

/// What the check says in the words of a load.
fn promised(checked: &Checked, gathered: &Gathered) -> RulesLoaded {
    let counts = checked.rules.unwrap_or_default();
    let mut lines: Vec<(&usize, &String)> = checked.reasons.iter().collect();
    lines.sort();
    let mut complaints: Vec<String> =
        lines.into_iter().map(|(line, why)| clipped(&format!("{}: {why}", gathered.origin(*line)))).collect();
    if complaints.is_empty() {
        complaints = checked.errors.iter().map(|error| clipped(error)).collect();
    }
    complaints.truncate(COMPLAINTS_LIMIT);
    RulesLoaded {
        loaded: counts.loaded,
        superseded: gathered.superseded(),
        failed: counts.failed,
        complaints,
        sha256: gathered.sha256(),
        by_engine: false,
    }
}
