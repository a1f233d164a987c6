//! Everything the scenario does by itself, in one list in time order.

use std::collections::BTreeSet;
use std::time::Duration;

use super::scenario::{Behaviour, Look, ReleaseSpec, Scenario, Step, Window};

/// One entry of the list. At one instant releases come first, then the hosts, then people, then the looks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cue<'s> {
    /// A release is published.
    Publish(&'s ReleaseSpec),
    /// A host's behaviour changes.
    Host(usize),
    /// A person does something.
    Operator(&'s Step),
    /// Everything is looked at.
    Observe(&'s Look),
}

/// The list, up to and including the end of the scenario.
pub(super) fn cues(scenario: &Scenario) -> Vec<(Duration, Cue<'_>)> {
    let mut cues: Vec<(Duration, Cue<'_>)> = Vec::new();
    cues.extend(scenario.releases.iter().map(|release| (release.at.0, Cue::Publish(release))));
    for (index, sensor) in scenario.sensors.iter().enumerate() {
        cues.extend(turns(&sensor.behaviour).into_iter().map(|at| (at, Cue::Host(index))));
    }
    cues.extend(scenario.operator.iter().map(|step| (step.at.0, Cue::Operator(step))));
    cues.extend(scenario.observe.iter().map(|look| (look.at, Cue::Observe(look))));
    cues.retain(|(at, _)| *at <= scenario.until.0);
    // Stable: what stands earlier in its list happens earlier.
    cues.sort_by_key(|(at, _)| *at);
    cues
}

/// The instants at which a host begins or stops doing something.
fn turns(behaviour: &Behaviour) -> BTreeSet<Duration> {
    let plain = [&behaviour.offline, &behaviour.no_config_pull, &behaviour.service_stopped];
    let windows = plain.into_iter().flatten().copied();
    let facts = behaviour.health_facts.iter().map(super::scenario::FactWindow::window);
    windows.chain(facts).flat_map(|Window { from, to }| [from.0, to.0]).collect()
}
