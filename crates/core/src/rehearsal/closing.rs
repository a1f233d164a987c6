//! Looks at the fleet: the observations, and how everything ended.

use super::outcome::{ObservationRow, ObservedSensor, Outcome, RolloutRow, SensorRow};
use super::scenario::Look;
use super::simulation::Simulation;
use crate::health::health_status;
use crate::sensor::{Sensor, sensor_status, service_status};
use crate::time::Timestamp;

fn sensors<'a>(simulation: &'a Simulation<'_>) -> impl Iterator<Item = &'a Sensor> {
    simulation.members.iter().filter_map(|member| simulation.fleet.get(&member.id))
}

/// Writes down how every sensor is.
pub(super) fn observe(simulation: &mut Simulation<'_>, look: &Look, now: Timestamp) {
    let context = simulation.context(now);
    let observed = sensors(simulation).map(|sensor| ObservedSensor {
        name: sensor.name.clone(),
        version: sensor.version(),
        sensor_status: sensor_status(sensor, &context).value.word().to_owned(),
        service_status: service_status(sensor, &context).value.word().to_owned(),
        health_status: health_status(sensor).word().to_owned(),
        open_health_issues: sensor
            .issues
            .iter()
            .filter(|(_, issue)| issue.is_open())
            .map(|(kind, _)| kind.word().to_owned())
            .collect(),
        waiting_for: simulation.planner.waiting_for(sensor, &context),
    });
    let sensors = observed.collect();
    simulation.observations.push(ObservationRow { at: look.text.clone(), sensors });
}

/// Writes down how everything ended.
pub(super) fn outcome(simulation: Simulation<'_>) -> Outcome {
    let context = simulation.context(simulation.end);
    let ended = sensors(&simulation).map(|sensor| SensorRow {
        name: sensor.name.clone(),
        version: sensor.version(),
        sensor_status: sensor_status(sensor, &context).value.word().to_owned(),
        bad_versions: sensor.update.bad_versions.union(&sensor.report.bad_versions).copied().collect(),
    });
    let sensors = ended.collect();
    let rollouts = simulation.published.iter().filter_map(|version| simulation.planner.rollouts.get(version));
    let rollouts = rollouts.map(|rollout| {
        let summary = simulation.planner.summary(rollout.version, &simulation.fleet, &context);
        RolloutRow {
            version: rollout.version,
            state: rollout.state.word().to_owned(),
            cleared: summary.cleared,
            failed: summary.failed,
            skipped: summary.skipped,
            pending: summary.pending + summary.in_flight,
            peak_in_flight: rollout.peak_in_flight,
        }
    });
    let rollouts = rollouts.collect();
    Outcome { events: simulation.recorder.into_rows(), observations: simulation.observations, sensors, rollouts }
}
