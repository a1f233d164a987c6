//! The loop of a rehearsal: from instant to instant, never through the time between.
//!
//! At one instant the order is: releases, behaviour and people; hosts; check-ins; the planner; its answers; judgements;
//! looks. So a host that checks in hears what follows from its own report, as on the real gateway.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use super::beat::Beat;
use super::host::{Host, target_of};
use super::member::Member;
use super::outcome::Outcome;
use super::report::Recorder;
use super::scenario::{Look, Scenario, SensorSpec};
use super::script::{Cue, cues};
use super::{closing, plan};
use crate::catalogue::Catalogue;
use crate::health;
use crate::id::{SensorId, WorkspaceId};
use crate::policy::Policy;
use crate::restart::RestartNeed;
use crate::rollout::{Event, Fleet, Planner};
use crate::sensor::{Context, Sensor, SensorStatus, sensor_status};
use crate::sync::{Desired, Report};
use crate::time::Timestamp;
use crate::updater;
use crate::version::Version;

/// Beyond every instant of the scenario.
pub(super) const BEYOND: Duration = Duration::from_secs(24 * 60 * 60);
/// Judgements fall on whole seconds.
const SECOND_MILLIS: i64 = 1_000;

/// What the queue wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    Act(usize),
    Judge(usize),
}

/// A rehearsal under way.
pub(super) struct Simulation<'s> {
    pub(super) scenario: &'s Scenario,
    pub(super) end: Timestamp,
    pub(super) far: Timestamp,
    /// When the control plane was ready again, where the fleet is a copy of a living one.
    pub(super) ready_at: Option<Timestamp>,
    pub(super) policy: Policy,
    pub(super) catalogue: Catalogue,
    pub(super) planner: Planner,
    pub(super) fleet: Fleet,
    pub(super) members: Vec<Member<'s>>,
    pub(super) by_id: BTreeMap<SensorId, usize>,
    pub(super) recorder: Recorder,
    pub(super) published: Vec<Version>,
    /// Sensors that a person keeps out of every rollout.
    pub(super) kept_out: BTreeSet<SensorId>,
    pub(super) observations: Vec<super::outcome::ObservationRow>,
    pub(super) queue: BinaryHeap<Reverse<(Timestamp, Wanted)>>,
    pub(super) planner_wakes_at: Option<Timestamp>,
    pub(super) may_be_quiet: bool,
    pub(super) step: StepState,
}

/// What has to be done before an instant is over.
#[derive(Debug, Default)]
pub(super) struct StepState {
    /// Hosts whose next instant must be found again.
    pub(super) touched: BTreeSet<usize>,
    /// Whether the planner has something new to look at.
    pub(super) is_news: bool,
    /// Whether every sensor must be judged: the catalogue changed.
    pub(super) judge_all: bool,
}

impl<'s> Simulation<'s> {
    pub(super) fn new(scenario: &'s Scenario, seed: Option<u64>) -> Self {
        let (start, end) = (scenario.start, scenario.start + scenario.until.0);
        let policy = plan::policy(scenario);
        let catalogue = plan::history(scenario);
        let (mut fleet, mut members, mut names) = (Fleet::new(), Vec::new(), BTreeMap::new());
        let context = Context { policy: &policy, catalogue: &catalogue, ready_at: None, now: start };
        for (number, spec) in (0_u64..).zip(&scenario.sensors) {
            let sensor = sensor_of(spec, number, start);
            let chance = seed.map(|seed| (seed, number));
            let status = sensor_status(&sensor, &context).value;
            members.push(member_of(spec, &sensor, status, &policy, start, chance));
            names.insert(sensor.id, spec.name.clone());
            fleet.insert(sensor.id, sensor);
        }
        let longest_gap = members.first().map_or(Duration::ZERO, |member| member.beat.longest_gap());
        let may_be_quiet = longest_gap < policy.contact.stopped_communicating_after;
        let by_id = members.iter().enumerate().map(|(index, member)| (member.id, index)).collect();
        let step = StepState { touched: (0..members.len()).collect(), ..StepState::default() };
        Self {
            scenario,
            end,
            far: end + BEYOND,
            ready_at: None,
            policy,
            catalogue,
            planner: Planner::default(),
            fleet,
            members,
            by_id,
            recorder: Recorder::new(start, names),
            published: Vec::new(),
            kept_out: BTreeSet::new(),
            observations: Vec::new(),
            queue: BinaryHeap::new(),
            planner_wakes_at: None,
            may_be_quiet,
            step,
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        self.play_through();
        closing::outcome(self)
    }

    /// Goes from instant to instant until nothing is left that could happen, or the end.
    pub(super) fn play_through(&mut self) {
        let start = self.scenario.start;
        let scenario = self.scenario;
        let mut cues = cues(scenario).into_iter().peekable();
        let mut now = start;
        loop {
            let mut looks = Vec::new();
            while let Some((_, cue)) = cues.next_if(|(at, _)| start + *at == now) {
                match cue {
                    Cue::Observe(look) => looks.push(look),
                    Cue::Publish(release) => self.publish(release, now),
                    Cue::Host(index) => self.behave(index, now),
                    Cue::Operator(step) => self.operate(step, now),
                }
            }
            self.play(now, &looks);
            let next_cue = cues.peek().map(|(at, _)| start + *at);
            let next = [next_cue, self.queue.peek().map(|Reverse((at, _))| *at), self.planner_wakes_at];
            match next.into_iter().flatten().min().filter(|at| *at <= self.end) {
                Some(at) => now = at,
                None => return,
            }
        }
    }

    pub(super) fn context(&self, now: Timestamp) -> Context<'_> {
        Context { policy: &self.policy, catalogue: &self.catalogue, ready_at: self.ready_at, now }
    }

