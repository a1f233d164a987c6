//! Fleets made by hand, for tests and for looking at the pages.

use std::time::Duration;

use watchpost_core::time::Timestamp;

use super::mark::{Mark, Shape, Tone};
use super::page::{ASSETS, Section, Shell, Theme};
use super::view::*;
use super::when::{When, long_span};

pub(super) const OK: Mark = Mark::new(Shape::Tick, Tone::Ok, "Up to date");
const UPDATING: Mark = Mark::new(Shape::Half, Tone::Busy, "Updating");
const UPDATE_FAILED: Mark = Mark::new(Shape::Back, Tone::Medium, "Update failed");
const DISCONNECTED: Mark = Mark::new(Shape::Struck, Tone::High, "Disconnected");
const RUNNING: Mark = Mark::new(Shape::Tick, Tone::Ok, "Running");
const STARTING: Mark = Mark::new(Shape::Half, Tone::Busy, "Starting");
const UNKNOWN: Mark = Mark::new(Shape::Dashed, Tone::Muted, "Unknown");
const HEALTHY: Mark = Mark::new(Shape::Tick, Tone::Ok, "Healthy");
const UNHEALTHY: Mark = Mark::new(Shape::Triangle, Tone::Medium, "Not healthy (medium)");
const NOT_READY: Mark = Mark::new(Shape::Dashed, Tone::Muted, "Not ready");
const CLEARED: Mark = Mark::new(Shape::Tick, Tone::Ok, "Cleared");
const IN_FLIGHT: Mark = Mark::new(Shape::Half, Tone::Busy, "In flight");
const FAILED: Mark = Mark::new(Shape::Back, Tone::Medium, "Went back");
const WAITING: Mark = Mark::new(Shape::Clock, Tone::Muted, "Waiting");

pub(super) fn now() -> Timestamp {
    "2026-01-05T09:41:07Z".parse().unwrap()
}

fn ago(seconds: u64) -> When {
    When::new(now() - Duration::from_secs(seconds), now())
}

pub(super) fn shell(section: Section, theme: Theme) -> Shell {
    Shell {
        section,
        theme,
        now: When::new(now(), now()),
        who: "admin".to_owned(),
        form_token: "token".to_owned(),
        back: "/sensors".to_owned(),
        open_issues: 1,
        issue_tone: "medium",
        may_audit: true,
        assets: &ASSETS,
    }
}

fn id(n: usize) -> String {
    format!("sen_01KE6Y0000000000000000{n:04}")
}

fn why(about: &'static str, mark: Mark, because: &str, changes: &str) -> Why {
    Why { about, mark, because: because.to_owned(), changes: changes.to_owned() }
}

fn sensor(n: usize, status: Mark) -> SensorView {
    let (service, version, health, waiting) = match status.word {
        "Updating" => (STARTING, "2.255.1.0", HEALTHY, "clearance: proof that it detects, until 09:50:40 UTC"),
        "Update failed" => (RUNNING, "2.254.1.0", UNHEALTHY, "a newer release, or the order to try again"),
        "Disconnected" => (UNKNOWN, "2.254.1.0", UNHEALTHY, ""),
        _ => (RUNNING, "2.255.1.0", HEALTHY, ""),
    };
    SensorView {
        id: id(n),
        name: format!("DC{n:02}"),
        kind: ["Domain controller", "Domain controller", "AD FS", "Domain controller", "AD CS"][n % 5],
        domain: "corp.example".to_owned(),
        place: "Headquarters / Core".to_owned(),
        migration: NOT_READY,
        service,
        status,
        version: version.to_owned(),
        delayed: n.is_multiple_of(5),
        health,
        open_issues: usize::from(health == UNHEALTHY),
        created: ago(86_400 * 40 + n as u64),
        last_contact: Some(ago(if status == DISCONNECTED { 840 } else { 7 + n as u64 % 50 })),
        waiting: waiting.to_owned(),
        watching: service == RUNNING,
        whys: vec![
            why("Sensor status", status, "It runs 2.255.1.0, the newest release on offer to it.", ""),
            why("Service status", service, "Its updater says that the sensor process runs and is ready.", ""),
            why(
                "Health status",
                health,
                "The worst open health issue is of medium severity.",
                "the issue closes by itself when its condition is gone.",
            ),
            why("Migration state", NOT_READY, "Readiness for generation 3 has not been judged.", ""),
        ],
    }
}

