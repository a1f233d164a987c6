//! The plan that is shown is the plan that runs: the production planner over hosts that take what the plan assumes.
//!
//! The hosts here are told of nothing but desired states and know nothing of the rehearsal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::catalogue::{Catalogue, Release, ReleaseKind};
use crate::id::{SensorId, WorkspaceId};
use crate::policy::Policy;
use crate::rehearsal::{LIVE_UPDATE_TAKES, LiveFleet, RolloutPlan, plan};
use crate::restart::RestartNeed;
use crate::rollout::{Fleet, Planner, What};
use crate::sensor::{Context, Sensor, SensorKind};
use crate::sync::{DetectionProof, Report, ServiceState, TargetRef, UpdateProgress};
use crate::time::Timestamp;
use crate::version::Version;
use proptest::prelude::*;

/// 2026-01-05T00:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const OLD: Version = Version::new(2, 253, 1, 0);
const STONE: Version = Version::new(2, 254, 1, 0);
const NEW: Version = Version::new(2, 255, 1, 0);
/// Longer than any of these rollouts.
const END: Duration = Duration::from_secs(10 * 24 * 60 * 60);

/// What a sensor is like when the plan is made.
#[derive(Clone, Copy, Debug)]
enum Condition {
    Well,
    NeverHeard,
    SilentForAnHour,
    Stopped,
    Excluded,
    WentBackBefore,
}

#[derive(Clone, Copy, Debug)]
struct Draft {
    /// Seconds since it was last heard of.
    heard: u64,
    zone: u8,
    is_delayed: bool,
    is_old: bool,
    condition: Condition,
}

fn target(version: Version) -> TargetRef {
    let digit = char::from_digit(u32::from(version == NEW), 10).unwrap();
    TargetRef { name: format!("sensor-{version}.cab"), sha256: digit.to_string().repeat(64), length: 1_000 }
}

fn release(version: Version, published_at: Timestamp, minimum_base: Option<Version>) -> Release {
    let (kind, restart, target) = (ReleaseKind::Minor, RestartNeed::None, Some(target(version)));
    Release { version, kind, published_at, pulled_back_at: None, minimum_base, restart, systems: Vec::new(), target }
}

fn sensor(number: u128, draft: Draft) -> Sensor {
    let (id, workspace) = (SensorId::from_parts(START, number), WorkspaceId::from_parts(START, 0));
    let created = START - Duration::from_secs(86_400);
    let kind = SensorKind::DomainControllerIntegrated;
    let mut sensor = Sensor::new(id, workspace, format!("DC{number:02}"), kind, created);
    sensor.zone = (draft.zone > 0).then(|| format!("hq/{}", draft.zone));
    sensor.delayed = draft.is_delayed;
    let version = if draft.is_old { OLD } else { STONE };
    let mut report = Report { version: Some(version), service: ServiceState::Running, ..Report::default() };
    let mut heard = START - Duration::from_secs(draft.heard);
    match draft.condition {
        Condition::Well => {}
        Condition::NeverHeard => return sensor,
        Condition::SilentForAnHour => heard = heard - Duration::from_secs(3_600),
        Condition::Stopped => report.service = ServiceState::Stopped,
        Condition::Excluded => {
            sensor.update.excluded.insert(NEW);
        }
        Condition::WentBackBefore => {
            report.bad_versions.insert(NEW);
        }
    }
    sensor.checked_in(report, heard);
    sensor
}

/// A host of its own making: it hears, fetches for as long as is assumed, switches, and proves.
struct Host {
    id: SensorId,
    checks_in_at: Timestamp,
    report: Report,
    arrives: Option<(Timestamp, Version, u64)>,
}

impl Host {
    fn of(sensor: &Sensor, policy: &Policy) -> Option<Self> {
        let mut checks_in_at = sensor.last_contact.filter(|at| START.since(*at) < Duration::from_secs(600))?;
        while checks_in_at < START {
            checks_in_at = checks_in_at + policy.contact.check_in;
        }
        Some(Self { id: sensor.id, checks_in_at, report: sensor.report.clone(), arrives: None })
    }

    fn wakes_at(&self) -> Timestamp {
        self.arrives.map_or(self.checks_in_at, |(at, ..)| at.min(self.checks_in_at))
    }

    /// Switches when everything has arrived; tells to what.
    fn switch(&mut self, now: Timestamp) -> Option<Version> {
        let (_, version, generation) = self.arrives.take_if(|(at, ..)| *at <= now)?;
        self.report.version = Some(version);
        self.report.update = UpdateProgress::AwaitingClearance { version, switched_at: now };
        let proof = DetectionProof {
            generation,
            version,
            detected_at: now,
            rules_loaded: 1,
            rules_failed: 0,
            engines: BTreeMap::new(),
        };
        self.report.proof = Some(proof);
        Some(version)
    }

