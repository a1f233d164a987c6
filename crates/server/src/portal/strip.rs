//! A rollout as lanes and cells: where each sensor of each ring is with one release, and what the gate holds.

use std::time::Duration;

use watchpost_core::rollout::{Ring, Rollout, RolloutState};
use watchpost_core::sensor::Sensor;
use watchpost_core::time::Timestamp;
use watchpost_store::ReleaseRow as Release;

use super::mapping::{self, CLEARED, FAILED, WENT_BACK, readable};
use super::mark::{Mark, Shape, Tone};
use super::view::{Bar, CellView, Count, FlightView, GateView, LaneView, StripView, percent};
use super::when::{When, long_span, short_span};
use super::words::WAITING;

const PREPARING: Mark = Mark::new(Shape::Half, Tone::Busy, "Preparing");
const AWAITING: Mark = Mark::new(Shape::Half, Tone::Busy, "Awaiting clearance");
const SKIPPED: Mark = Mark::new(Shape::Dashed, Tone::Low, "Skipped");
const HELD: Mark = Mark::new(Shape::Clock, Tone::Muted, "Held");

/// The order in which states are counted and drawn.
const ORDER: [Mark; 8] = [CLEARED, WENT_BACK, FAILED, AWAITING, PREPARING, SKIPPED, WAITING, HELD];

/// Where a rollout stands, and why; the reason may be empty.
#[must_use]
pub fn state(state: &RolloutState) -> (Mark, String) {
    let (shape, tone, word, because) = match state {
        RolloutState::Planned => (Shape::Clock, Tone::Muted, "Planned", "nobody was started yet"),
        RolloutState::Running => (Shape::Half, Tone::Busy, "Running", ""),
        RolloutState::Halted { reason } => (Shape::Octagon, Tone::High, "Halted", reason.as_str()),
        RolloutState::Paused => {
            (Shape::Bars, Tone::Low, "Paused", "by a person; nobody is started until somebody resumes it")
        }
        RolloutState::Aborted => (Shape::Square, Tone::Muted, "Aborted", "by a person, for good"),
        RolloutState::Completed => (Shape::Tick, Tone::Ok, "Completed", ""),
    };
    (Mark::new(shape, tone, word), readable(because))
}

/// The strip of `rollout`, drawn from every sensor it is or was for.
#[must_use]
pub fn draw<'a>(
    rollout: &Rollout,
    release: &Release,
    delayed_ring: Duration,
    sensors: impl IntoIterator<Item = &'a Sensor>,
    now: Timestamp,
) -> StripView {
    let opens = release.published_at + delayed_ring;
    let (mut automatic, mut delayed, mut in_flight) = (Vec::new(), Vec::new(), Vec::new());
    let is_offered = release.pulled_back_at.is_none_or(|at| now < at);
    for sensor in sensors {
        let Some((ring, cell)) = cell(sensor, rollout, is_offered, now < opens) else { continue };
        in_flight.extend(flight(sensor, rollout, &cell, now));
        match ring {
            Ring::Automatic => automatic.push(cell),
            Ring::Delayed => delayed.push(cell),
        }
    }
    let gate = (!delayed.is_empty()).then(|| gate(release.published_at, delayed_ring, now));
    let counts = count(automatic.iter().chain(&delayed));
    let lanes = [("Automatic", false, automatic), ("Delayed", true, delayed)];
    let lanes = lanes.into_iter().filter(|(.., cells)| !cells.is_empty()).map(lane).collect();
    let (state, because) = state(&rollout.state);
    StripView {
        version: rollout.version.to_string(),
        kind: mapping::kind(release.manifest.kind),
        state,
        because,
        published: When::new(release.published_at, now),
        bar: Bar::of(&counts),
        counts,
        lanes,
        gate,
        in_flight,
    }
}