pub(super) fn fleet(size: usize) -> Vec<SensorView> {
    (1..=size)
        .map(|n| match (size, n) {
            (5, 2) => sensor(n, UPDATING),
            (5, 4) => sensor(n, UPDATE_FAILED),
            (5, 3 | 5) => {
                let waiting =
                    if n == 5 { "the 72 h gate, until 2026-01-08 08:43:07 UTC" } else { "its turn: DC02 goes first" };
                SensorView { version: "2.254.1.0".to_owned(), waiting: waiting.to_owned(), ..sensor(n, OK) }
            }
            (300, 57 | 121) => sensor(n, UPDATE_FAILED),
            (300, 140) => sensor(n, UPDATING),
            (300, 200..=202) => sensor(n, DISCONNECTED),
            _ => sensor(n, OK),
        })
        .collect()
}

pub(super) fn strip(size: usize) -> Option<StripView> {
    let cell = |n: usize| {
        let mark = match (size, n) {
            (5, 1) => CLEARED,
            (5, 2) | (300, 140) => IN_FLIGHT,
            (5, 4) | (300, 57 | 121) => FAILED,
            (300, 1..140) if !n.is_multiple_of(5) => CLEARED,
            _ => WAITING,
        };
        let note =
            if mark == FAILED { "the new version did not start: 64 file descriptors, it needs 1024" } else { "" };
        CellView { id: id(n), name: format!("DC{n:02}"), mark, note: note.to_owned() }
    };
    let lane = |name, delayed: bool, note: &str| {
        let cells: Vec<_> = (1..=size).filter(|n| n.is_multiple_of(5) == delayed).map(cell).collect();
        let bar = Bar::of(&count(&cells));
        LaneView { name, delayed, note: note.to_owned(), cells, bar }
    };
    if size < 5 {
        return None;
    }
    let cells: Vec<_> = (1..=size).map(cell).collect();
    let left = Duration::from_secs(71 * 3600 + 120);
    Some(StripView {
        version: "2.255.1.0".to_owned(),
        kind: "Minor",
        state: Mark::new(Shape::Half, Tone::Busy, "Running"),
        because: String::new(),
        published: ago(3480),
        counts: count(&cells),
        bar: Bar::of(&count(&cells)),
        lanes: vec![lane("Automatic", false, "2 of 4 done"), lane("Delayed", true, "1 sensor")],
        gate: Some(GateView {
            span: "72 h".to_owned(),
            opens: When::new(now() + left, now()),
            passed: 31.34,
            left: long_span(left),
            ticks: vec![(0.0, "0 h".to_owned()), (33.33, "24 h".to_owned()), (66.67, "48 h".to_owned())],
        }),
        in_flight: vec![FlightView {
            id: id(2),
            name: "DC02".to_owned(),
            step: Mark::new(Shape::Half, Tone::Busy, "Awaiting clearance"),
            since: ago(27),
            waits_for: "proof that 2.255.1.0 detects, until 09:50:40 UTC".to_owned(),
        }],
    })
}

fn count(cells: &[CellView]) -> Vec<Count> {
    let marks = [CLEARED, FAILED, IN_FLIGHT, WAITING];
    let number = |mark| cells.iter().filter(|cell| cell.mark == mark).count();
    marks.map(|mark| Count { mark, count: number(mark), href: String::new(), chosen: false }).to_vec()
}