    fn hear(&mut self, sensor: &Sensor, now: Timestamp) {
        let desired = &sensor.update.desired;
        self.report.generation = desired.generation;
        if desired.cleared {
            self.report.update = UpdateProgress::Idle;
        } else if let Some(version) = desired.version.filter(|version| Some(*version) != self.report.version) {
            self.arrives = self.arrives.or(Some((now + LIVE_UPDATE_TAKES, version, desired.generation)));
        }
    }
}

/// What happens when it runs: who was started, has switched and was cleared, and when, in order of the starts.
fn run(live: &LiveFleet) -> Vec<(SensorId, [Option<Timestamp>; 3])> {
    let LiveFleet { mut fleet, mut planner, catalogue, policy, ready_at, .. } = live.clone();
    let mut hosts: Vec<Host> = fleet.values().filter_map(|sensor| Host::of(sensor, &policy)).collect();
    let mut order: Vec<(SensorId, [Option<Timestamp>; 3])> = Vec::new();
    let mut note = |id: SensorId, what: usize, at: Timestamp| {
        if what == 0 {
            order.push((id, [None; 3]));
        }
        order.iter_mut().find(|(known, _)| *known == id).unwrap().1[what] = Some(at);
    };
    let (mut now, mut planner_wakes_at, mut is_first) = (START, None, true);
    while now < START + END {
        let (mut talking, mut is_news) = (Vec::new(), is_first);
        for (index, host) in hosts.iter_mut().enumerate() {
            if host.switch(now) == Some(NEW) {
                note(host.id, 1, now);
            }
            if host.checks_in_at == now {
                host.checks_in_at = now + policy.contact.check_in;
                let sensor = fleet.get_mut(&host.id).unwrap();
                is_news |= sensor.report != host.report;
                sensor.checked_in(host.report.clone(), now);
                talking.push(index);
            }
        }
        if is_news || planner_wakes_at.is_some_and(|at| at <= now) {
            let context = Context { policy: &policy, catalogue: &catalogue, ready_at, now };
            let wake = planner.wake(&mut fleet, &context);
            planner_wakes_at = wake.wakes_at;
            for event in wake.events.iter().filter(|event| event.version == NEW) {
                match (&event.what, event.sensor) {
                    (What::Started, Some(id)) => note(id, 0, event.at),
                    (What::Cleared, Some(id)) => note(id, 2, event.at),
                    _ => {}
                }
            }
        }
        for index in talking {
            let id = hosts[index].id;
            hosts[index].hear(&fleet[&id], now);
        }
        is_first = false;
        let next = hosts.iter().map(Host::wakes_at).chain(planner_wakes_at).filter(|at| *at > now).min();
        let Some(next) = next else { break };
        now = next;
    }
    order
}

fn live(drafts: &[Draft], cap: Option<u32>, keep: Option<u32>, needs_stone: bool) -> LiveFleet {
    let fleet: Fleet = (0..).zip(drafts).map(|(n, draft)| sensor(n, *draft)).map(|s| (s.id, s)).collect();
    let mut policy = Policy::default();
    policy.rollout.max_in_flight = cap;
    policy.rollout.coverage = keep.into_iter().map(|keep| ("hq/1".to_owned(), keep)).collect();
    let (mut catalogue, mut planner) = (Catalogue::default(), Planner::default());
    let long_ago = START - Duration::from_secs(90 * 86_400);
    catalogue.insert(release(OLD, long_ago, None));
    catalogue.insert(release(STONE, long_ago, None));
    catalogue.insert(release(NEW, START, needs_stone.then_some(STONE)));
    planner.publish(STONE, long_ago).unwrap();
    planner.publish(NEW, START).unwrap();
    LiveFleet { fleet, planner, catalogue, policy, ready_at: None, now: START }
}