/// The ring and the cell of a sensor; `None` if the rollout neither is nor was for it.
fn cell(sensor: &Sensor, rollout: &Rollout, is_offered: bool, is_shut: bool) -> Option<(Ring, CellView)> {
    let (update, version) = (&sensor.update, rollout.version);
    let flight = update.flight.as_ref().filter(|flight| flight.version == version);
    let outcome = update.outcomes.get(&version);
    let skip = update.skip.as_ref().filter(|skip| skip.version == version);
    let runs_older = sensor.version().is_some_and(|running| running.can_become(version));
    let ring = flight.map(|f| f.ring).or(outcome.map(|o| o.ring)).unwrap_or_else(|| Ring::of(sensor));
    let (mark, note) = match (flight, outcome) {
        (Some(flight), _) => (if flight.switched_at.is_some() { AWAITING } else { PREPARING }, ""),
        (None, Some(outcome)) if outcome.cleared => (CLEARED, ""),
        (None, Some(_)) => match update.failures.get(&version) {
            Some(failure) => (if failure.reverted { WENT_BACK } else { FAILED }, failure.reason.as_str()),
            None => (FAILED, ""),
        },
        (None, None) if !is_offered || !runs_older => return None,
        (None, None) if update.excluded.contains(&version) => (SKIPPED, "a person excluded it"),
        (None, None) if ring == Ring::Delayed && is_shut => (HELD, "its ring opens when the gate does"),
        (None, None) => skip.map_or((WAITING, "its turn has not come"), |skip| (SKIPPED, skip.reason.as_str())),
    };
    let cell = CellView { id: sensor.id.to_string(), name: sensor.name.clone(), mark, note: readable(note) };
    Some((ring, cell))
}

fn flight(sensor: &Sensor, rollout: &Rollout, cell: &CellView, now: Timestamp) -> Option<FlightView> {
    let flight = sensor.update.flight.as_ref().filter(|flight| flight.version == rollout.version)?;
    let waits_for = match flight.switched_at {
        Some(_) => format!("waits for proof that {} detects", flight.version),
        None => "fetches the package, verifies and extracts it".to_owned(),
    };
    Some(FlightView {
        id: cell.id.clone(),
        name: cell.name.clone(),
        step: cell.mark,
        since: When::new(flight.switched_at.unwrap_or(flight.started_at), now),
        waits_for,
    })
}

fn lane((name, delayed, cells): (&'static str, bool, Vec<CellView>)) -> LaneView {
    let is_done = |cell: &&CellView| [CLEARED, WENT_BACK, FAILED].contains(&cell.mark);
    let done = cells.iter().filter(is_done).count();
    let note = format!("{done} of {} done", cells.len());
    let bar = Bar::of(&count(&cells));
    LaneView { name, delayed, note, cells, bar }
}

fn count<'a>(cells: impl IntoIterator<Item = &'a CellView>) -> Vec<Count> {
    let mut counts = ORDER.map(|mark| Count { mark, count: 0, href: String::new(), chosen: false });
    for cell in cells {
        counts.iter_mut().filter(|count| count.mark == cell.mark).for_each(|count| count.count += 1);
    }
    counts.into_iter().filter(|count| count.count > 0).collect()
}

fn gate(published: Timestamp, delayed_ring: Duration, now: Timestamp) -> GateView {
    let opens = published + delayed_ring;
    let (left, passed) = (opens.since(now), now.since(published).min(delayed_ring));
    let millis = |span: Duration| usize::try_from(span.as_millis()).unwrap_or(usize::MAX);
    let tick = |third: u32| (percent(third as usize, 3), short_hours(delayed_ring / 3 * third));
    GateView {
        span: short_hours(delayed_ring),
        opens: When::new(opens, now),
        passed: percent(millis(passed), millis(delayed_ring)),
        left: if left.is_zero() { String::new() } else { long_span(left) },
        ticks: (0..3).map(tick).collect(),
    }
}

