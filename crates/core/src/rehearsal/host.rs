//! One simulated host: the production updater machine, and a world around it that behaves as the scenario says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::scenario::{Behaviour, OnUpdate, SensorSpec, Window};
use crate::facts::EngineKind;
use crate::restart::RestartNeed;
use crate::sync::{Desired, DetectionProof, EngineProof, Report, ServiceState, TargetRef, UpdateProgress};
use crate::time::Timestamp;
use crate::updater::{Command, Death, DiskView, Event, Failure, Machine, Policy, Record, Release, Running, recover};
use crate::version::Version;

/// How long fetching, verifying and unpacking takes unless the scenario says otherwise.
pub(super) const USUAL_UPDATE: Duration = Duration::from_secs(30);
/// Rules of a simulated release; any number but none would do.
const RULES: u32 = 1;
/// The hash of every simulated package: two releases differ by their version already.
const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The package of a version, as the simulated repositories name it.
pub(super) fn target_of(version: Version) -> TargetRef {
    TargetRef { name: format!("sensor-{version}.cab"), sha256: HASH.to_owned(), length: 1 }
}

/// A host, its updater and its sensor.
#[derive(Debug)]
pub struct Host<'s> {
    behaviour: &'s Behaviour,
    start: Timestamp,
    policy: Policy,
    check_in: Duration,
    machine: Machine,
    record: Record,
    disk: DiskView,
    /// Packages that will have arrived.
    arriving: Vec<(Timestamp, Release)>,
    is_on: bool,
    /// It says nothing any more, for good.
    is_mute: bool,
    /// The restart that the package in hand declares.
    restarts: BTreeMap<Version, RestartNeed>,
    /// Versions switched to since anybody asked.
    switched: Vec<Version>,
    /// What a copy of a living host says beside what its updater knows.
    said: Option<Report>,
}

/// A living host, as it was last heard of.
pub(super) struct Heard<'a> {
    /// Its last report.
    pub(super) report: &'a Report,
    /// What it runs, as the package of it is known.
    pub(super) installed: Option<Release>,
    /// The newest desired generation that it is taken to know.
    pub(super) generation: u64,
}

impl<'s> Host<'s> {
    /// A host that runs this version, for a fleet that somebody else plays.
    #[must_use]
    pub fn running(version: Version, behaviour: &'s Behaviour, start: Timestamp, check_in: Duration) -> Self {
        let record = Release::new(version, HASH).map_or_else(Record::default, Record::committed);
        Self::over(behaviour, record, start, Policy::default(), check_in)
    }

    /// The package of a version, as such a host knows it.
    #[must_use]
    pub fn target_of(version: Version) -> TargetRef {
        target_of(version)
    }

    /// A host as it is at `start`, with what it ran before.
    pub(super) fn new(spec: &'s SensorSpec, start: Timestamp, policy: Policy, check_in: Duration) -> Self {
        let installed = spec.version.and_then(|version| Release::new(version, HASH));
        let record = installed.map_or_else(Record::default, Record::committed);
        Self::over(&spec.behaviour, record, start, policy, check_in)
    }

    /// A copy of a living host: what is under way there begins anew, everything else is as it said.
    pub(super) fn heard(
        heard: &Heard<'_>,
        behaviour: &'s Behaviour,
        start: Timestamp,
        policy: Policy,
        check_in: Duration,
    ) -> Self {
        let report = heard.report;
        let mut record = heard.installed.map_or_else(Record::default, Record::committed);
        record.generation = heard.generation;
        record.bad_versions = report.bad_versions.iter().map(|version| (*version, report.generation)).collect();
        if let UpdateProgress::Failed { version, reverted, reason, at } = &report.update {
            let (version, reverted, reason, at) = (*version, *reverted, reason.clone(), *at);
            record.last_failure = Some(Failure { version, reverted, reason, at, generation: record.generation });
        }
        let mut host = Self::over(behaviour, record, start, policy, check_in);
        host.said = Some(report.clone());
        host.follow_script(start);
        host
    }