    /// Everything of one instant after the script.
    fn play(&mut self, now: Timestamp, looks: &[&'s Look]) {
        let (acting, mut judged) = self.take_due(now);
        for index in acting {
            self.wake_host(index, now);
            self.step.touched.insert(index);
        }
        let talking: Vec<usize> = self.step.touched.iter().copied().filter(|index| self.talks(*index, now)).collect();
        for index in &talking {
            self.check_in(*index, now);
        }
        let changed = self.plan_if_needed(now);
        self.answer(talking, &changed, now);
        judged.extend(&self.step.touched);
        for index in std::mem::take(&mut self.step.touched) {
            self.plan_ahead(index, now);
        }
        if std::mem::take(&mut self.step.judge_all) {
            judged.extend(0..self.members.len());
        }
        for index in judged {
            self.judge(index, now);
        }
        for look in looks {
            closing::observe(self, look, now);
        }
    }

    fn take_due(&mut self, now: Timestamp) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut acting, mut judged) = (BTreeSet::new(), BTreeSet::new());
        while let Some(Reverse((at, wanted))) = self.queue.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.queue.pop();
            // What was planned anew meanwhile leaves its old place in the queue behind.
            match wanted {
                Wanted::Act(index) if self.members.get(index).is_some_and(|m| m.acts_at == Some(at)) => {
                    acting.insert(index);
                }
                Wanted::Judge(index) if self.members.get(index).is_some_and(|m| m.judged_again_at == Some(at)) => {
                    judged.insert(index);
                }
                Wanted::Act(_) | Wanted::Judge(_) => {}
            }
        }
        (acting, judged)
    }

    fn talks(&self, index: usize, now: Timestamp) -> bool {
        self.members.get(index).is_some_and(|member| member.talks_at(now))
    }

    pub(super) fn wake_host(&mut self, index: usize, now: Timestamp) {
        let Some(member) = self.members.get_mut(index).filter(|member| !member.is_deleted) else { return };
        for version in member.wake(now) {
            self.recorder.switched(member.id, version, now);
        }
    }

    fn check_in(&mut self, index: usize, now: Timestamp) {
        let Some(member) = self.members.get(index) else { return };
        let Some(sensor) = self.fleet.get_mut(&member.id) else { return };
        let report = member.host.report(now);
        let was_away = sensor.last_contact.is_none_or(|at| now.since(at) > member.beat.longest_gap());
        self.step.is_news |= was_away || sensor.report != report;
        sensor.checked_in(report, now);
    }

    fn plan_if_needed(&mut self, now: Timestamp) -> BTreeSet<SensorId> {
        let is_due = self.planner_wakes_at.is_some_and(|at| at <= now);
        if !std::mem::take(&mut self.step.is_news) && !is_due {
            return BTreeSet::new();
        }
        let context = Context { policy: &self.policy, catalogue: &self.catalogue, ready_at: self.ready_at, now };
        let wake = self.planner.wake(&mut self.fleet, &context);
        self.planner_wakes_at = wake.wakes_at;
        wake.events.iter().for_each(|event| self.recorder.planner(event));
        wake.sensors
    }

    /// Answers who checked in, and who would have: a quiet host whose check-in falls on this instant.
    fn answer(&mut self, talking: Vec<usize>, changed: &BTreeSet<SensorId>, now: Timestamp) {
        let mut hearing: BTreeSet<usize> = talking.into_iter().collect();
        let changed: Vec<usize> = changed.iter().filter_map(|id| self.by_id.get(id).copied()).collect();
        for index in changed {
            self.step.touched.insert(index);
            self.rouse(index, now);
            if self.talks(index, now) {
                hearing.insert(index);
            }
        }
        for index in hearing {
            let Some(member) = self.members.get_mut(index) else { continue };
            let Some(sensor) = self.fleet.get_mut(&member.id) else { continue };
            let report = member.host.report(now);
            if sensor.last_contact != Some(now) {
                sensor.checked_in(report, now);
            }
            let desired = sensor.update.desired.clone();
            let release = desired.version.and_then(|version| self.catalogue.get(version));
            member.host.answered(desired, release.map_or(RestartNeed::None, |release| release.restart), now);
            self.wake_host(index, now);
        }
    }

    pub(super) fn rouse(&mut self, index: usize, now: Timestamp) {
        if let Some(member) = self.members.get_mut(index)
            && let Some(sensor) = self.fleet.get_mut(&member.id)
        {
            member.rouse(sensor, now, self.far);
        }
    }

    fn plan_ahead(&mut self, index: usize, now: Timestamp) {
        let Some(member) = self.members.get_mut(index) else { return };
        member.plan_ahead(&mut self.fleet, now, self.far, self.may_be_quiet);
        if let Some(at) = member.acts_at {
            self.queue.push(Reverse((at, Wanted::Act(index))));
        }
    }

    /// Derives status and health issues, and says what changed.
    fn judge(&mut self, index: usize, now: Timestamp) {
        let Some(member) = self.members.get_mut(index) else { return };
        let Some(sensor) = self.fleet.get_mut(&member.id) else { return };
        let context = Context { policy: &self.policy, catalogue: &self.catalogue, ready_at: self.ready_at, now };
        let status = sensor_status(sensor, &context);
        if status.value != member.status {
            self.recorder.status(member.id, member.status, status.value, now);
            member.status = status.value;
        }
        for change in health::review(sensor, &context) {
            self.recorder.issue(member.id, &change, now);
        }
        let next = [status.changes_at, health::next_change(sensor, &context)].into_iter().flatten().min();
        member.judged_again_at = next.map(|at| whole_second(at, self.scenario.start)).filter(|at| *at <= self.end);
        if let Some(at) = member.judged_again_at {
            self.queue.push(Reverse((at, Wanted::Judge(index))));
        }
    }

    pub(super) fn say(&mut self, event: &Event) {
        self.recorder.planner(event);
    }
}

