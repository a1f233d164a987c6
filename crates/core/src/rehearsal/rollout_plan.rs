//! The plan of a rollout, readable before it runs: who, in which order, when, and who is passed over and why (E10).
//!
//! It is what the production planner came to in a rehearsal of the living fleet; nothing in it is worked out twice.
//! Once made it is never changed: other facts make another plan, with a number of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::live::{LIVE_UPDATE_TAKES, LiveFleet, LiveOutcome, run_live};
use crate::catalogue::Release;
use crate::id::SensorId;
use crate::release::ReleaseKind;
use crate::rollout::{Fleet, Ring, RingPace, RolloutState, What, one_by_one_takes};
use crate::sensor::Sensor;
use crate::time::{Timestamp, format_duration};
use crate::version::Version;

/// The plan of one rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPlan {
    /// What is rolled out.
    pub version: Version,
    /// How much the release changes.
    pub kind: ReleaseKind,
    /// The number of the plan among the plans of this rollout; 0 for one that nothing runs by.
    pub generation: u32,
    /// The revision of the facts that it was made from.
    pub facts_revision: u64,
    /// When it was made.
    #[serde(rename = "madeDateTime")]
    pub made_at: Timestamp,
    /// When its release was, or would be, published.
    #[serde(rename = "publishedDateTime")]
    pub published_at: Timestamp,
    /// When the last sensor is expected to be cleared; `None`: nobody is left to start, or not within the horizon.
    #[serde(rename = "endsDateTime")]
    pub ends_at: Option<Timestamp>,
    /// Bytes that hosts fetch in all.
    pub bytes: u64,
    /// Sensors that had it when the plan was made.
    pub already: u32,
    /// What was taken for granted.
    pub assumes: Assumptions,
    /// The rings, each with its gate and its pace.
    pub rings: Vec<RingPlan>,
    /// Who takes it, in order.
    pub steps: Vec<Step>,
    /// Who does not, and why.
    pub skipped: Vec<PassedOver>,
}

/// What a plan takes for granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assumptions {
    /// Every host checks in so often, in the rhythm it was last heard in.
    pub check_in: String,
    /// What a host needs from hearing of the release to the switch.
    pub update_takes: String,
    /// Somebody resumes the rollout at once; it was held, paused or had halted.
    pub is_resumed: bool,
    /// Sensors that must stay watching, by zone.
    pub coverage: BTreeMap<String, u32>,
}

/// One ring of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RingPlan {
    /// Which.
    pub ring: Ring,
    /// Its sensors, those that are done included.
    pub sensors: u32,
    /// How many at once.
    #[serde(flatten)]
    pub pace: RingPace,
    /// What it would take one at a time: more than 24 hours make the pace adaptive.
    pub one_by_one_takes: String,
    /// Failures that it bears; one more halts the rollout.
    pub tolerated_failures: u32,
    /// When its gate opens.
    #[serde(rename = "opensDateTime")]
    pub opens_at: Timestamp,
    /// When its first sensor starts.
    #[serde(rename = "startsDateTime")]
    pub starts_at: Option<Timestamp>,
    /// When its last sensor is cleared.
    #[serde(rename = "endsDateTime")]
    pub ends_at: Option<Timestamp>,
}

/// One sensor's turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its place in the order, from 1.
    pub order: u32,
    /// Whose turn.
    pub sensor_id: SensorId,
    /// Its name.
    pub sensor: String,
    /// Its zone.
    pub zone: Option<String>,
    /// Its ring.
    pub ring: Ring,
    /// Releases that it takes before, because this one asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leads_over: Vec<Version>,
    /// When it is handed the release.
    #[serde(rename = "startsDateTime")]
    pub starts_at: Timestamp,
    /// When its host is expected to switch.
    #[serde(rename = "switchesDateTime")]
    pub switches_at: Option<Timestamp>,
    /// When it is expected to be cleared.
    #[serde(rename = "clearedDateTime")]
    pub cleared_at: Option<Timestamp>,
}

/// A sensor that is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// Who.
    pub sensor_id: SensorId,
    /// Its name.
    pub sensor: String,
    /// Why, in one word.
    pub reason: String,
}

/// Plans the rollout of `version`; `None` when it has no rollout or no release in `live`.
///
/// A rollout that was held, paused or halted is planned as if somebody resumed it now.
#[must_use]
pub fn plan(version: Version, mut live: LiveFleet) -> Option<RolloutPlan> {
    let state = live.planner.rollouts.get(&version)?.state.clone();
    let release = live.catalogue.get(version)?.clone();
    let is_resumed = matches!(state, RolloutState::Paused | RolloutState::Halted { .. })
        && live.planner.resume(version, &live.fleet, live.now).is_ok();
    let before = live.clone();
    let outcome = run_live(live);
    let steps = steps(version, &before.fleet, &outcome);
    let skipped = skipped(version, &state, &release, &before, &outcome, &steps);
    let has_it =
        |sensor: &&Sensor| sensor.update.flight.is_none() && sensor.version().is_some_and(|runs| runs >= version);
    let already = before.fleet.values().filter(has_it).count();
    let policy = &before.policy;
    let takers = u64::try_from(steps.len()).unwrap_or(u64::MAX);
    Some(RolloutPlan {
        version,
        kind: release.kind,
        generation: 0,
        facts_revision: 0,
        made_at: before.now,
        published_at: release.published_at,
        ends_at: ends_at(steps.iter()),
        bytes: release.target.as_ref().map_or(0, |target| target.length).saturating_mul(takers),
        already: u32::try_from(already).unwrap_or(u32::MAX),
        assumes: Assumptions {
            check_in: format_duration(policy.contact.check_in),
            update_takes: format_duration(LIVE_UPDATE_TAKES),
            is_resumed,
            coverage: policy.rollout.coverage.clone(),
        },
        rings: rings(version, &release, &before, &steps),
        steps,
        skipped,
    })
}

