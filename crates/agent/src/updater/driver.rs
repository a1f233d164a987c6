//! Carries out what the machine says, in its order, and tells it what came of it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use watchpost_clock::Clock;
use watchpost_core::content::{Baseline, RulesEvent};
use watchpost_core::facts::EngineState;
use watchpost_core::policy::ResourcePolicy;
use watchpost_core::restart::RestartNeed;
use watchpost_core::settings::SensorSettings;
use watchpost_core::sync::{Desired, DetectionProof, Report, ServiceState, TargetRef};
use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Command, Death, Event, Machine, Release, Running};
use watchpost_protocol::SyncReply;

use super::courier::{Courier, Delivery};
use super::error::{DriverError, in_one_line};
use super::installation::Installation;
use super::prepare::{Order, Preparer};
use super::restarter;
use super::supervisor::{Heard, News, Supervisor};
use super::versions::Look;
use crate::host::facts;
use crate::host::watch::HostWatch;
use crate::local::{Ask, SensorStatus};
use crate::rules::{self, Rules};
use crate::sensor::needs;
use ordered::HostOrder;

/// Everything the machine needs to act on a host.
pub(super) struct Driver {
    machine: Machine,
    installation: Installation,
    supervisor: Supervisor,
    preparer: Preparer,
    preparing: Option<AbortHandle>,
    prepared: mpsc::Sender<Event>,
    clock: Clock,
    status: Option<SensorStatus>,
    proof: Option<DetectionProof>,
    server_time: Option<Timestamp>,
    floor_raised_to: Option<Release>,
    is_proving: bool,
    operating_system: String,
    host: HostWatch,
    /// Since when the guard finds too little memory.
    memory_short_since: Option<Timestamp>,
    courier: Courier,
    settings: Option<Wanted>,
    rules: Rules,
    /// How many rules the release that runs brings by itself.
    baseline: Option<(Release, Baseline)>,
    /// An update that somebody on the host waits for.
    order: Option<HostOrder>,
}

/// The settings that the control plane wants, and which process was told of them.
struct Wanted {
    generation: u64,
    settings: SensorSettings,
    told: Option<u64>,
}

impl Driver {
    /// Recovers from the disk and does what is to be done first.
    ///
    /// # Errors
    /// When the host's folders cannot be used, or the record cannot be made durable.
    pub(super) async fn open(
        installation: Installation,
        mut supervisor: Supervisor,
        preparer: Preparer,
        prepared: mpsc::Sender<Event>,
        courier: Courier,
        rules: Rules,
        clock: Clock,
    ) -> Result<Self, DriverError> {
        let running = supervisor.adopt();
        let (machine, commands) = installation.recover(running, clock.now())?;
        let host = HostWatch::new(supervisor.root(), ResourcePolicy::default());
        let mut driver = Self {
            machine,
            installation,
            supervisor,
            preparer,
            preparing: None,
            prepared,
            clock,
            status: None,
            proof: None,
            server_time: None,
            floor_raised_to: None,
            is_proving: false,
            operating_system: facts::operating_system(),
            host,
            memory_short_since: None,
            courier,
            settings: None,
            rules,
            baseline: None,
            order: None,
        };
        driver.carry_out(commands).await?;
        Ok(driver)
    }

    /// The machine, for looking at.
    #[must_use]
    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether something is on its way between this host and the control plane, besides check-ins.
    #[must_use]
    pub(super) fn is_busy(&self) -> bool {
        let is_fetching = self.preparing.is_some() || self.rules.is_fetching();
        is_fetching || self.courier.is_sending() || self.is_identifying()
    }

