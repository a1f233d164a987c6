//! A rehearsal of a living fleet: a copy of its facts, its own planner, and hosts that do what they are expected to.
//!
//! Nothing of the fleet is changed by it; what it copies, it was given.

use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use super::beat::Beat;
use super::host::{Heard, Host, USUAL_UPDATE};
use super::member::Member;
use super::report::Recorder;
use super::scenario::{Behaviour, PolicySpec, Scenario, Span, Window};
use super::simulation::{BEYOND, Simulation, StepState, updater_policy};
use crate::catalogue::Catalogue;
use crate::policy::Policy;
use crate::rollout::{Event, Fleet, Planner};
use crate::sensor::{Context, Sensor, sensor_status};
use crate::time::Timestamp;
use crate::updater::Release;

/// How far a rehearsal of a living fleet looks ahead.
pub const LIVE_HORIZON: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// What a host is taken to need from hearing of a release until it has switched to it.
pub const LIVE_UPDATE_TAKES: Duration = USUAL_UPDATE;

/// Milliseconds in a second.
const SECOND_MILLIS: i64 = 1_000;

/// A copy of a living fleet, as its control plane knows it.
#[derive(Clone, Debug)]
pub struct LiveFleet {
    /// The sensors.
    pub fleet: Fleet,
    /// The rollouts.
    pub planner: Planner,
    /// The releases.
    pub catalogue: Catalogue,
    /// The numbers.
    pub policy: Policy,
    /// When the control plane was ready again.
    pub ready_at: Option<Timestamp>,
    /// The instant of the copy.
    pub now: Timestamp,
}

/// What a rehearsal of a living fleet came to.
pub(super) struct LiveOutcome {
    /// What the planner decided and hosts did, in order.
    pub(super) decisions: Vec<Event>,
    /// The fleet at the end.
    pub(super) fleet: Fleet,
}

/// Lets the fleet run on until nothing is left that would happen by itself.
pub(super) fn run_live(live: LiveFleet) -> LiveOutcome {
    let scenario = Scenario {
        start: live.now,
        until: Span(LIVE_HORIZON),
        policy: PolicySpec::default(),
        catalogue: Vec::new(),
        sensors: Vec::new(),
        releases: Vec::new(),
        operator: Vec::new(),
        observe: Vec::new(),
    };
    let (on, off) = (Behaviour::default(), switched_off());
    let mut simulation = simulation(&scenario, live, &on, &off);
    simulation.play_through();
    let decisions = simulation.recorder.decisions().to_vec();
    LiveOutcome { decisions, fleet: simulation.fleet }
}

/// A host that nothing is heard of does not come back by itself.
fn switched_off() -> Behaviour {
    let always = Window { from: Span(Duration::ZERO), to: Span(LIVE_HORIZON + BEYOND) };
    Behaviour { offline: vec![always], ..Behaviour::default() }
}

fn simulation<'s>(scenario: &'s Scenario, live: LiveFleet, on: &'s Behaviour, off: &'s Behaviour) -> Simulation<'s> {
    let LiveFleet { fleet, planner, catalogue, policy, ready_at, now } = live;
    let context = Context { policy: &policy, catalogue: &catalogue, ready_at, now };
    let is_off = |sensor: &Sensor| sensor.last_contact.is_none() || context.is_disconnected(sensor);
    let members: Vec<Member<'s>> =
        fleet.values().map(|sensor| member(sensor, if is_off(sensor) { off } else { on }, &context)).collect();
    let names = fleet.values().map(|sensor| (sensor.id, sensor.name.clone())).collect();
    let by_id = members.iter().enumerate().map(|(index, member)| (member.id, index)).collect();
    let may_be_quiet = policy.contact.check_in < policy.contact.stopped_communicating_after;
    let touched: BTreeSet<usize> = (0..members.len()).collect();
    let end = now + LIVE_HORIZON;
    Simulation {
        scenario,
        end,
        far: end + BEYOND,
        ready_at,
        policy,
        catalogue,
        planner,
        fleet,
        members,
        by_id,
        recorder: Recorder::new(now, names),
        published: Vec::new(),
        kept_out: BTreeSet::new(),
        observations: Vec::new(),
        queue: BinaryHeap::new(),
        planner_wakes_at: None,
        may_be_quiet,
        // The planner looks at once, as it does when a release has just been published.
        step: StepState { touched, is_news: true, judge_all: false },
    }
}

fn member<'s>(sensor: &Sensor, behaviour: &'s Behaviour, context: &Context<'_>) -> Member<'s> {
    let (policy, now) = (context.policy, context.now);
    let heard = Heard {
        report: &sensor.report,
        installed: installed(sensor, context.catalogue),
        generation: known_generation(sensor),
    };
    let host = Host::heard(&heard, behaviour, now, updater_policy(policy), policy.contact.check_in);
    // Every host keeps the rhythm it was last heard in, to the second.
    let last = sensor.last_contact.unwrap_or(now);
    let beat = Beat::new(whole_second(last).min(now), &policy.contact, None);
    Member {
        id: sensor.id,
        host,
        beat,
        is_deleted: false,
        is_quiet: false,
        checks_in_at: Some(beat.next(now)),
        acts_at: None,
        status: sensor_status(sensor, context).value,
        judged_again_at: None,
    }
}

/// What it runs, as the package that it was handed, or that is published under that version.
fn installed(sensor: &Sensor, catalogue: &Catalogue) -> Option<Release> {
    let (version, desired) = (sensor.version()?, &sensor.update.desired);
    let handed = desired.target.as_ref().filter(|_| desired.version == Some(version));
    let published = catalogue.get(version).and_then(|release| release.target.as_ref());
    let unknown = super::host::target_of(version);
    let target = handed.or(published).unwrap_or(&unknown);
    Release::new(version, &target.sha256)
}

/// What still has to be proven is proven by an order that the host does not know yet.
fn known_generation(sensor: &Sensor) -> u64 {
    let desired = &sensor.update.desired;
    let is_on_trial = !desired.cleared && desired.version.is_some() && desired.version == sensor.version();
    if is_on_trial {
        sensor.report.generation.min(desired.generation.saturating_sub(1))
    } else {
        sensor.report.generation
    }
}

/// The first whole second that is not before `at`.
fn whole_second(at: Timestamp) -> Timestamp {
    let past = at.millis().rem_euclid(SECOND_MILLIS);
    if past == 0 { at } else { Timestamp::from_millis(at.millis() + SECOND_MILLIS - past) }
}