    fn over(behaviour: &'s Behaviour, record: Record, start: Timestamp, policy: Policy, check_in: Duration) -> Self {
        let disk = record.committed.map(DiskView::of).unwrap_or_default();
        let (machine, commands) = recover(Some(record.clone()), &disk, policy, start);
        let mut host = Self {
            behaviour,
            start,
            policy,
            check_in,
            machine,
            record,
            disk,
            arriving: Vec::new(),
            is_on: true,
            is_mute: false,
            restarts: BTreeMap::new(),
            switched: Vec::new(),
            said: None,
        };
        host.machine.check_in_every(check_in);
        host.carry_out(commands, start);
        if let Running::Release(release) = host.disk.running {
            host.tell(Event::SensorReady(release), start);
        }
        host
    }

    /// Whether it would check in.
    #[must_use]
    pub fn can_talk(&self) -> bool {
        self.is_on && !self.is_mute
    }

    /// Switches it on and off as the scenario says.
    pub(super) fn follow_script(&mut self, now: Timestamp) {
        self.power(!self.is_within(&self.behaviour.offline, now), now);
    }

    /// Switches it on or off. A host that comes up finds what lay on its disk.
    pub fn power(&mut self, should_be_on: bool, now: Timestamp) {
        if self.is_on && !should_be_on {
            self.is_on = false;
            self.arriving.clear();
            self.disk.running = Running::Nothing;
        } else if !self.is_on && should_be_on {
            self.is_on = true;
            let (machine, commands) = recover(Some(self.record.clone()), &self.disk, self.policy, now);
            self.machine = machine;
            self.machine.check_in_every(self.check_in);
            self.carry_out(commands, now);
        }
    }

