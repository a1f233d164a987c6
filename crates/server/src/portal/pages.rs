//! The pages, each a template and the values it shows.

use askama::Template;

use super::grid::{Grid, Pager};
use super::mark::{Mark, Shape, Tone};
use super::page::{BareShell, Shell};
use super::view::{
    AuditView, Bar, Count, FactView, HistoryView, IssueView, ReleaseRow, RolloutRow, SensorView, StripView, Value,
};

/// That nothing is wrong, said where a list is empty.
pub const CALM: Mark = Mark::new(Shape::Tick, Tone::Ok, "All quiet.");

/// The grid.
#[derive(Template)]
#[template(path = "sensors.html")]
pub struct SensorsPage {
    /// What surrounds it.
    pub shell: Shell,
    /// How many watch, in words.
    pub watching: String,
    /// The rollout that matters most.
    pub strip: Option<StripView>,
    /// Whether no sensor has enrolled.
    pub is_fleet_empty: bool,
    /// How many sensors there are.
    pub total: usize,
    /// Sensors by status.
    pub statuses: Vec<Count>,
    /// Sensors by health.
    pub healths: Vec<Count>,
    /// What is shown of them.
    pub grid: Grid,
    /// The rows.
    pub rows: Vec<SensorView>,
    /// The way to the other rows.
    pub pager: Option<Pager>,
}

/// One sensor.
#[derive(Template)]
#[template(path = "sensor.html")]
pub struct SensorPage {
    /// What surrounds it.
    pub shell: Shell,
    /// The sensor as in the grid.
    pub row: SensorView,
    /// What is known of it.
    pub facts: Vec<FactView>,
    /// Its health issues, open ones first.
    pub issues: Vec<IssueView>,
    /// Its updates, newest first.
    pub history: Vec<HistoryView>,
}

/// Is everything watching?
#[derive(Template)]
#[template(path = "overview.html")]
pub struct OverviewPage {
    /// What surrounds it.
    pub shell: Shell,
    /// How many sensors there are.
    pub total: usize,
    /// How many of them watch.
    pub watching_count: usize,
    /// The same in words.
    pub watching: String,
    /// Sensors by status.
    pub statuses: Vec<Count>,
    /// The same as a bar.
    pub status_bar: Bar,
    /// Sensors by health.
    pub healths: Vec<Count>,
    /// The same as a bar.
    pub health_bar: Bar,
    /// The most urgent open health issues.
    pub issues: Vec<IssueView>,
    /// How many more are open.
    pub more: usize,
    /// Said if there are none.
    pub calm: Mark,
    /// The rollout that matters most.
    pub strip: Option<StripView>,
}

/// Health issues.
#[derive(Template)]
#[template(path = "health.html")]
pub struct HealthPage {
    /// What surrounds it.
    pub shell: Shell,
    /// Open ones, worst first.
    pub open: Vec<IssueView>,
    /// Closed ones, newest first.
    pub closed: Vec<IssueView>,
    /// Said if none is open.
    pub calm: Mark,
}

/// Rollouts and releases.
#[derive(Template)]
#[template(path = "updates.html")]
pub struct UpdatesPage {
    /// What surrounds it.
    pub shell: Shell,
    /// The rollout that matters most.
    pub strip: Option<StripView>,
    /// All rollouts, newest first.
    pub rollouts: Vec<RolloutRow>,
    /// All releases, newest first.
    pub releases: Vec<ReleaseRow>,
}

/// The audit log.
#[derive(Template)]
#[template(path = "audit.html")]
pub struct AuditPage {
    /// What surrounds it.
    pub shell: Shell,
    /// Newest first.
    pub rows: Vec<AuditView>,
    /// How many newer rows were skipped.
    pub first: usize,
    /// The way to the other rows.
    pub pager: Option<Pager>,
}

/// Where the one-time secret goes.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// What surrounds it.
    pub shell: BareShell,
    /// Why the last attempt was refused; empty at first.
    pub refused: String,
    /// Where to go afterwards: a path on this server.
    pub next: String,
}

/// That something is not there, or went wrong.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    /// What surrounds it.
    pub shell: BareShell,
    /// In a few words.
    pub heading: &'static str,
    /// What happened and what to do.
    pub text: String,
}