/// Whole hours as hours, however many: the ring is known as the 72-hour ring.
fn short_hours(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds.is_multiple_of(3600) { format!("{} h", seconds / 3600) } else { short_span(span) }
}

#[cfg(test)]
mod tests {
    use watchpost_core::id::{SensorId, WorkspaceId};
    use watchpost_core::release::ReleaseManifest;
    use watchpost_core::rollout::{Failure, Flight, Outcome, Planner};
    use watchpost_core::sensor::SensorKind;
    use watchpost_core::sync::TargetRef;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn sensor(n: u128, start: Timestamp) -> Sensor {
        let workspace = WorkspaceId::from_parts(start, 0);
        let (id, kind) = (SensorId::from_parts(start, n), SensorKind::DomainControllerIntegrated);
        let mut sensor = Sensor::new(id, workspace, format!("DC{n:02}"), kind, start);
        sensor.report.version = Some("2.254.1.0".parse().unwrap());
        sensor
    }

    /// DC01 cleared, DC02 went back, DC03 in flight, DC04 to come, DC05 delayed.
    fn fleet(start: Timestamp, version: watchpost_core::version::Version) -> Vec<Sensor> {
        let mut all: Vec<_> = (1..=5).map(|n| sensor(n, start)).collect();
        let outcome = |cleared| Outcome { ring: Ring::Automatic, cleared, at: start };
        all[0].report.version = Some(version);
        all[0].update.outcomes.insert(version, outcome(true));
        all[1].update.outcomes.insert(version, outcome(false));
        let reason = "it did not start".to_owned();
        all[1]
            .update
            .failures
            .insert(version, Failure { version, reverted: true, is_of_updater: false, reason, at: start });
        all[2].update.flight = Some(Flight {
            version,
            from: "2.254.1.0".parse().unwrap(),
            ring: Ring::Automatic,
            generation: 2,
            started_at: start,
            switched_at: Some(start),
            restart: watchpost_core::restart::RestartNeed::None,
            only_stages: false,
        });
        all[4].delayed = true;
        all
    }

    #[test]
    fn each_sensor_stands_in_its_ring_with_its_state_and_the_gate_holds_the_delayed_one() {
        let start: Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
        let version = "2.255.1.0".parse().unwrap();
        let mut planner = Planner::default();
        planner.publish(version, start);
        let rollout = &planner.rollouts[&version];
        let manifest: ReleaseManifest = serde_json::from_str(r#"{"version":"2.255.1.0","rulesExpected":6}"#).unwrap();
        let target = TargetRef { name: "sensor".to_owned(), sha256: String::new(), length: 1 };
        let release = Release { manifest, target, published_at: start, pulled_back_at: None };
        let fleet = fleet(start, version);
        let strip = |now| draw(rollout, &release, 72 * HOUR, &fleet, now);
        let cells = |strip: &StripView, lane: usize| -> Vec<String> {
            strip.lanes[lane].cells.iter().map(|cell| format!("{} {}", cell.name, cell.mark.word)).collect()
        };

        let held = strip(start + 18 * HOUR);
        let automatic = ["DC01 Cleared", "DC02 Went back", "DC03 Awaiting clearance", "DC04 Waiting"];
        assert_eq!(cells(&held, 0), automatic);
        assert_eq!(cells(&held, 1), ["DC05 Held"]);
        assert_eq!(held.lanes[0].cells[1].note, "it did not start");
        assert_eq!(held.lanes[0].note, "2 of 4 done");
        assert_eq!(held.in_flight.len(), 1);
        let gate = held.gate.as_ref().unwrap();
        assert!((gate.passed - 25.0).abs() < 0.01, "18 of 72 h are a quarter");
        assert_eq!((gate.span.as_str(), gate.left.as_str(), held.is_shut()), ("72 h", "2 d 6 h", true));

        let open = strip(start + 72 * HOUR);
        assert_eq!(cells(&open, 1), ["DC05 Waiting"]);
        assert!(!open.is_shut());
    }
}
