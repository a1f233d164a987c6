//! Whatever happens, in whatever order: the engines end with a set that does what it promises, and the record says which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::facts::{EngineKind, EngineState};
use crate::policy::RulesPolicy;

const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const RELEASE_RULES: u32 = 6;

/// What becomes of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Good,
    /// It holds fewer rules than it promises.
    Lies,
    /// One of its rules does not load.
    Broken,
    /// The sensor's own test of it fails.
    Refused,
    /// The sensor ends while it loads it.
    Kills,
    /// The host goes down each time, so that the updater never hears of the sensor's end.
    CutsPower,
    /// It never gets loaded.
    Hangs,
    /// The sensor is busy each time and says nothing.
    NeverNow,
    /// The sensor is busy three times out of four.
    Later,
    /// It cannot be fetched.
    Absent,
}

fn build(number: u8) -> Timestamp {
    START + Duration::from_secs(u64::from(number) * 86_400)
}

fn set(number: u8) -> RulesSet {
    RulesSet { build: build(number), sha256: format!("{number:064x}") }
}

fn order(number: u8) -> DesiredRules {
    let RulesSet { build, sha256 } = set(number);
    DesiredRules {
        build,
        target: TargetRef { name: rules_file_name(build), sha256, length: 9 },
        push: 0,
        withdrawn: None,
    }
}

/// A host: what survives a kill, what does not, and the sensor beside it.
struct Host {
    now: Timestamp,
    behaviours: BTreeMap<Timestamp, Behaviour>,
    durable: Option<RulesRecord>,
    folders: BTreeSet<RulesSet>,
    pointer: Option<RulesSet>,
    floor: Option<Timestamp>,
    machine: RulesMachine,
    sensor: Option<RulesView>,
    /// How often the sensor was started.
    runs: u64,
    wanted: Option<DesiredRules>,
    dies_after: Option<usize>,
    /// What was heard while commands were carried out: it comes after them.
    heard: VecDeque<RulesEvent>,
    is_busy: bool,
    /// How often the sensor was asked for each build.
    asks: BTreeMap<Timestamp, u32>,
}

impl Host {
    fn new(behaviours: &[Behaviour]) -> Self {
        let (machine, _) = recover_rules(None, &BTreeSet::new(), RulesPolicy::default(), START);
        let behaviours = (1..).map(build).zip(behaviours.iter().copied()).collect();
        let (durable, folders, pointer, floor) = (None, BTreeSet::new(), None, None);
        let mut host = Self {
            now: START,
            behaviours,
            durable,
            folders,
            pointer,
            floor,
            machine,
            sensor: None,
            runs: 0,
            wanted: None,
            dies_after: None,
            heard: VecDeque::new(),
            is_busy: false,
            asks: BTreeMap::new(),
        };
        host.restart_updater();
        host.start_sensor();
        host
    }

    fn view(&self, build: Option<Timestamp>, loaded: u32, failed: u32) -> RulesView {
        let reading = EngineReading { state: EngineState::Running, loaded, failed, superseded: 0, complaint: None };
        RulesView {
            run: self.runs,
            build,
            engines: BTreeMap::from([(EngineKind::Sigma, reading)]),
            baseline: Baseline { sigma: RELEASE_RULES, suricata: 0 },
            ..RulesView::default()
        }
    }

    fn restart_updater(&mut self) {
        let whole = self.folders.iter().map(RulesSet::folder).collect();
        let (machine, commands) = recover_rules(self.durable.clone(), &whole, RulesPolicy::default(), self.now);
        self.machine = machine;
        self.dies_after = None;
        self.heard.clear();
        self.carry_out(commands);
        self.tell_sensor();
    }

    fn start_sensor(&mut self) {
        self.runs += 1;
        let build = self.pointer.as_ref().map(|set| set.build);
        self.sensor = Some(self.loaded(build));
        self.tell_sensor();
    }

    fn cut_power(&mut self) {
        self.sensor = None;
        self.restart_updater();
        self.start_sensor();
    }

    fn loaded(&self, build: Option<Timestamp>) -> RulesView {
        let Some(build) = build else { return self.view(None, RELEASE_RULES, 0) };
        match self.behaviours.get(&build) {
            Some(Behaviour::Lies) => self.view(Some(build), RELEASE_RULES + 1, 0),
            Some(Behaviour::Broken) => self.view(Some(build), RELEASE_RULES + 2, 1),
            _ => self.view(Some(build), RELEASE_RULES + 2, 0),
        }
    }

