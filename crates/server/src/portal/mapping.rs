//! From what the use cases answer to what the pages show. It words and arranges; it decides nothing.

use watchpost_core::health::{IssueStatus, IssueType, Severity};
use watchpost_core::id::SensorId;
use watchpost_core::release::ReleaseKind;
use watchpost_core::rollout::{Event, What};
use watchpost_core::sensor::{Sensor, SensorStatus};
use watchpost_core::sync::UpdaterReport;
use watchpost_core::time::Timestamp;
use watchpost_store::{AuditRow, ReleaseRow as Release};

use super::door::capitalized;
use super::mark::{Mark, Shape, Tone};
use super::view::{AuditView, FactView, HistoryView, IssueView, ReleaseRow, SensorView, Value, Why};
use super::when::When;
use super::words;
use crate::app::views::{IssueRow, SensorRow};

/// One row of the grid, without its reasons.
#[must_use]
pub fn sensor(row: &SensorRow, now: Timestamp) -> SensorView {
    SensorView {
        id: row.id.to_string(),
        name: row.name.clone(),
        kind: row.kind.title(),
        domain: row.domain.clone(),
        place: format!("{} / {}", row.site, row.zone),
        migration: words::NOT_READY,
        service: words::of_service(row.service.value),
        status: words::of_sensor(row.status.value),
        version: row.version.map(|version| version.to_string()).unwrap_or_default(),
        delayed: row.is_delayed,
        health: words::of_health(row.health),
        open_issues: row.open_issues.len(),
        created: When::new(row.created_at, now),
        last_contact: row.last_contact.map(|at| When::new(at, now)),
        waiting: row.waiting_for.as_deref().map(readable).unwrap_or_default(),
        watching: row.is_watching,
        whys: Vec::new(),
    }
}

/// The reasons of a row (A12): one for each of its states, the sensor status first.
#[must_use]
pub fn whys(row: &SensorRow, now: Timestamp) -> Vec<Why> {
    let view = sensor(row, now);
    let why = |about, mark, because: String, changes: String| Why { about, mark, because, changes };
    let way_out = words::way_out(row.status.value).to_owned();
    let mut whys = vec![
        why("Sensor status", view.status, sentence(&row.status.reason), way_out),
        why("Service status", view.service, sentence(&row.service.reason), String::new()),
        why("Health status", view.health, health(row), String::new()),
    ];
    if let Some(issue) = row.open_issues.first() {
        let remediation = issue.kind.remediation().join(" ");
        whys.last_mut().into_iter().for_each(|why| why.changes.clone_from(&remediation));
    }
    if !view.waiting.is_empty() {
        let because = format!("It waits for {}.", view.waiting.trim_end_matches('.'));
        whys.push(why("Update", words::WAITING, because, String::new()));
    }
    let because = "Nothing on this host has reported what moving to generation 3 needs.".to_owned();
    whys.push(why("Migration state", words::NOT_READY, because, String::new()));
    whys
}

fn health(row: &SensorRow) -> String {
    match row.open_issues.as_slice() {
        [] => "No health issue is open.".to_owned(),
        // The sensor status, just above, tells how.
        [one] if one.kind == IssueType::SensorOutdated && row.status.value == SensorStatus::UpdateFailed => {
            format!("{}: its update failed.", one.kind.title())
        }
        [one] => sentence(&format!("{}: {}", one.kind.title(), one.issue.reason)),
        [worst, ..] => {
            let (count, title) = (row.open_issues.len(), worst.kind.title());
            sentence(&format!("{count} health issues are open; the worst: {title}, {}", worst.issue.reason))
        }
    }
}

/// A reason as a sentence, its instants readable.
fn sentence(text: &str) -> String {
    let text = capitalized(&readable(text));
    if text.is_empty() || text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}

