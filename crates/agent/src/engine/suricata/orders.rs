//! What the engine is told by the rest of the sensor, and what it answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinError;
use watchpost_core::sync::EngineProof;

use super::check::{Checked, check};
use super::config::render;
use super::handle::{ConfigureError, Order};
use super::home::Home;
use super::interfaces::{self, Interface};
use super::loading::{COMPLAINTS_LIMIT, Expectation, LoadError, Loader, RulesLoaded};
use super::place::remove;
use super::process::ProcessError;
use super::proving::{ProveError, Prover};
use super::rules::{Gathered, RuleSources, SourceError, write_beside};
use super::supervisor::{Supervisor, Tools, Wanted};
use super::told::clipped;

/// What is said of a check that fails and says nothing.
const NO_WORDS: &str = "its check failed without a word; run `suricata -T` by hand";

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
            self.check_settings(tools, &wanted).await?;
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

    async fn check_settings(&mut self, tools: Tools, wanted: &Wanted) -> Result<(), ConfigureError> {
        let yaml = render(&self.settings(&tools.place, wanted, wanted.interfaces.clone()));
        let canary = Arc::new(Gathered::read(&RuleSources::default())?);
        let checked = self.meanwhile(check_beside::<ConfigureError>(tools, yaml, canary)).await?;
        if checked.is_clean {
            return Ok(());
        }
        let why = if checked.errors.is_empty() { NO_WORDS.to_owned() } else { checked.errors.join("; ") };
        Err(ConfigureError::Refused(clipped(&why)))
    }

    async fn load(&mut self, sources: RuleSources, expectation: Expectation) -> Result<RulesLoaded, LoadError> {
        let from = sources.clone();
        let reading = tokio::task::spawn_blocking(move || Gathered::read(&from));
        let gathered = self.meanwhile(async { reading.await.map_err(broken_off)?.map_err(LoadError::Source) }).await?;
        let gathered = Arc::new(gathered);
        let (would, reasons) = match self.tools_beside_running() {
            Ok(tools) => self.check_rules(tools, &gathered, expectation).await?,
            Err(_) if self.wanted.interfaces.is_empty() => (RulesLoaded::default(), HashMap::new()),
            Err(_) => return Err(LoadError::NotRunning),
        };
        let loaded = if self.running.as_ref().is_some_and(|running| running.answers) {
            self.load_running(&gathered, reasons, expectation).await?
        } else {
            // Nothing listens at the moment. It starts with these, and proves itself then.
            would
        };
        self.tell("rules", format!("Suricata has loaded {} rules and refused {}", loaded.loaded, loaded.failed));
        self.options.rules = sources;
        self.gathered = Some(gathered);
        self.rules = loaded.clone();
        self.publish();
        Ok(loaded)
    }

    /// What the check says, and why it refuses rules by their lines; an error if that is worse than expected.
    async fn check_rules(
        &mut self,
        tools: Tools,
        gathered: &Arc<Gathered>,
        expectation: Expectation,
    ) -> Result<(RulesLoaded, HashMap<usize, String>), LoadError> {
        let yaml = render(&self.settings(&tools.place, &self.wanted, self.wanted.interfaces.clone()));
        let checked = self.meanwhile(check_beside::<LoadError>(tools, yaml, Arc::clone(gathered))).await?;
        let would = promised(&checked, gathered);
        match checked.rules {
            Some(counts) if expectation.is_met_by(counts, would.superseded) => Ok((would, checked.reasons)),
            Some(_) | None => Err(LoadError::Refused(would)),
        }
    }

    async fn load_running(
        &mut self,
        gathered: &Arc<Gathered>,
        reasons: HashMap<usize, String>,
        expectation: Expectation,
    ) -> Result<RulesLoaded, LoadError> {
        let patience = self.options.patience;
        let place = self.tools_of_running().map_err(|_| LoadError::NotRunning)?;
        let running = self.running.as_ref().filter(|running| running.answers).ok_or(LoadError::NotRunning)?;
        let (pid, stops) = (running.process.pid(), self.stops);
        let mut control = running.control(&place, patience.answer).await?;
        let (clock, gathered) = (self.clock.clone(), Arc::clone(gathered));
        let loading = async move {
            let rules = place.rules();
            let mut loader = Loader { clock: &clock, control: &mut control, rules: &rules, patience: patience.reload };
            loader.load(&gathered, &reasons, expectation).await
        };
        let loaded = self.meanwhile(loading).await;
        let is_same = self.running.as_ref().is_none_or(|running| running.process.pid() == pid);
        match loaded {
            // We ended it meanwhile, because of its interfaces: that says nothing about the rules.
            Err(_) if self.stops != stops => Err(LoadError::NotRunning),
            // Another one was started meanwhile, with the rules before.
            Ok(_) if !is_same => Err(LoadError::NotRunning),
            Err(LoadError::Unsettled) if is_same => {
                self.stop_engine().await;
                self.start_soon();
                Err(LoadError::Unsettled)
            }
            loaded => loaded,
        }
    }

    /// Does something that takes its time, while the engine is looked after as ever.
    async fn meanwhile<T, E>(&mut self, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ProcessError> + Send + 'static,
    {
        // A task of its own goes on while a look takes its time, too.
        let mut task = tokio::spawn(work);
        loop {
            tokio::select! {
                done = &mut task => return done.map_err(broken_off)?,
                () = self.watch() => {}
            }
        }
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

    async fn prover(&mut self) -> Result<Prover, ProveError> {
        if let Ok(there) = interfaces::look() {
            self.there = there;
        }
        let running = self.running.as_ref().filter(|running| running.answers).ok_or(ProveError::NotRunning)?;
        let place = self.tools_of_running().map_err(|_| ProveError::NotRunning)?;
        let mut control =
            running.control(&place, self.options.patience.answer).await.map_err(|_| ProveError::NotRunning)?;
        let rules = control.rule_counts().await.map_err(|_| ProveError::NotRunning)?;
        Ok(Prover {
            clock: self.clock.clone(),
            patience: self.options.patience,
            expected: self.expected.clone(),
            sent: self.sent.clone(),
            interfaces: to_prove(&self.there, &self.wanted.interfaces),
            rules,
        })
    }
}

/// Has Suricata check this configuration with these rules, and leaves nothing of it behind. Under names of their own:
/// meanwhile the engine may be started with what is in force.
async fn check_beside<E>(tools: Tools, yaml: String, rules: Arc<Gathered>) -> Result<Checked, E>
where
    E: From<SourceError> + From<ProcessError>,
{
    let folder = tools.place.folder.clone();
    let write = move || -> Result<_, SourceError> {
        let config = write_beside(&folder.join("checked.yaml"), yaml.as_bytes())?;
        Ok((config, write_beside(&folder.join("checked.rules"), rules.text())?))
    };
    let (config, beside) = tokio::task::spawn_blocking(write).await.map_err(broken_off)??;
    let checked = check(&tools.programs, &tools.place, &config, &beside).await;
    for path in [config, beside] {
        // What is left of a check is written over by the next one.
        let _ = remove(&path);
    }
    Ok(checked?)
}

/// A task that did not come to its end.
fn broken_off(error: JoinError) -> ProcessError {
    ProcessError::Io(std::io::Error::other(error))
}

/// The interfaces that a proof is about: every one that is wanted and up, whether the engine listens on it or not.
fn to_prove(there: &BTreeMap<String, Interface>, wanted: &BTreeSet<String>) -> BTreeMap<String, Interface> {
    let up = there.iter().filter(|(name, found)| found.up && wanted.contains(*name));
    up.map(|(name, found)| (name.clone(), found.clone())).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selected_interface_that_is_up_has_to_be_proven() {
        let interface = |up| Interface { up, is_loopback: false, link: None };
        let there = [("a", true), ("b", false), ("c", true), ("d", true)];
        let there = there.map(|(name, up)| (name.to_owned(), interface(up))).into();
        let wanted = ["a", "b", "c", "gone"].map(str::to_owned).into();
        assert_eq!(to_prove(&there, &wanted).into_keys().collect::<Vec<_>>(), ["a", "c"]);
    }
}
