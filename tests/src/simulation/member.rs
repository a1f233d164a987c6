//! One simulated sensor: its updater, its certificates and its rule packages are the product's own machines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use watchpost_core::content::{
    Baseline, DesiredRules, EngineReading, RulesCommand, RulesEvent, RulesMachine, RulesPromise, RulesRecord, RulesSet,
    RulesView, recover_rules,
};
use watchpost_core::facts::{EngineKind, EngineState};
use watchpost_core::id::SensorId;
use watchpost_core::identity::{Machine, Pin, Pins, Role, Slots, Step};
use watchpost_core::policy::{CertificatePolicy, RulesPolicy};
use watchpost_core::rehearsal::SimulatedHost;
use watchpost_core::restart::RestartNeed;
use watchpost_core::sync::{Desired, Report};
use watchpost_core::time::Timestamp;

use super::story::restart_of;
use crate::kill::Chance;

/// How long a rule package is on its way, and how long the engines load it.
const FETCHING: Duration = Duration::from_secs(20);
const LOADING: Duration = Duration::from_secs(15);
/// Rules that a release and that a package brings.
const RELEASE_RULES: u32 = 6;
const PACKAGE_RULES: u32 = 2;
/// Steps of a rotation that may be taken at one check-in, as on a host.
const STEPS: usize = 16;

/// What a host's clock says beside the true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew(pub i64);

impl Skew {
    fn of(self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.millis().saturating_add(self.0))
    }

    fn back(self, there: Timestamp) -> Timestamp {
        Timestamp::from_millis(there.millis().saturating_sub(self.0))
    }
}

/// A sensor's host.
pub struct Member<'a> {
    /// Who it is.
    pub id: SensorId,
    /// Its updater.
    pub host: SimulatedHost<'a>,
    /// How wrong its clock is.
    pub skew: Skew,
    /// Until when it has no power.
    pub off_until: Option<Timestamp>,
    /// Until when it cannot reach the control plane.
    pub cut_off_until: Option<Timestamp>,
    /// Its next check-in; of a quiet one, the next that changes anything.
    pub next: Timestamp,
    /// When it is woken beside that.
    pub acts_at: Option<Timestamp>,
    /// Nothing is under way on it: its check-ins change nothing.
    pub is_quiet: bool,
    /// Answers that come late, or twice.
    pub late: Vec<(Timestamp, Desired)>,
    /// Its certificates.
    pub identity: Machine,
    /// Certificates it has made.
    pub made: u32,
    /// Its rule packages.
    pub rules: Rules,
}