    fn tell_sensor(&mut self) {
        if let Some(view) = self.sensor.clone() {
            self.event(RulesEvent::Heard(view));
        }
    }

    fn event(&mut self, event: RulesEvent) {
        self.heard.push_back(event);
        if std::mem::replace(&mut self.is_busy, true) {
            return;
        }
        while let Some(event) = self.heard.pop_front() {
            let commands = self.machine.handle(event, self.now);
            self.carry_out(commands);
        }
        self.is_busy = false;
    }

    fn carry_out(&mut self, commands: Vec<RulesCommand>) {
        for command in commands {
            if let Some(left) = self.dies_after.as_mut() {
                if *left == 0 {
                    return self.restart_updater();
                }
                *left -= 1;
            }
            match command {
                RulesCommand::Persist(record) => self.durable = Some(*record),
                RulesCommand::Fetch(order) => self.fetch(&order),
                RulesCommand::AbandonFetch => {}
                RulesCommand::Point(set) => {
                    let durable = self.durable.clone().unwrap_or_default();
                    assert_eq!(set, durable.in_effect, "the pointer says what is not durable");
                    self.pointer = set;
                }
                RulesCommand::Load(set) => {
                    if self.load(set).is_break() {
                        return;
                    }
                }
                RulesCommand::RaiseFloor(set) => self.floor = self.floor.max(Some(set.build)),
                RulesCommand::CollectGarbage { keep } => {
                    let durable = self.durable.clone().unwrap_or_default();
                    assert!(durable.kept().iter().all(|set| keep.contains(set)));
                    self.folders.retain(|set| keep.contains(set));
                }
            }
        }
    }

    fn fetch(&mut self, order: &DesiredRules) {
        assert!(self.floor.is_none_or(|floor| order.build >= floor), "an older package was fetched");
        let set = RulesSet { build: order.build, sha256: order.target.sha256.clone() };
        if self.behaviours.get(&order.build) == Some(&Behaviour::Absent) {
            let (build, reason) = (order.build, "no route".to_owned());
            return self.event(RulesEvent::FetchFailed { build, reason, retryable: true });
        }
        self.folders.insert(set.clone());
        self.event(RulesEvent::Fetched { set, promise: RulesPromise { sigma: 2, suricata: 0 } });
    }

    /// Whether there is anybody left to go on.
    fn load(&mut self, set: Option<RulesSet>) -> ControlFlow<()> {
        let durable = self.durable.clone().unwrap_or_default();
        assert_eq!(set.as_ref(), durable.wanted(), "the sensor was asked for what is not durable");
        assert!(set.as_ref().is_none_or(|set| self.folders.contains(set)), "its folder is not there");
        let Some(view) = self.sensor.clone() else { panic!("no sensor was asked") };
        let build = set.map(|set| set.build);
        let asked = self.asks.entry(build.unwrap_or_default()).or_default();
        *asked += 1;
        let is_busy = !asked.is_multiple_of(4);
        match build.and_then(|build| self.behaviours.get(&build)) {
            Some(Behaviour::NeverNow) => {}
            Some(Behaviour::Later) if is_busy => {}
            Some(Behaviour::Kills) => {
                self.sensor = None;
                self.event(RulesEvent::SensorGone);
                self.start_sensor();
                return ControlFlow::Continue(());
            }
            Some(Behaviour::CutsPower) => {
                self.cut_power();
                return ControlFlow::Break(());
            }
            Some(Behaviour::Hangs) => self.sensor = Some(RulesView { loading: build, ..view }),
            Some(Behaviour::Refused) => {
                let (build, reason, at) = (build.unwrap_or_default(), "its own test".to_owned(), self.now);
                self.sensor = Some(RulesView { refused: Some(RulesFailure { build, reason, at }), ..view });
            }
            Some(Behaviour::Good | Behaviour::Later | Behaviour::Lies | Behaviour::Broken | Behaviour::Absent)
            | None => {
                self.sensor = Some(self.loaded(build));
            }
        }
        self.tell_sensor();
        ControlFlow::Continue(())
    }

