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
    let runs_older = sensor.version().is_some_and(|v| v < version && v.generation() == version.generation());
    let ring = flight.map(|f| f.ring).or(outcome.map(|o| o.ring)).unwrap_or_else(|| Ring::of(sensor));
    let (mark, note) = match (flight, outcome) {
        (Some(flight), _) => (if flight.switched_at.is_some() { AWAITING } else { PREPARING }, ""),
        (None, Some(outcome)) if outcome.cleared => (CLEARED, ""),
        (None, Some(_)) => match update.failure.as_ref().filter(|failure| failure.version == version) {
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