impl Member<'_> {
    /// Whether its check-in arrives.
    #[must_use]
    pub fn talks(&self, now: Timestamp) -> bool {
        let is_over = |until: Option<Timestamp>| until.is_none_or(|until| until <= now);
        self.host.can_talk() && is_over(self.off_until) && is_over(self.cut_off_until)
    }

    /// What it reports.
    #[must_use]
    pub fn report(&self, now: Timestamp) -> Report {
        Report { rules: self.rules.machine.report(), ..self.host.report(self.skew.of(now)) }
    }

    /// Lets everything happen that is due on it.
    pub fn wake(&mut self, now: Timestamp) {
        if self.off_until.is_some_and(|until| until <= now) {
            self.off_until = None;
            self.host.power(true, self.skew.of(now));
            self.rules.restart(self.skew.of(now));
        }
        if self.off_until.is_some() {
            return;
        }
        self.host.wake(self.skew.of(now));
        self.rules.wake(self.skew.of(now));
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = later;
        let due: Vec<(Timestamp, Desired)> = due;
        for (_, desired) in due {
            self.answered(desired, now);
        }
    }

    /// The control plane has answered.
    pub fn answered(&mut self, desired: Desired, now: Timestamp) {
        let there = self.skew.of(now);
        self.rules.event(RulesEvent::Desired(desired.rules.clone()), there);
        let restart = desired.version.map_or(RestartNeed::None, restart_of);
        self.host.answered(desired, restart, there);
    }

    /// Its power goes; what it was doing is lost, what was durable is not.
    pub fn lose_power(&mut self, until: Timestamp, now: Timestamp) {
        self.host.power(false, self.skew.of(now));
        self.off_until = Some(until);
        self.identity = Machine::open(self.identity.slots());
    }

    /// When something happens on it beside its check-ins.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        if self.off_until.is_some() {
            return self.off_until;
        }
        let own = [self.host.wakes_at(), self.rules.wakes_at()].into_iter().flatten().map(|at| self.skew.back(at));
        own.chain(self.late.iter().map(|(at, _)| *at)).min()
    }

    /// Whether it has nothing under way once it knows this generation.
    #[must_use]
    pub fn is_settled(&self, generation: u64) -> bool {
        self.late.is_empty()
            && self.off_until.is_none()
            && self.host.is_settled_on(generation)
            && self.rules.is_settled()
    }

    /// Whether no check-in changes anything about its certificates until the one before has had its time.
    #[must_use]
    pub fn certificates_rest(&self, server: &Pins, renew: bool) -> bool {
        let standing = server.standing(renew && server.are_settled());
        let is_proposed = standing.pins.iter().any(|(_, role)| *role == Role::Pending);
        let active = server.active();
        let is_active = self.identity.presents() == active;
        is_active && !is_proposed && self.identity.clone().told(active, &standing) == Step::Rest
    }

    /// Looks after its certificates at a check-in, as the updater does; each message may get lost.
    pub fn look_after_certificates(
        &mut self,
        server: &mut Pins,
        renew: bool,
        loses: &mut dyn FnMut() -> bool,
        at: Timestamp,
    ) {
        let policy = CertificatePolicy::default();
        let mut step = Step::Ask { by: self.identity.presents() };
        for _ in 0..STEPS {
            let by = match step {
                Step::Ask { by } => by,
                Step::Propose { over, .. } => over,
                Step::Confirm { with } => with,
                Step::Make => {
                    self.made += 1;
                    let slots = self.identity.with_made(pin_of(self.id, self.made));
                    step = self.identity.kept(slots);
                    continue;
                }
                Step::Keep(slots) => {
                    step = self.identity.kept(slots);
                    continue;
                }
                Step::Rest | Step::LockedOut => return,
            };
            if loses() {
                return self.identity.unheard();
            }
            let is_known = server.admit(by, at, &policy).is_some();
            let is_refused = match step {
                Step::Propose { over, pin } => server.propose(over, pin, at).is_err(),
                Step::Confirm { with } => {
                    server.confirm(with, at);
                    false
                }
                Step::Ask { .. } | Step::Make | Step::Keep(_) | Step::Rest | Step::LockedOut => false,
            };
            if server.may_remove_previous(by, at, &policy) {
                server.remove_previous();
            }
            if loses() || (is_known && is_refused) {
                return self.identity.unheard();
            }
            let renew = renew && server.are_settled();
            step = if is_known { self.identity.told(by, &server.standing(renew)) } else { self.identity.refused(by) };
        }
    }

    /// Whether it holds a certificate that is accepted.
    #[must_use]
    pub fn is_let_in(&self, server: &Pins) -> bool {
        self.identity.slots().all().any(|pin| server.role(pin).is_some())
    }
}

/// The `number`-th certificate of a sensor.
#[must_use]
pub fn pin_of(id: SensorId, number: u32) -> Pin {
    let mut bytes = [0; 32];
    let text = format!("{id}");
    for (to, from) in bytes.iter_mut().zip(text.bytes().rev().take(28)) {
        *to = from;
    }
    bytes[28..].copy_from_slice(&number.to_be_bytes());
    Pin::from(bytes)
}

/// The certificates of a sensor that has just enrolled.
#[must_use]
pub fn enrolled(id: SensorId) -> Machine {
    Machine::open(Slots::only(pin_of(id, 0)))
}

/// The rule packages of one host: the product's machine, and engines that load what they are asked to.
pub struct Rules {
    /// What decides.
    pub machine: RulesMachine,
    record: Option<RulesRecord>,
    folders: BTreeSet<RulesSet>,
    loaded: Option<RulesSet>,
    /// How often the sensor was started.
    runs: u64,
    fetching: Option<(Timestamp, RulesSet)>,
    loading: Option<(Timestamp, Option<RulesSet>)>,
    /// Builds that these engines refuse.
    pub broken: BTreeSet<Timestamp>,
}