pub(super) fn issues(size: usize) -> Vec<IssueView> {
    let issue = |open| {
        IssueView {
        id: "iss_01KE6Y00000000000000000001".to_owned(),
        title: "Sensor outdated".to_owned(),
        severity: Mark::new(Shape::Triangle, Tone::Medium, "Medium"),
        open,
        sensor: Some((id(4), "DC04".to_owned())),
        subject: String::new(),
        suppressed: None,
        details: Vec::new(),
        what: "The update to 2.255.1.0 failed and the host went back to 2.254.1.0: the new version stopped with “this host allows 64 open files, 1024 are needed”.".to_owned(),
        advice: "Raise the limit of open files on the host, then publish a newer release: that one is tried by itself.".to_owned(),
        opened: ago(600),
        closed: (!open).then(|| ago(60)),
    }
    };
    if size < 5 { Vec::new() } else { vec![issue(true), issue(false)] }
}

pub(super) fn history() -> Vec<HistoryView> {
    let step = |mark, seconds, reason: &str| HistoryView {
        at: ago(seconds),
        mark,
        version: "2.255.1.0".to_owned(),
        reason: reason.to_owned(),
    };
    vec![
        step(FAILED, 600, "the new version stopped with “this host allows 64 open files, 1024 are needed”"),
        step(Mark::new(Shape::Half, Tone::Busy, "Switched"), 640, ""),
        step(Mark::new(Shape::Half, Tone::Busy, "Started"), 660, ""),
    ]
}

pub(super) fn facts() -> Vec<FactView> {
    let fact = |label, value| FactView { label, value };
    vec![
        fact("Version", Value::Text("2.254.1.0".to_owned())),
        fact("Last contact", Value::Time(ago(7))),
        fact("Alerts raised", Value::Text("12".to_owned())),
        fact("Delayed update", Value::Text("Disabled".to_owned())),
        fact("Operating system", Value::Text("Debian GNU/Linux 13".to_owned())),
        fact("Rules loaded", Value::Text("6 of 6".to_owned())),
        fact("Last detection proof", Value::Time(ago(610))),
        fact(
            "Certificate SHA-256",
            Value::Code("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
        ),
        fact("Id", Value::Code(id(4))),
        fact("Created", Value::Time(ago(86_400 * 40))),
    ]
}

pub(super) fn rollouts() -> Vec<RolloutRow> {
    let row = |version: &str, state, because: &str, seconds| RolloutRow {
        version: version.to_owned(),
        state,
        because: because.to_owned(),
        cleared: 1,
        failed: 1,
        skipped: 0,
        pending: 3,
        published: ago(seconds),
    };
    vec![
        row("2.255.1.0", Mark::new(Shape::Half, Tone::Busy, "Running"), "", 3480),
        row("2.254.1.0", Mark::new(Shape::Tick, Tone::Ok, "Completed"), "every sensor was cleared", 86_400 * 14),
    ]
}

pub(super) fn releases() -> Vec<ReleaseRow> {
    let row = |version: &str, seconds, runs_on, notes: &str| ReleaseRow {
        version: version.to_owned(),
        kind: "Minor",
        published: ago(seconds),
        pulled_back: None,
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        length: "4.2 MB".to_owned(),
        runs_on,
        notes: notes.to_owned(),
    };
    vec![
        row("2.255.1.0", 3480, 2, "Detects password spraying over Kerberos; needs 1024 open files."),
        row("2.254.1.0", 86_400 * 14, 3, "First release."),
    ]
}

pub(super) fn audit() -> Vec<AuditView> {
    let row = |seq, action: &str, subject: &str, after: &str| AuditView {
        seq,
        at: ago(3480 + 100 * (10 - seq)),
        actor: "console".to_owned(),
        actor_in_full: "console".to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        subject_in_full: subject.to_owned(),
        before: String::new(),
        after: after.to_owned(),
        reason: String::new(),
    };
    vec![
        row(3, "release.publish", "2.255.1.0", "{\n  \"kind\": \"minor\"\n}"),
        row(2, "sensor.enroll", "sen_01KE6Y00000000000000000004", ""),
        row(1, "workspace.create", "wsp_01KE6Y00000000000000000000", ""),
    ]
}
