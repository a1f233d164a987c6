//! The word, shape and colour of each state of the product. The only place that decides how a state looks.

use watchpost_core::health::{HealthStatus, Severity};
use watchpost_core::sensor::{SensorStatus, ServiceStatus};

use super::mark::{Mark, Shape, Tone};

/// Nothing that judges readiness for generation 3 has reported yet.
pub const NOT_READY: Mark = Mark::new(Shape::Dashed, Tone::Muted, "Not ready");
/// Something waits for an instant or for somebody.
pub const WAITING: Mark = Mark::new(Shape::Clock, Tone::Muted, "Waiting");

/// A sensor status (A8).
#[must_use]
pub fn of_sensor(status: SensorStatus) -> Mark {
    let (shape, tone, word) = match status {
        SensorStatus::Unreachable => (Shape::Struck, Tone::Muted, "Unreachable"),
        SensorStatus::Disconnected => (Shape::Struck, Tone::High, "Disconnected"),
        SensorStatus::Updating => (Shape::Half, Tone::Busy, "Updating"),
        SensorStatus::UpdateFailed => (Shape::Back, Tone::Medium, "Update failed"),
        SensorStatus::StartFailure => (Shape::Octagon, Tone::High, "Start failed"),
        SensorStatus::NotConfigured => (Shape::Diamond, Tone::Low, "Not configured"),
        SensorStatus::Outdated => (Shape::Triangle, Tone::Medium, "Outdated"),
        SensorStatus::Syncing => (Shape::Half, Tone::Busy, "Syncing"),
        SensorStatus::UpToDate => (Shape::Tick, Tone::Ok, "Up to date"),
    };
    Mark::new(shape, tone, word)
}

/// A service status (A7).
#[must_use]
pub fn of_service(status: ServiceStatus) -> Mark {
    let (shape, tone, word) = match status {
        ServiceStatus::Running => (Shape::Tick, Tone::Ok, "Running"),
        ServiceStatus::Starting => (Shape::Half, Tone::Busy, "Starting"),
        ServiceStatus::Disabled => (Shape::Square, Tone::Muted, "Disabled"),
        ServiceStatus::Stopped => (Shape::Square, Tone::High, "Stopped"),
        ServiceStatus::Unknown => (Shape::Dashed, Tone::Muted, "Unknown"),
    };
    Mark::new(shape, tone, word)
}

/// A health status (B3).
#[must_use]
pub fn of_health(status: HealthStatus) -> Mark {
    let (shape, tone, word) = match status {
        HealthStatus::Healthy => (Shape::Tick, Tone::Ok, "Healthy"),
        HealthStatus::NotHealthyLow => (Shape::Diamond, Tone::Low, "Not healthy (low)"),
        HealthStatus::NotHealthyMedium => (Shape::Triangle, Tone::Medium, "Not healthy (medium)"),
        HealthStatus::NotHealthyHigh => (Shape::Octagon, Tone::High, "Not healthy (high)"),
    };
    Mark::new(shape, tone, word)
}

/// A severity.
#[must_use]
pub fn of_severity(severity: Severity) -> Mark {
    let (shape, tone, word) = match severity {
        Severity::Low => (Shape::Diamond, Tone::Low, "Low"),
        Severity::Medium => (Shape::Triangle, Tone::Medium, "Medium"),
        Severity::High => (Shape::Octagon, Tone::High, "High"),
    };
    Mark::new(shape, tone, word)
}

/// What changes a sensor status, in words; empty where nothing needs to.
#[must_use]
pub fn way_out(status: SensorStatus) -> &'static str {
    match status {
        SensorStatus::Unreachable => "delete the sensor, or bring its domain controller back into the directory.",
        SensorStatus::Disconnected => "the next check-in; see that the host runs and reaches this server.",
        SensorStatus::Updating => "the proof that the new version detects, or the end of its time.",
        SensorStatus::UpdateFailed => {
            "a newer release that is cleared here, an order to try again, or the failed one being pulled back."
        }
        SensorStatus::StartFailure => "the next time the host pulls its configuration; read the updater's log there.",
        SensorStatus::NotConfigured => "naming the domain controllers it works with.",
        SensorStatus::Outdated => "an update; see what its rollout waits for.",
        SensorStatus::Syncing => "the next check-in.",
        SensorStatus::UpToDate => "",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_sensor_status_has_the_word_people_know_and_a_look_of_its_own() {
        let words: Vec<_> = SensorStatus::PRECEDENCE.map(|status| of_sensor(status).word).to_vec();
        assert_eq!(
            words,
            [
                "Unreachable",
                "Disconnected",
                "Updating",
                "Update failed",
                "Start failed",
                "Not configured",
                "Outdated",
                "Syncing",
                "Up to date",
            ]
        );
        let healths = [
            HealthStatus::Healthy,
            HealthStatus::NotHealthyLow,
            HealthStatus::NotHealthyMedium,
            HealthStatus::NotHealthyHigh,
        ];
        let looks: BTreeSet<_> = healths.map(|status| of_health(status).shape).into_iter().collect();
        assert_eq!(looks.len(), 4, "health is told apart without colour");
        let tones: Vec<_> = healths.map(|status| of_health(status).tone.class()).to_vec();
        assert_eq!(tones, ["ok", "low", "medium", "high"], "green, yellow, orange, red");
    }
}
