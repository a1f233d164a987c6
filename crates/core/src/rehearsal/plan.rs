//! From the scenario's words to the values the product works with.

use std::time::Duration;

use super::host::{USUAL_UPDATE, target_of};
use super::scenario::{History, ReleaseSpec, Scenario};
use crate::catalogue::{Catalogue, Release};
use crate::policy::Policy;
use crate::release::ReleaseKind;
use crate::restart::RestartNeed;
use crate::time::Timestamp;
use crate::version::Version;

/// Hundredths of a percent in a percent.
const HUNDREDTHS: f64 = 100.0;

/// The defaults, with what the scenario says instead.
pub(super) fn policy(scenario: &Scenario) -> Policy {
    let (mut policy, said) = (Policy::default(), &scenario.policy);
    let set = |place: &mut Duration, span: Option<super::scenario::Span>| {
        if let Some(span) = span {
            *place = span.0;
        }
    };
    set(&mut policy.contact.check_in, said.check_in);
    set(&mut policy.rollout.delayed_ring, said.delayed_ring);
    set(&mut policy.rollout.clearance_deadline, said.clearance_deadline);
    policy.rollout.max_in_flight = said.max_in_flight;
    if let Some(percent) = said.failure_budget.percent {
        policy.rollout.failure_budget.share = hundredths(percent);
    }
    if let Some(at_least) = said.failure_budget.at_least {
        policy.rollout.failure_budget.at_least = at_least;
    }
    policy.rollout.coverage = said.coverage.iter().map(|zone| (zone.zone.clone(), zone.keep_watching)).collect();
    policy.rollout.restart_for_major = said.restart_for_major;
    policy.rollout.expected_step = expected_step(scenario, policy.contact.check_in);
    policy
}

/// A share was checked to lie between 0 and 100 percent.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000 fits, and is checked before")]
fn hundredths(percent: f64) -> u32 {
    (percent * HUNDREDTHS).round() as u32
}

/// What a sensor takes on average from hand-out to the check-in that clears it.
fn expected_step(scenario: &Scenario, check_in: Duration) -> Duration {
    let count = u32::try_from(scenario.sensors.len()).unwrap_or(u32::MAX).max(1);
    let beats = |takes: Duration| {
        let beats = takes.as_millis().div_ceil(check_in.as_millis().max(1)).max(1);
        check_in.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
    };
    let takes = scenario.sensors.iter().map(|s| s.behaviour.update_takes.map_or(USUAL_UPDATE, |span| span.0));
    takes.map(beats).fold(Duration::ZERO, Duration::saturating_add) / count
}

/// What was published before the scenario begins. What a sensor runs and no list names has a package too, but no rank.
pub(super) fn history(scenario: &Scenario) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for History { version, published_at, kind } in &scenario.catalogue {
        catalogue.insert(release(*version, *kind, published_at.unwrap_or(scenario.start), None));
    }
    let is_coming = |version: Version| scenario.releases.iter().any(|release| release.version == version);
    for version in scenario.sensors.iter().filter_map(|sensor| sensor.version).filter(|version| !is_coming(*version)) {
        catalogue.insert(release(version, ReleaseKind::Hotfix, scenario.start, None));
    }
    catalogue
}

/// A release at the moment it is published.
pub(super) fn published(spec: &ReleaseSpec, start: Timestamp) -> Release {
    let pulled_back_at = spec.pulled_back_at.map(|at| at.after(start));
    Release { restart: spec.restart, ..release(spec.version, spec.kind, start + spec.at.0, pulled_back_at) }
}

fn release(version: Version, kind: ReleaseKind, published_at: Timestamp, pulled_back_at: Option<Timestamp>) -> Release {
    let (minimum_base, restart, target) = (None, RestartNeed::None, Some(target_of(version)));
    Release { version, kind, published_at, pulled_back_at, minimum_base, restart, systems: Vec::new(), target }
}