fn planned(live: &LiveFleet) -> RolloutPlan {
    plan(NEW, live.clone()).unwrap()
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let condition = prop_oneof![
        8 => Just(Condition::Well),
        1 => Just(Condition::NeverHeard),
        1 => Just(Condition::SilentForAnHour),
        1 => Just(Condition::Stopped),
        1 => Just(Condition::Excluded),
        1 => Just(Condition::WentBackBefore),
    ];
    let draft = (0..180_u64, 0..3_u8, any::<bool>(), any::<bool>(), condition);
    let draft = draft.prop_map(|(heard, zone, is_delayed, is_old, condition)| Draft {
        heard,
        zone,
        is_delayed,
        is_old,
        condition,
    });
    proptest::collection::vec(draft, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_that_is_shown_is_the_plan_that_runs(
        drafts in drafts(),
        cap in proptest::option::of(1..4_u32),
        keep in proptest::option::of(0..4_u32),
        needs_stone in any::<bool>(),
    ) {
        let live = live(&drafts, cap, keep, needs_stone);
        let plan = planned(&live);
        let ran = run(&live);
        let shown: Vec<_> = plan
            .steps
            .iter()
            .map(|step| (step.sensor_id, [Some(step.starts_at), step.switches_at, step.cleared_at]))
            .collect();
        prop_assert_eq!(&shown, &ran);
        let last = ran.iter().filter_map(|(_, [_, _, cleared])| *cleared).max();
        prop_assert_eq!(plan.ends_at, last);
        // Everybody below the release is in the plan once, with a turn or with a reason.
        let below = live.fleet.values().filter(|sensor| sensor.version().is_some_and(|v| v.can_become(NEW)));
        let named: BTreeSet<_> = plan.skipped.iter().map(|row| row.sensor_id).chain(shown.iter().map(|s| s.0)).collect();
        prop_assert_eq!(named.len(), below.count());
        prop_assert!(plan.skipped.iter().all(|row| row.reason != "notReached"), "{:?}", plan.skipped);
    }
}

const WELL: Draft = Draft { heard: 0, zone: 0, is_delayed: false, is_old: false, condition: Condition::Well };

#[test]
fn a_plan_says_who_when_in_which_ring_and_why_not() {
    let drafts = [
        WELL,
        Draft { heard: 20, ..WELL },
        Draft { is_delayed: true, ..WELL },
        Draft { condition: Condition::SilentForAnHour, ..WELL },
        Draft { condition: Condition::WentBackBefore, ..WELL },
    ];
    let plan = planned(&live(&drafts, None, None, false));
    let at = |seconds: u64| START + Duration::from_secs(seconds);
    let turns: Vec<_> = plan.steps.iter().map(|s| (s.sensor.as_str(), s.starts_at, s.cleared_at.unwrap())).collect();
    // DC00 hears at once, has switched at 30 s and says so at 60 s. DC01 hears at 1:40, says so at 2:40. The delayed
    // ring opens 72 h after the publication.
    let gate = 72 * 3_600;
    assert_eq!(turns, [("DC00", at(0), at(60)), ("DC01", at(60), at(160)), ("DC02", at(gate), at(gate + 60)),]);
    let skipped: Vec<_> = plan.skipped.iter().map(|row| (row.sensor.as_str(), row.reason.as_str())).collect();
    assert_eq!(skipped, [("DC03", "offline"), ("DC04", "badVersion")]);
    assert_eq!((plan.bytes, plan.ends_at), (3_000, Some(at(gate + 60))));
    let rings: Vec<_> = plan.rings.iter().map(|ring| (ring.sensors, ring.opens_at, ring.ends_at)).collect();
    assert_eq!(rings, [(4, at(0), Some(at(160))), (1, at(gate), Some(at(gate + 60)))]);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<RolloutPlan>(&text).unwrap(), plan, "what is kept reads back");
}

#[test]
fn a_sensor_below_the_minimum_base_is_led_over_the_release_between() {
    let drafts = [Draft { is_old: true, ..WELL }];
    let plan = planned(&live(&drafts, None, None, true));
    let at = |seconds: u64| START + Duration::from_secs(seconds);
    let step = &plan.steps[0];
    // Cleared at one minute; that the host has heard so it says at the next.
    assert_eq!((step.leads_over.as_slice(), step.starts_at), ([STONE].as_slice(), at(120)));
    assert_eq!(plan.ends_at, Some(at(180)));
}

#[test]
fn a_large_ring_states_the_adaptive_pace_and_its_end() {
    let drafts = vec![WELL; 1_000];
    let plan = planned(&live(&drafts, None, None, false));
    let text = serde_json::to_value(&plan.rings[0]).unwrap();
    assert_eq!((text["pace"].as_str(), text["widest"].as_u64()), (Some("adaptive"), Some(100)));
    assert_eq!(text["oneByOneTakes"], "PT33H20M", "1,000 times two minutes");
    // 1, 2, 4 … 64 are 127 sensors in seven steps; the other 873 take nine of 100 at most. Sixteen steps of a minute.
    assert_eq!(plan.ends_at, Some(START + Duration::from_secs(16 * 60)));
    assert_eq!(plan.rings[0].tolerated_failures, 20);
}

#[test]
fn what_is_held_is_planned_as_if_somebody_resumed_it_and_what_is_aborted_reaches_nobody() {
    let mut live = live(&[WELL], None, None, false);
    live.planner.pause(NEW, START).unwrap();
    let held = planned(&live);
    assert!(held.assumes.is_resumed && held.steps.len() == 1);
    live.planner.abort(NEW, START).unwrap();
    let aborted = planned(&live);
    assert!(aborted.steps.is_empty() && aborted.ends_at.is_none());
    assert_eq!(aborted.skipped[0].reason, "aborted");
}
