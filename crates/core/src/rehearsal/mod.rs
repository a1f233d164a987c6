//! A fleet in virtual time: the production planner, status list, health rules and on-host updater, with simulated hosts.
//!
//! Nothing here decides what those rooms decide. The same scenario and seed give the same result, byte for byte.

mod beat;
mod check;
mod closing;
mod deeds;
mod host;
mod live;
mod member;
mod outcome;
mod plan;
mod report;
mod rollout_plan;
mod scenario;
mod script;
mod simulation;

#[cfg(test)]
mod plan_is_what_runs;
#[cfg(test)]
mod tests;

pub use host::Host as SimulatedHost;
pub use live::{LIVE_HORIZON, LIVE_UPDATE_TAKES, LiveFleet};
pub use outcome::{EventRow, ObservationRow, ObservedSensor, Outcome, RolloutRow, SensorRow};
pub use rollout_plan::{Assumptions, PassedOver, RingPlan, RolloutPlan, Step, plan};
pub use scenario::{Behaviour, OnUpdate, Scenario, ScenarioError};

/// Plays a scenario. Without a seed check-ins keep their interval to the second; with one they move by up to 10 %.
#[must_use]
pub fn run(scenario: &Scenario, seed: Option<u64>) -> Outcome {
    simulation::Simulation::new(scenario, seed).run()
}