impl Rules {
    /// A host without packages.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let (machine, _) = recover_rules(None, &BTreeSet::new(), RulesPolicy::default(), now);
        let (folders, broken) = (BTreeSet::new(), BTreeSet::new());
        let (record, loaded, runs, fetching, loading) = (None, None, 0, None, None);
        let mut rules = Self { machine, record, folders, loaded, runs, fetching, loading, broken };
        rules.restart(now);
        rules
    }

    fn restart(&mut self, now: Timestamp) {
        let whole = self.folders.iter().map(RulesSet::folder).collect();
        let (machine, commands) = recover_rules(self.record.clone(), &whole, RulesPolicy::default(), now);
        self.machine = machine;
        (self.fetching, self.loading) = (None, None);
        self.runs += 1;
        self.loaded = self.record.as_ref().and_then(|record| record.in_effect.clone());
        let mut events = VecDeque::new();
        self.carry_out(commands, now, &mut events);
        self.event(RulesEvent::Heard(self.view()), now);
    }

    fn is_settled(&self) -> bool {
        self.fetching.is_none() && self.loading.is_none() && self.machine.wakes_at().is_none()
    }

    /// Whether the engines are loading, and so do not watch.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    fn wakes_at(&self) -> Option<Timestamp> {
        let own = [self.fetching.as_ref().map(|(at, _)| *at), self.loading.as_ref().map(|(at, _)| *at)];
        own.into_iter().chain([self.machine.wakes_at()]).flatten().min()
    }

    fn wake(&mut self, now: Timestamp) {
        if let Some((_, set)) = self.fetching.take_if(|(at, _)| *at <= now) {
            self.folders.insert(set.clone());
            let promise = RulesPromise { sigma: PACKAGE_RULES, suricata: 0 };
            self.event(RulesEvent::Fetched { set, promise }, now);
        }
        if let Some((_, set)) = self.loading.take_if(|(at, _)| *at <= now) {
            self.loaded = set;
            self.event(RulesEvent::Heard(self.view()), now);
        }
        if self.machine.wakes_at().is_some_and(|at| at <= now) {
            self.event(RulesEvent::Tick, now);
        }
    }

    fn view(&self) -> RulesView {
        let build = self.loaded.as_ref().map(|set| set.build);
        let failed = u32::from(build.is_some_and(|build| self.broken.contains(&build)));
        let loaded = RELEASE_RULES + build.map_or(0, |_| PACKAGE_RULES) - failed;
        let reading = EngineReading { state: EngineState::Running, loaded, failed, superseded: 0, complaint: None };
        RulesView {
            run: self.runs,
            build,
            loading: self.loading.as_ref().and_then(|(_, set)| set.as_ref().map(|set| set.build)),
            engines: BTreeMap::from([(EngineKind::Sigma, reading)]),
            baseline: Baseline { sigma: RELEASE_RULES, suricata: 0 },
            ..RulesView::default()
        }
    }

    /// Takes an event and everything that follows from it.
    pub fn event(&mut self, event: RulesEvent, now: Timestamp) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let commands = self.machine.handle(event, now);
            self.carry_out(commands, now, &mut events);
        }
    }

    fn carry_out(&mut self, commands: Vec<RulesCommand>, now: Timestamp, events: &mut VecDeque<RulesEvent>) {
        for command in commands {
            match command {
                RulesCommand::Persist(record) => self.record = Some(*record),
                RulesCommand::Fetch(DesiredRules { build, target, .. }) => {
                    self.fetching = Some((now + FETCHING, RulesSet { build, sha256: target.sha256 }));
                }
                RulesCommand::AbandonFetch => self.fetching = None,
                RulesCommand::Load(set) => {
                    self.loading = Some((now + LOADING, set));
                    events.push_back(RulesEvent::Heard(self.view()));
                }
                RulesCommand::CollectGarbage { keep } => self.folders.retain(|set| keep.contains(set)),
                RulesCommand::Point(_) | RulesCommand::RaiseFloor(_) => {}
            }
        }
    }
}

/// Whether something happens that does once in so many times.
pub fn once_in(chance: &mut Chance, times: u64) -> bool {
    chance.below(times) == 0
}