/// When all of these are cleared; `None` when there are none, or one is not.
fn ends_at<'a>(steps: impl Iterator<Item = &'a Step>) -> Option<Timestamp> {
    let all: Option<Vec<Timestamp>> = steps.map(|step| step.cleared_at).collect();
    all?.into_iter().max()
}

/// Everybody who is in flight, then everybody who is started, in that order.
fn steps(version: Version, before: &Fleet, outcome: &LiveOutcome) -> Vec<Step> {
    let mut order = Order::default();
    for sensor in before.values() {
        if let Some(flight) = sensor.update.flight.as_ref().filter(|flight| flight.version == version) {
            order.add(sensor, flight.started_at);
            order.at(sensor.id, |step| step.switches_at = flight.switched_at);
        }
    }
    for event in &outcome.decisions {
        let Some(sensor) = event.sensor.and_then(|id| before.get(&id)) else { continue };
        match &event.what {
            What::Started if event.version == version => order.add(sensor, event.at),
            What::Started if event.version < version => order.lead_over(sensor.id, event.version),
            What::Switched if event.version == version => {
                order.at(sensor.id, |step| step.switches_at = step.switches_at.or(Some(event.at)));
            }
            What::Cleared if event.version == version => {
                order.at(sensor.id, |step| step.cleared_at = Some(event.at));
            }
            What::Planned
            | What::Started
            | What::Staging
            | What::Staged
            | What::Switched
            | What::Cleared
            | What::Reverted { .. }
            | What::Failed { .. }
            | What::Skipped { .. }
            | What::Halted { .. }
            | What::Paused
            | What::Resumed
            | What::Aborted
            | What::Completed => {}
        }
    }
    order.steps
}

/// The steps so far, and where each sensor's is.
#[derive(Default)]
struct Order {
    steps: Vec<Step>,
    places: BTreeMap<SensorId, usize>,
    led_over: BTreeMap<SensorId, Vec<Version>>,
}

impl Order {
    fn add(&mut self, sensor: &Sensor, starts_at: Timestamp) {
        self.places.insert(sensor.id, self.steps.len());
        self.steps.push(Step {
            order: u32::try_from(self.steps.len()).unwrap_or(u32::MAX).saturating_add(1),
            sensor_id: sensor.id,
            sensor: sensor.name.clone(),
            zone: sensor.zone.clone(),
            ring: Ring::of(sensor),
            leads_over: self.led_over.remove(&sensor.id).unwrap_or_default(),
            starts_at,
            switches_at: None,
            cleared_at: None,
        });
    }

    fn lead_over(&mut self, sensor: SensorId, version: Version) {
        self.led_over.entry(sensor).or_default().push(version);
    }

    fn at(&mut self, sensor: SensorId, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.places.get(&sensor).and_then(|place| self.steps.get_mut(*place)) {
            change(step);
        }
    }
}

/// Everybody else whom the release is for, each with the reason that keeps it away.
fn skipped(
    version: Version,
    state: &RolloutState,
    release: &Release,
    before: &LiveFleet,
    outcome: &LiveOutcome,
    steps: &[Step],
) -> Vec<PassedOver> {
    let taking: BTreeSet<SensorId> = steps.iter().map(|step| step.sensor_id).collect();
    let is_for = |sensor: &&Sensor| {
        sensor.version().is_some_and(|runs| runs.can_become(version)) && !taking.contains(&sensor.id)
    };
    let newer = |id: SensorId| {
        let started = |event: &&crate::rollout::Event| event.what == What::Started && event.sensor == Some(id);
        outcome.decisions.iter().filter(started).any(|event| event.version > version)
    };
    let reason = |sensor: &Sensor| {
        let skip = outcome.fleet.get(&sensor.id).and_then(|sensor| sensor.update.skip.clone());
        if *state == RolloutState::Aborted {
            "aborted".to_owned()
        } else if release.is_pulled_back(before.now) {
            "pulledBack".to_owned()
        } else if sensor.update.outcomes.contains_key(&version) {
            "failedBefore".to_owned()
        } else if newer(sensor.id) {
            "takesNewer".to_owned()
        } else {
            skip.map_or("notReached".to_owned(), |skip| skip.reason)
        }
    };
    let row =
        |sensor: &Sensor| PassedOver { sensor_id: sensor.id, sensor: sensor.name.clone(), reason: reason(sensor) };
    before.fleet.values().filter(is_for).map(row).collect()
}

fn rings(version: Version, release: &Release, before: &LiveFleet, steps: &[Step]) -> Vec<RingPlan> {
    let policy = &before.policy.rollout;
    let sizes = before.planner.ring_sizes(&before.fleet);
    let ring = |ring: Ring| {
        let sensors = sizes.get(&(version, ring)).copied().filter(|sensors| *sensors > 0)?;
        let opens_at = match ring {
            Ring::Automatic => release.published_at,
            Ring::Delayed => release.published_at + policy.delayed_ring,
        };
        let of_it = || steps.iter().filter(move |step| step.ring == ring);
        Some(RingPlan {
            ring,
            sensors,
            pace: RingPace::of(sensors, policy),
            one_by_one_takes: format_duration(one_by_one_takes(sensors, policy)),
            tolerated_failures: policy.failure_budget.tolerated(sensors),
            opens_at,
            starts_at: of_it().map(|step| step.starts_at).min(),
            ends_at: ends_at(of_it()),
        })
    };
    [Ring::Automatic, Ring::Delayed].into_iter().filter_map(ring).collect()
}