/// The first whole second of the scenario that is not before `at`.
fn whole_second(at: Timestamp, start: Timestamp) -> Timestamp {
    let past = at.millis().saturating_sub(start.millis()).rem_euclid(SECOND_MILLIS);
    if past == 0 { at } else { Timestamp::from_millis(at.millis() + SECOND_MILLIS - past) }
}

fn sensor_of(spec: &SensorSpec, number: u64, start: Timestamp) -> Sensor {
    let id = SensorId::from_parts(start, u128::from(number));
    let workspace = WorkspaceId::from_parts(start, 0);
    let mut sensor = Sensor::new(id, workspace, spec.name.clone(), spec.kind, start);
    sensor.domain.clone_from(&spec.domain);
    sensor.zone.clone_from(&spec.zone);
    sensor.domain_controllers.clone_from(&spec.domain_controller_dns_names);
    sensor.delayed = spec.delayed;
    sensor.report = Report { version: spec.version, ..Report::default() };
    sensor.update.desired = Desired {
        version: spec.version,
        target: spec.version.map(target_of),
        cleared: spec.version.is_some(),
        ..Desired::default()
    };
    sensor
}

/// What the updater of a host goes by under this policy.
pub(super) fn updater_policy(policy: &Policy) -> updater::Policy {
    updater::Policy {
        clearance_deadline: policy.rollout.clearance_deadline,
        staging_deadline: policy.rollout.staging_deadline,
        ..updater::Policy::default()
    }
}

fn member_of<'s>(
    spec: &'s SensorSpec,
    sensor: &Sensor,
    status: SensorStatus,
    policy: &Policy,
    start: Timestamp,
    chance: Option<(u64, u64)>,
) -> Member<'s> {
    let host = Host::new(spec, start, updater_policy(policy), policy.contact.check_in);
    let beat = Beat::new(start, &policy.contact, chance);
    Member {
        id: sensor.id,
        host,
        beat,
        is_deleted: false,
        is_quiet: false,
        checks_in_at: Some(start),
        acts_at: None,
        status,
        judged_again_at: None,
    }
}