/// A text with every RFC 3339 instant in it as people read one.
#[must_use]
pub fn readable(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches(['.', ',', ';', ':', ')']);
        match bare.parse::<Timestamp>() {
            Ok(at) => format!("{}{}", When::new(at, at).absolute(), word.get(bare.len()..).unwrap_or_default()),
            Err(_) => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A health issue.
#[must_use]
pub fn issue(row: &IssueRow, now: Timestamp) -> IssueView {
    let closed = match row.issue.status {
        IssueStatus::Open => None,
        IssueStatus::Closed | IssueStatus::Suppressed { .. } => Some(When::new(row.issue.changed_at, now)),
    };
    IssueView {
        id: row.id.map(|id| id.to_string()).unwrap_or_default(),
        title: row.kind.title().to_owned(),
        severity: words::of_severity(row.kind.severity()),
        open: row.issue.is_open(),
        sensor: row.sensor.map(|id| (id.to_string(), row.sensor_name.clone())),
        subject: row.subject.clone(),
        suppressed: match row.issue.status {
            IssueStatus::Suppressed { until } => Some(When::new(until, now)),
            IssueStatus::Open | IssueStatus::Closed => None,
        },
        details: if row.issue.details.len() > 1 { row.issue.details.clone() } else { Vec::new() },
        what: sentence(&row.issue.reason),
        advice: row.kind.remediation().join(" "),
        opened: When::new(row.issue.opened_at, now),
        closed,
    }
}

/// The colour of the worst open issue, for the badge.
#[must_use]
pub fn worst(rows: &[SensorRow], global: &[IssueRow]) -> &'static str {
    let issues = rows.iter().flat_map(|row| &row.open_issues).chain(global);
    let severities = issues.map(|issue| issue.kind.severity());
    severities.max().map_or(Tone::Muted, |worst: Severity| words::of_severity(worst).tone).class()
}

/// Which updater runs on the host, and which one does not take its place.
fn updater_in_words(updater: &UpdaterReport) -> String {
    let runs = updater.version.map_or_else(|| "as installed".to_owned(), |version| version.to_string());
    match &updater.refused {
        Some(refused) => format!("{runs}; that of {} was given up: {}", refused.version, refused.reason),
        None => runs,
    }
}

/// What is known of one sensor.
#[must_use]
pub fn facts(row: &SensorRow, sensor: &Sensor, now: Timestamp) -> Vec<FactView> {
    let fact = |label, value| FactView { label, value };
    let text = |text: String| Value::Text(if text.is_empty() { "–".to_owned() } else { text });
    let time = |at: Option<Timestamp>| match at {
        Some(at) => Value::Time(When::new(at, now)),
        None => Value::Text("never".to_owned()),
    };
    let report = &sensor.report;
    let version =
        |version: Option<watchpost_core::version::Version>| version.map(|v| v.to_string()).unwrap_or_default();
    let bad: Vec<_> = report.bad_versions.iter().map(ToString::to_string).collect();
    let rules = report.proof.as_ref().map(|proof| match proof.rules_failed {
        0 => format!("{} loaded", proof.rules_loaded),
        failed => format!("{} loaded, {failed} refused", proof.rules_loaded),
    });
    let mut facts = vec![
        fact("Version", text(version(row.version))),
        fact("Should run", text(version(sensor.update.desired.version))),
        fact("Updater", text(updater_in_words(&report.updater))),
        fact("Delayed update", text(if row.is_delayed { "Enabled" } else { "Disabled" }.to_owned())),
        fact("Last contact", time(row.last_contact)),
        fact("Configuration pulled", time(sensor.last_config_pull)),
        fact("Alerts raised", text(row.alert_count.to_string())),
        fact("Detection proof", time(report.proof.as_ref().map(|proof| proof.detected_at))),
        fact("Rules", text(rules.unwrap_or_default())),
        fact("Operating system", text(report.operating_system.clone())),
        fact("Site and zone", text(format!("{} / {}", row.site, row.zone))),
        fact("Created", Value::Time(When::new(row.created_at, now))),
        fact("Id", Value::Code(row.id.to_string())),
    ];
    if !bad.is_empty() {
        facts.insert(2, fact("Not tried again here", text(bad.join(", "))));
    }
    if !sensor.domain_controllers.is_empty() {
        facts.insert(
            facts.len().saturating_sub(2),
            fact("Domain controllers", text(sensor.domain_controllers.join(", "))),
        );
    }
    facts
}

/// The updates of one sensor, newest first.
#[must_use]
pub fn history(sensor: &Sensor, now: Timestamp) -> Vec<HistoryView> {
    let busy = |word| Mark::new(Shape::Half, Tone::Busy, word);
    let step = |at, mark, version: watchpost_core::version::Version, reason: &str| HistoryView {
        at: When::new(at, now),
        mark,
        version: version.to_string(),
        reason: sentence(reason),
    };
    let update = &sensor.update;
    let mut steps = Vec::new();
    if let Some(flight) = &update.flight {
        steps.extend(flight.switched_at.map(|at| step(at, busy("Switched"), flight.version, "it waits for clearance")));
        steps.push(step(flight.started_at, busy("Handed out"), flight.version, ""));
    }
    for (version, outcome) in &update.outcomes {
        let failure = update.failures.get(version).filter(|_| !outcome.cleared);
        let mark = match (outcome.cleared, failure.is_some_and(|failure| failure.reverted)) {
            (true, _) => CLEARED,
            (false, true) => WENT_BACK,
            (false, false) => FAILED,
        };
        steps.push(step(
            outcome.at,
            mark,
            *version,
            failure.map(|failure| failure.reason.as_str()).unwrap_or_default(),
        ));
    }
    steps.sort_by_key(|step| std::cmp::Reverse(step.at.at));
    steps
}

/// The updates of one sensor from what was noted as they happened, newest first.
#[must_use]
pub fn noted<'a>(events: impl IntoIterator<Item = &'a Event>, id: SensorId, now: Timestamp) -> Vec<HistoryView> {
    let ours = events.into_iter().filter(|event| event.sensor == Some(id));
    let mut steps: Vec<_> = ours
        .map(|event| HistoryView {
            at: When::new(event.at, now),
            mark: happened(&event.what),
            version: event.version.to_string(),
            reason: sentence(event.what.reason().unwrap_or_default()),
        })
        .collect();
    // Of two at one instant the later noted one is the newer.
    steps.reverse();
    steps.sort_by_key(|step| std::cmp::Reverse(step.at.at));
    steps
}