    /// Whether neither a release, a rule package nor an order is under way. Evidence is: there may be some at any time.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.preparing.is_none() && self.order.is_none() && !self.rules.is_fetching() && !self.rules.is_loading()
    }

    /// The folder of a release.
    #[must_use]
    pub(super) fn folder(&self, release: Release) -> PathBuf {
        self.installation.versions.folder(release)
    }

    /// Whether a canary is on its way through the sensor.
    #[must_use]
    pub(super) fn is_proving(&self) -> bool {
        self.is_proving
    }

    /// Which sensor process counts, from the updater's start on.
    #[must_use]
    pub(super) fn sensor_turn(&self) -> u64 {
        self.supervisor.turn()
    }

    /// Whether the running sensor has said anything yet.
    #[must_use]
    pub(super) fn has_heard(&self) -> bool {
        self.status.is_some()
    }

    /// What this host reports.
    #[must_use]
    pub(super) fn report(&self) -> Report {
        let (status, machine) = (self.status.as_ref(), self.machine.report());
        Report {
            // A sensor pulls its configuration by running with it; where none is installed there is none to run.
            pulled_configuration: machine.version.is_none() || machine.service == ServiceState::Running,
            conditions: status.map(|status| status.conditions.clone()).unwrap_or_default(),
            alert_count: status.map_or(0, |status| status.alert_count),
            settings_generation: status.map_or(0, |status| status.settings_generation),
            facts: self.facts(),
            rules: self.rules.report(),
            asked: self.asked(),
            operating_system: self.operating_system.clone(),
            ..machine
        }
    }

    /// A batch of evidence has arrived or not.
    pub(super) fn delivered(&mut self, delivery: Delivery) {
        if let Some(ask) = self.courier.delivered(delivery) {
            self.supervisor.ask(ask);
        }
    }

    /// Hands the sensor the settings it should have, once per process and generation; a check-in asks again.
    fn configure(&mut self) {
        let turn = self.supervisor.turn();
        let (Some(wanted), Some(status)) = (&mut self.settings, &self.status) else { return };
        if status.settings_generation != wanted.generation && wanted.told != Some(turn) {
            wanted.told = Some(turn);
            let (generation, settings) = (wanted.generation, wanted.settings.clone());
            self.supervisor.ask(Ask::Configure { generation, settings });
        }
    }

    /// A check-in was answered.
    ///
    /// # Errors
    /// When the record cannot be made durable.
    pub(super) async fn answered(&mut self, reply: SyncReply) -> Result<(), DriverError> {
        self.server_time = Some(reply.server_time);
        self.host.hears_time(reply.server_time, self.clock.now());
        self.courier.reached();
        self.want(&reply.desired);
        let asks = self.rules.desired(reply.desired.rules.clone(), reply.server_time, self.clock.now())?;
        self.ask_all(asks);
        self.carry_evidence();
        self.machine.check_in_every(reply.come_back_after);
        let commands = self.machine.raise_time_floor(reply.server_time);
        self.carry_out(commands).await?;
        self.asked_reply(reply.asked);
        self.identify();
        self.take(Event::DesiredReceived(reply.desired)).await
    }

    fn ask_all(&self, asks: Vec<Ask>) {
        asks.into_iter().for_each(|ask| self.supervisor.ask(ask));
    }

    /// What the engines have loaded, against what the rule package in hand promises.
    fn hear_rules(&mut self, release: Release) -> Result<(), DriverError> {
        let Some(status) = &self.status else { return Ok(()) };
        let baseline = match self.baseline {
            Some((of, baseline)) if of == release => baseline,
            Some(_) | None => rules::baseline(&self.installation.versions.folder(release)),
        };
        self.baseline = Some((release, baseline));
        let asks = self.rules.heard(status, baseline, self.clock.now())?;
        self.ask_all(asks);
        Ok(())
    }

    /// Fetching a rule package came to this.
    ///
    /// # Errors
    /// When a decision about it could not be made durable.
    pub(super) fn rules_fetched(&mut self, event: RulesEvent) -> Result<(), DriverError> {
        let asks = self.rules.fetched(event, self.clock.now())?;
        self.ask_all(asks);
        Ok(())
    }

    /// Time has passed for rule packages.
    ///
    /// # Errors
    /// When a decision about them could not be made durable.
    pub(super) fn rules_tick(&mut self) -> Result<(), DriverError> {
        let asks = self.rules.tick(self.clock.now())?;
        self.ask_all(asks);
        Ok(())
    }

    /// When something is due although nothing is heard.
    #[must_use]
    pub(super) fn wakes_at(&self) -> Option<Timestamp> {
        [self.machine.wakes_at(), self.rules.wakes_at()].into_iter().flatten().min()
    }

    /// Takes note of the settings to have; an older generation is refused, as with everything that is desired.
    fn want(&mut self, desired: &Desired) {
        let generation = desired.settings_generation;
        if self.settings.as_ref().is_none_or(|known| known.generation <= generation) {
            self.settings = Some(Wanted { generation, settings: desired.settings.clone(), told: None });
        }
        self.configure();
    }

    /// Asks for a batch of evidence if one waits.
    fn carry_evidence(&mut self) {
        let waiting = self.status.as_ref().map_or(0, |status| status.measurements.evidence_waiting);
        if let Some(ask) = self.courier.waiting(waiting) {
            self.supervisor.ask(ask);
        }
    }

    /// The sensor said something, or is gone.
    ///
    /// # Errors
    /// When the record cannot be made durable.
    pub(super) async fn heard(&mut self, heard: Heard) -> Result<(), DriverError> {
        let Heard { turn, release, news } = heard;
        if turn != self.supervisor.turn() {
            return Ok(());
        }
        match news {
            News::Evidence(batch) => {
                self.courier.handed_out(batch);
                Ok(())
            }
            News::Died(death) => {
                self.sensor_is_gone()?;
                tracing::warn!(%release, ?death, "the sensor is gone");
                self.take(Event::SensorDied(death)).await
            }
            News::Status(status) if status.version == release.version => self.status(release, *status).await,
            News::Status(status) => {
                tracing::error!(%release, says = %status.version, "the sensor names another version than its folder");
                Ok(())
            }
        }
    }

    async fn status(&mut self, release: Release, status: SensorStatus) -> Result<(), DriverError> {
        let proof = status.proof.clone();
        let event = if status.ready { Event::SensorReady(release) } else { Event::SensorNotReady(release) };
        self.status = Some(status);
        self.configure();
        self.carry_evidence();
        self.hear_rules(release)?;
        self.take(event).await?;
        match proof {
            Some(proof) if self.proof.as_ref() != Some(&proof) => {
                self.is_proving = false;
                self.proof = Some(proof.clone());
                self.take(Event::ProofSeen(proof)).await
            }
            // While a proof is on its way, whatever it comes to says more.
            None if !self.is_proving && self.proof.take().is_some() => self.take(Event::ProofOutgrown).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Takes an event, and everything that follows from it.
    ///
    /// # Errors
    /// When the record cannot be made durable. The driver is of no further use then: recover from the disk.
    pub(super) async fn take(&mut self, event: Event) -> Result<(), DriverError> {
        if matches!(event, Event::Prepared { .. } | Event::PrepareFailed { .. }) {
            self.preparing = None;
        }
        let commands = self.machine.handle(event, self.clock.now());
        self.carry_out(commands).await
    }

    async fn carry_out(&mut self, commands: Vec<Command>) -> Result<(), DriverError> {
        let mut due = VecDeque::from(commands);
        while let Some(command) = due.pop_front() {
            let follows = match self.installation.carry_out(&command, self.supervisor.running())? {
                Some(events) => events,
                None => self.act(command).await?,
            };
            // What follows from a command comes after the commands of the same list: the machine ordered them so.
            if !follows.is_empty() {
                let now = self.clock.now();
                due.extend(follows.into_iter().flat_map(|event| self.machine.handle(event, now)));
            }
            self.raise_floor();
        }
        Ok(())
    }

    async fn act(&mut self, command: Command) -> Result<Vec<Event>, DriverError> {
        match command {
            Command::Prepare { release, target } => self.prepare(release, target),
            Command::AbandonPrepare => {
                if let Some(task) = self.preparing.take() {
                    task.abort();
                }
            }
            Command::StopSensor => {
                self.supervisor.stop().await;
                self.forget_sensor();
                self.sensor_is_gone()?;
            }
            Command::Restart(need) => self.restart(need),
            Command::StartSensor(release) => return Ok(self.start(release).await),
            Command::Prove { generation } => {
                self.is_proving = true;
                self.supervisor.ask(Ask::Prove { generation });
            }
            Command::Persist(_) | Command::SwitchTo(_) | Command::CollectGarbage { .. } => {}
        }
        Ok(Vec::new())
    }

    /// Whatever it was asked, it answers no more, however it ended.
    fn sensor_is_gone(&mut self) -> Result<(), DriverError> {
        self.courier.sensor_gone();
        self.engines_are_gone();
        let asks = self.rules.sensor_gone(self.clock.now())?;
        self.ask_all(asks);
        Ok(())
    }

    /// What the last process said does not hold for the next one, but the count of alerts does until it is told anew.
    fn forget_sensor(&mut self) {
        self.is_proving = false;
        self.proof = None;
        if let Some(status) = &mut self.status {
            status.proof = None;
            status.conditions.clear();
        }
    }

    /// The engines run within the sensor: without it there is none.
    fn engines_are_gone(&mut self) {
        let now = self.clock.now();
        let Some(status) = &mut self.status else { return };
        for engine in status.facts.engines.values_mut() {
            engine.state = EngineState::NotRunning;
            engine.since = now;
            "the sensor that runs it has ended".clone_into(&mut engine.reason);
        }
        for interface in status.facts.interfaces.values_mut() {
            (interface.silent_since, interface.losing_since) = (None, None);
        }
        status.measurements.evidence_waiting = 0;
    }

    async fn start(&mut self, release: Release) -> Vec<Event> {
        self.forget_sensor();
        let started = match self.installation.versions.verify(release, Look::Cheap) {
            Ok(()) => {
                let started = self.supervisor.start(release).await;
                started.map_err(|error| format!("it cannot be started: {error}"))
            }
            Err(error) => Err(format!("it cannot be started: {}", in_one_line(&error))),
        };
        match started {
            Ok(()) => Vec::new(),
            Err(why) => vec![Event::SensorDied(Death::Ended(why))],
        }
    }

    fn prepare(&mut self, release: Release, target: TargetRef) {
        let floor = self.machine.record().time_floor;
        let order = Order {
            release,
            target,
            running: self.machine.record().committed.map(|release| release.version),
            server_time: self.server_time.unwrap_or(floor).max(floor),
        };
        let (preparer, prepared) = (self.preparer.clone(), self.prepared.clone());
        let folder = self.installation.versions.folder(release);
        tracing::info!(%release, "a release is prepared");
        let task = tokio::spawn(async move {
            let progress = |percent| {
                // Progress is for people; when nobody keeps up, the next one will do.
                let _ = prepared.try_send(Event::PrepareProgress { release, percent });
            };
            let event = match preparer.prepare(order, progress).await {
                Ok(()) => prepared_as(release, &folder),
                Err(error) => {
                    let (reason, retryable) = (in_one_line(&error), error.is_retryable());
                    tracing::warn!(%release, retryable, "a release could not be prepared: {reason}");
                    Event::PrepareFailed { release, reason, retryable }
                }
            };
            let _ = prepared.send(event).await;
        });
        self.preparing = Some(task.abort_handle());
    }

    /// Restarts what the release on its way needs restarted, beside everything else.
    fn restart(&self, need: RestartNeed) {
        let (unit, told) = (self.supervisor.watched_unit(), self.prepared.clone());
        tracing::warn!(what = need.word(), "a restart that the new release needs is begun");
        tokio::spawn(async move {
            match restarter::restart(need, unit.as_deref()).await {
                // It goes down, and what starts then sees that it has restarted.
                Ok(()) if need == RestartNeed::Host => {}
                Ok(()) => drop(told.send(Event::Restarted).await),
                Err(error) => drop(told.send(Event::RestartFailed(in_one_line(&error))).await),
            }
        });
    }

    /// Once a release is committed here, no older one is approved (the floor of `package`).
    fn raise_floor(&mut self) {
        let committed = self.machine.record().committed;
        if committed == self.floor_raised_to {
            return;
        }
        self.floor_raised_to = committed;
        if let Some(release) = committed {
            let preparer = self.preparer.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = preparer.committed(release) {
                    tracing::error!(%release, "the rollback floor could not be raised: {}", in_one_line(&error));
                }
            });
        }
    }

    /// Stops the sensor, because the updater itself was told to stop.
    pub(super) async fn shut_down(&mut self) {
        if let Some(task) = self.preparing.take() {
            task.abort();
        }
        if self.supervisor.running() != Running::Nothing {
            self.supervisor.stop().await;
        }
    }
}

/// The release with the restart that its manifest declares, which was verified with everything else in its folder.
fn prepared_as(release: Release, folder: &Path) -> Event {
    match needs::read_release(folder) {
        Ok(manifest) => Event::Prepared { release, restart: manifest.restart },
        Err(error) => Event::PrepareFailed { release, reason: in_one_line(&error), retryable: false },
    }
}

mod observed;
pub(super) mod ordered;
#[cfg(test)]
mod tests;