    fn check_in(&mut self) {
        self.event(RulesEvent::Desired(self.wanted.clone()));
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(at) = self.machine.wakes_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.event(RulesEvent::Tick);
        }
        self.now = until;
        self.event(RulesEvent::Tick);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u32),
    CheckIn,
    Want(u8),
    KillSensor,
    KillUpdater,
    CutPower,
    KillUpdaterAfter(usize),
    LoseFolder(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u32..2_000).prop_map(Step::Pass),
        5 => Just(Step::CheckIn),
        3 => (0u8..4).prop_map(Step::Want),
        1 => Just(Step::KillSensor),
        2 => Just(Step::KillUpdater),
        1 => Just(Step::CutPower),
        4 => (0usize..7).prop_map(Step::KillUpdaterAfter),
        1 => (1u8..4).prop_map(Step::LoseFolder),
    ]
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        4 => Just(Behaviour::Good),
        1 => Just(Behaviour::Lies),
        1 => Just(Behaviour::Broken),
        1 => Just(Behaviour::Refused),
        1 => Just(Behaviour::Kills),
        1 => Just(Behaviour::CutsPower),
        1 => Just(Behaviour::Hangs),
        1 => Just(Behaviour::NeverNow),
        1 => Just(Behaviour::Later),
        1 => Just(Behaviour::Absent),
    ]
}

fn take(host: &mut Host, step: Step) {
    match step {
        Step::Pass(seconds) => host.pass(Duration::from_secs(seconds.into())),
        Step::CheckIn => host.check_in(),
        Step::Want(0) => host.wanted = None,
        Step::Want(number) => host.wanted = Some(order(number)),
        Step::KillSensor => {
            host.sensor = None;
            host.event(RulesEvent::SensorGone);
            host.start_sensor();
        }
        Step::CutPower => host.cut_power(),
        Step::KillUpdater => host.restart_updater(),
        Step::KillUpdaterAfter(commands) => host.dies_after = Some(commands),
        Step::LoseFolder(number) => {
            // A damaged disk is noticed when the updater starts.
            host.folders.retain(|folder| *folder != set(number));
            host.restart_updater();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_host_always_ends_with_a_set_that_does_what_it_promises(
        behaviours in proptest::collection::vec(behaviour(), 3),
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let mut host = Host::new(&behaviours);
        // The sensor ends of itself alone, so that every such end says something; the updater may end at any time.
        let is_calm = !steps.iter().any(|step| matches!(step, Step::KillSensor | Step::CutPower));
        for step in steps {
            take(&mut host, step);
        }
        // The storm is over.
        host.dies_after = None;
        for _ in 0..4 {
            host.check_in();
            host.pass(Duration::from_secs(3_600));
        }
        if host.machine.record().trial.is_some() {
            // What has no verdict is tried again and again; the last such attempt ends, too.
            host.pass(RulesPolicy::default().load_deadline);
        }
        let record = host.machine.record().clone();
        prop_assert_eq!(host.durable.clone().unwrap_or_default(), record.clone());
        prop_assert_eq!(&record.trial, &None);
        prop_assert_eq!(&host.pointer, &record.in_effect);
        let has = record.in_effect.as_ref().map(|set| set.build);
        prop_assert_eq!(host.sensor.as_ref().and_then(|view| view.build), has);
        let is_sound = |build: &Timestamp| {
            matches!(host.behaviours.get(build), Some(Behaviour::Good | Behaviour::Later))
        };
        prop_assert!(has.is_none_or(|build| is_sound(&build)));
        // Only what was judged is bad; a sensor that ends each time is a judgement, too.
        let is_judged = |build: &Timestamp| {
            let behaviour = host.behaviours.get(build);
            !is_sound(build) && !matches!(behaviour, Some(Behaviour::Hangs | Behaviour::NeverNow | Behaviour::Absent))
        };
        prop_assert!(!is_calm || record.bad.keys().all(is_judged), "bad without a verdict: {:?}", record.bad);
        prop_assert!(record.in_effect.iter().all(|set| host.folders.contains(set)));
        prop_assert!(host.floor <= record.floor);
        // What is wanted and good is what is loaded, unless a newer one was in effect here before.
        let Some(wanted) = &host.wanted else {
            prop_assert_eq!(has, None);
            return Ok(());
        };
        let is_good = is_sound(&wanted.build);
        let is_old = record.floor.is_some_and(|floor| wanted.build < floor);
        let was_given_up = record.bad.contains_key(&wanted.build);
        prop_assert!(!is_good || is_old || was_given_up || has == Some(wanted.build), "wanted {wanted:?}, has {has:?}");
        prop_assert!(has.is_none_or(|has| has <= wanted.build), "a build that was pulled back is still loaded");
        prop_assert!(has == Some(wanted.build) || record.failed.is_some(), "nobody was told why");
    }
}