fn happened(what: &What) -> Mark {
    match what {
        What::Planned => Mark::new(Shape::Clock, Tone::Muted, "Planned"),
        What::Started => Mark::new(Shape::Half, Tone::Busy, "Handed out"),
        What::Staging => Mark::new(Shape::Half, Tone::Busy, "Being staged"),
        What::Staged => Mark::new(Shape::Bars, Tone::Low, "Waiting for restart"),
        What::Switched => Mark::new(Shape::Half, Tone::Busy, "Switched"),
        What::Cleared => CLEARED,
        What::Reverted { .. } => WENT_BACK,
        What::Failed { .. } => FAILED,
        What::Skipped { .. } => Mark::new(Shape::Dashed, Tone::Low, "Skipped"),
        What::Halted { .. } => Mark::new(Shape::Octagon, Tone::High, "Halted"),
        What::Paused => Mark::new(Shape::Bars, Tone::Low, "Paused"),
        What::Resumed => Mark::new(Shape::Half, Tone::Busy, "Resumed"),
        What::Aborted => Mark::new(Shape::Square, Tone::Muted, "Aborted"),
        What::Completed => Mark::new(Shape::Tick, Tone::Ok, "Completed"),
    }
}

/// Shown to detect on its host.
pub const CLEARED: Mark = Mark::new(Shape::Tick, Tone::Ok, "Cleared");
/// Had switched, and is on the old version again.
pub const WENT_BACK: Mark = Mark::new(Shape::Back, Tone::Medium, "Went back");
/// Never came through.
pub const FAILED: Mark = Mark::new(Shape::Octagon, Tone::Medium, "Failed");

/// The word of a kind of release.
#[must_use]
pub fn kind(kind: ReleaseKind) -> &'static str {
    match kind {
        ReleaseKind::Minor => "Minor",
        ReleaseKind::Major => "Major",
        ReleaseKind::Hotfix => "Hotfix",
    }
}

/// A release as a row.
#[must_use]
pub fn release(release: &Release, rows: &[SensorRow], now: Timestamp) -> ReleaseRow {
    let version = release.manifest.version;
    ReleaseRow {
        version: version.to_string(),
        kind: kind(release.manifest.kind),
        published: When::new(release.published_at, now),
        pulled_back: release.pulled_back_at.map(|at| When::new(at, now)),
        sha256: release.target.sha256.clone(),
        length: length(release.target.length),
        runs_on: rows.iter().filter(|row| row.version == Some(version)).count(),
        notes: release.manifest.notes.clone(),
    }
}

/// Bytes in words.
fn length(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// A text with the ids of known sensors as their names.
fn named(text: &str, fleet: &[SensorRow]) -> String {
    let word = |word: &str| {
        let id = word.parse::<SensorId>().ok();
        let row = id.and_then(|id| fleet.iter().find(|row| row.id == id));
        row.map_or_else(|| word.to_owned(), |row| row.name.clone())
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A row of the audit log.
#[must_use]
pub fn audit(row: &AuditRow, fleet: &[SensorRow], now: Timestamp) -> AuditView {
    let pretty = |value: &Option<serde_json::Value>| {
        value.as_ref().and_then(|value| serde_json::to_string_pretty(value).ok()).unwrap_or_default()
    };
    let entry = &row.entry;
    AuditView {
        seq: row.seq,
        at: When::new(entry.at, now),
        // A person's name is enough for the eye; their id stays on hover.
        actor: named(entry.actor.split_once(" (").map_or(entry.actor.as_str(), |(name, _)| name), fleet),
        actor_in_full: entry.actor.clone(),
        action: entry.action.clone(),
        subject: named(&entry.subject, fleet),
        subject_in_full: entry.subject.clone(),
        before: pretty(&entry.before),
        after: pretty(&entry.after),
        reason: entry.reason.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_inside_a_reason_are_readable() {
        let text = "its delayed ring, which opens for 2.255.1.0 at 2026-01-08T08:43:07.250Z.";
        let wanted = "its delayed ring, which opens for 2.255.1.0 at 2026-01-08 08:43:07 UTC.";
        assert_eq!(readable(text), wanted);
        assert_eq!(
            sentence("nothing was heard since 2026-01-08T08:43:07Z"),
            "Nothing was heard since 2026-01-08 08:43:07 UTC."
        );
    }

    #[test]
    fn lengths_are_round() {
        assert_eq!([length(999), length(12_345), length(4_260_000)], ["999 B", "12 kB", "4.2 MB"]);
    }
}