    /// When something happens on it by itself.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        if !self.can_talk() {
            return None;
        }
        self.arriving.iter().map(|(at, _)| *at).chain(self.machine.wakes_at()).min()
    }

    /// Lets everything happen that is due; returns the versions it has switched to.
    pub fn wake(&mut self, now: Timestamp) -> Vec<Version> {
        if self.can_talk() {
            let (due, later) = std::mem::take(&mut self.arriving).into_iter().partition(|(at, _)| *at <= now);
            self.arriving = later;
            let due: Vec<(Timestamp, Release)> = due;
            for (_, release) in due {
                self.disk.versions.insert(release);
                let restart = self.restarts.get(&release.version).copied().unwrap_or_default();
                self.tell(Event::Prepared { release, restart }, now);
            }
            self.tell(Event::Tick, now);
        }
        std::mem::take(&mut self.switched)
    }

    /// What it says when it checks in.
    #[must_use]
    pub fn report(&self, now: Timestamp) -> Report {
        let mut report = self.machine.report();
        if let Some(said) = &self.said {
            return self.in_the_words_of(said, report);
        }
        if report.service == ServiceState::Running && self.is_within(&self.behaviour.service_stopped, now) {
            report.service = ServiceState::Stopped;
        }
        report.pulled_configuration = !self.is_within(&self.behaviour.no_config_pull, now);
        report.conditions = self
            .behaviour
            .health_facts
            .iter()
            .filter(|fact| self.is_in(fact.window(), now))
            .map(|fact| fact.issue_type.clone())
            .collect::<BTreeSet<String>>();
        report
    }

    /// What a living host said, with what its updater has come to since.
    fn in_the_words_of(&self, said: &Report, updater: Report) -> Report {
        // A sensor that does not run there does not begin to here.
        let is_stopped = said.version.is_some() && said.service != ServiceState::Running;
        let service = if is_stopped { said.service } else { updater.service };
        let proof = updater.proof.map(|proof| DetectionProof { engines: self.engines(&proof), ..proof });
        Report {
            version: updater.version,
            service,
            update: updater.update,
            bad_versions: updater.bad_versions,
            proof: proof.or_else(|| said.proof.clone()),
            generation: updater.generation,
            pulled_configuration: true,
            ..said.clone()
        }
    }

    /// Each engine that the host says it runs is taken to prove itself as `sigma` does.
    fn engines(&self, proof: &DetectionProof) -> BTreeMap<EngineKind, EngineProof> {
        let (detected_at, rules_loaded, rules_failed) = (proof.detected_at, proof.rules_loaded, proof.rules_failed);
        let kinds = self.said.iter().flat_map(|said| said.facts.engines.keys());
        kinds.map(|kind| (*kind, EngineProof { detected_at, rules_loaded, rules_failed })).collect()
    }

    /// What the control plane answers, and the restart that the package which it names declares.
    pub fn answered(&mut self, desired: Desired, restart: RestartNeed, now: Timestamp) {
        if let Some(version) = desired.version.filter(|_| restart.is_needed()) {
            self.restarts.insert(version, restart);
        }
        self.tell(Event::DesiredReceived(desired), now);
    }

    /// Whether it has taken this generation and has nothing under way.
    #[must_use]
    pub fn is_settled_on(&self, generation: u64) -> bool {
        self.record.generation == generation && self.wakes_at().is_none()
    }

    fn is_in(&self, window: Window, now: Timestamp) -> bool {
        self.start + window.from.0 <= now && now < self.start + window.to.0
    }

    fn is_within(&self, windows: &[Window], now: Timestamp) -> bool {
        windows.iter().any(|window| self.is_in(*window, now))
    }

    fn behaviour_of(&self, release: Release) -> OnUpdate {
        self.behaviour.on_update.get(&release.version).copied().unwrap_or_default()
    }

    fn tell(&mut self, event: Event, now: Timestamp) {
        let commands = self.machine.handle(event, now);
        self.carry_out(commands, now);
    }

    /// Carries commands out in order, then tells the machine what came of them, until nothing is left to do.
    fn carry_out(&mut self, commands: Vec<Command>, now: Timestamp) {
        let mut to_do = VecDeque::from(commands);
        let mut answers = VecDeque::new();
        loop {
            if let Some(command) = to_do.pop_front() {
                answers.extend(self.perform(command, now));
            } else if let Some(answer) = answers.pop_front() {
                to_do.extend(self.machine.handle(answer, now));
            } else {
                return;
            }
        }
    }

    fn perform(&mut self, command: Command, now: Timestamp) -> Option<Event> {
        match command {
            Command::Persist(record) => {
                self.record = record;
                None
            }
            Command::Prepare { release, .. } => {
                let takes = self.behaviour.update_takes.map_or(USUAL_UPDATE, |span| span.0);
                if self.behaviour_of(release) != OnUpdate::Stall {
                    self.arriving.push((now + takes, release));
                }
                None
            }
            Command::AbandonPrepare => {
                self.arriving.clear();
                None
            }
            Command::SwitchTo(release) => {
                self.disk.link = Some(release);
                if self.record.committed != Some(release) {
                    self.switched.push(release.version);
                    self.is_mute |= self.behaviour_of(release) == OnUpdate::Silent;
                }
                Some(Event::Switched(release))
            }
            Command::Restart(_) => Some(Event::Restarted),
            Command::StartSensor(release) => Some(self.start_sensor(release)),
            Command::StopSensor => {
                self.disk.running = Running::Nothing;
                None
            }
            Command::Prove { generation } => self.prove(generation, now),
            Command::CollectGarbage { keep } => {
                self.disk.versions.retain(|release| keep.contains(release));
                None
            }
        }
    }

    fn start_sensor(&mut self, release: Release) -> Event {
        match self.behaviour_of(release) {
            OnUpdate::Crash => Event::SensorDied(Death::Ended("it ended right after its start".to_owned())),
            OnUpdate::Ok | OnUpdate::Unhealthy | OnUpdate::Silent | OnUpdate::Stall => {
                self.disk.running = Running::Release(release);
                Event::SensorReady(release)
            }
        }
    }

    fn prove(&self, generation: u64, now: Timestamp) -> Option<Event> {
        let release = self.machine.running()?;
        let is_deaf =
            self.behaviour_of(release) == OnUpdate::Unhealthy || self.is_within(&self.behaviour.service_stopped, now);
        let proof = DetectionProof {
            generation,
            version: release.version,
            detected_at: now,
            rules_loaded: RULES,
            rules_failed: 0,
            engines: std::collections::BTreeMap::new(),
        };
        (!is_deaf).then_some(Event::ProofSeen(proof))
    }
}
