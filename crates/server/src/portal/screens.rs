//! The pages' handlers: ask the use cases, map, render.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use tracing::error;
use watchpost_core::sensor::{Sensor, SensorStatus};
use watchpost_core::time::Timestamp;

use super::door::{problem, theme_of};
use super::grid::{self, Grid, MAX_LIVE_ROWS, Pager};
use super::page::{ASSETS, Section, Shell};
use super::pages::{AuditPage, CALM, HealthPage, OverviewPage, SensorPage, SensorsPage, UpdatesPage};
use super::view::{Bar, HistoryView, IssueView, RolloutRow, SensorView, StripView};
use super::when::When;
use super::{mapping, strip};
use crate::app::accounts::Visitor;
use crate::app::audit::MAX_AUDIT_PAGE;
use crate::app::rollouts::RolloutView;
use crate::app::views::SensorRow;
use crate::auth::access::{Action, Resource, authorize};
use crate::auth::browser::Web;

/// Open health issues on the overview.
const MAX_URGENT: usize = 5;
/// Closed health issues on their page.
const MAX_CLOSED: usize = 100;
/// Rollouts that the history of a sensor goes back.
const MAX_HISTORY: usize = 3;
/// Rows of the audit log on a page.
const AUDIT_ROWS: u32 = 100;

/// A rendered page.
pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            // A template only fails when memory does: nothing is left to render with.
            error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What every handler needs of a request.
struct Visit<'a> {
    web: &'a Web,
    visitor: &'a Visitor,
    headers: &'a HeaderMap,
    uri: &'a Uri,
    now: Timestamp,
    fleet: Arc<Vec<SensorRow>>,
}

impl<'a> Visit<'a> {
    fn new(web: &'a Web, visitor: &'a Visitor, headers: &'a HeaderMap, uri: &'a Uri) -> Self {
        let now = web.app.clock().now();
        Self { web, visitor, headers, uri, now, fleet: web.app.fleet_view(now) }
    }

    fn shell(&self, section: Section) -> Shell {
        let back = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let global = self.web.app.open_global_issues();
        Shell {
            section,
            theme: theme_of(self.headers),
            now: When::new(self.now, self.now),
            who: self.visitor.name.clone(),
            form_token: self.visitor.form_token.clone(),
            back: back.to_owned(),
            open_issues: self.fleet.iter().map(|row| row.open_issues.len()).sum::<usize>() + global.len(),
            issue_tone: mapping::worst(&self.fleet, &global),
            may_audit: authorize(&self.visitor.principal, Action::ReadAudit, Resource::Workspace).is_ok(),
            assets: &ASSETS,
        }
    }

    fn views(&self) -> Vec<SensorView> {
        self.fleet.iter().map(|row| mapping::sensor(row, self.now)).collect()
    }

    /// Rows with their reasons, for those of the page alone.
    fn with_whys(&self, mut views: Vec<SensorView>) -> Vec<SensorView> {
        for view in &mut views {
            let row = self.fleet.iter().find(|row| row.name == view.name && row.id.to_string() == view.id);
            view.whys = row.map(|row| mapping::whys(row, self.now)).unwrap_or_default();
        }
        views
    }

    fn watching(&self) -> (usize, String) {
        let watching = self.fleet.iter().filter(|row| row.is_watching).count();
        let text = match (watching, self.fleet.len()) {
            (_, 0) => String::new(),
            (some, all) if some == all => format!("all {all} are watching"),
            (some, all) => format!("{some} of {all} are watching"),
        };
        (watching, text)
    }

    /// Who does not watch, in words. A sensor between two versions counts as watching again once it is cleared.
    fn not_watching(&self, missing: usize) -> String {
        let updating = self.fleet.iter().filter(|row| row.status.value == SensorStatus::Updating).count();
        match (missing, missing.saturating_sub(updating)) {
            (0, _) => "Every sensor watches.".to_owned(),
            (1, 0) => "One is being updated.".to_owned(),
            (_, 0) => format!("{missing} are being updated."),
            (_, 1) => "One does not watch now.".to_owned(),
            (_, others) => format!("{others} do not watch now."),
        }
    }

    /// The rollout that matters most: the newest that moves or is held by a person, else the newest.
    fn strip(&self) -> Option<StripView> {
        let rollouts = self.web.app.rollouts_view(self.now);
        let chosen = rollouts.iter().find(|row| row.needs_eyes()).or(rollouts.first())?;
        let release = self.web.app.release(chosen.rollout.version)?;
        let ring = self.web.app.delayed_ring();
        Some(self.web.app.with_sensors(|all| strip::draw(&chosen.rollout, &release, ring, all, self.now)))
    }

    /// A sensor's updates as they were noted; where nothing was noted, from what the planner remembers of it.
    async fn history(&self, sensor: &Sensor) -> Vec<HistoryView> {
        let mut events = Vec::new();
        for rollout in self.web.app.rollouts_view(self.now).iter().take(MAX_HISTORY).rev() {
            match self.web.app.timeline(rollout.rollout.version).await {
                Ok(rows) => events.extend(rows.into_iter().map(|row| row.event)),
                Err(error) => error!("a rollout's timeline could not be read: {}", error.chain()),
            }
        }
        let noted = mapping::noted(&events, sensor.id, self.now);
        if noted.is_empty() { mapping::history(sensor, self.now) } else { noted }
    }

    fn issues(&self) -> (Vec<IssueView>, Vec<IssueView>) {
        let rows = self.web.app.health_issues();
        let (open, mut closed): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.issue.is_open());
        closed.sort_by_key(|row| std::cmp::Reverse(row.issue.changed_at));
        let view = |row| mapping::issue(row, self.now);
        (open.into_iter().map(view).collect(), closed.into_iter().take(MAX_CLOSED).map(view).collect())
    }
}

/// `GET /`
pub(super) async fn overview(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let visit = Visit::new(&web, &visitor, &headers, &uri);
    let views = visit.views();
    let (statuses, healths) = (grid::counts(&views, |view| view.status), grid::counts(&views, |view| view.health));
    let (mut issues, _) = visit.issues();
    let more = issues.len().saturating_sub(MAX_URGENT);
    issues.truncate(MAX_URGENT);
    let (watching_count, _) = visit.watching();
    let all = views.len();
    let watching = visit.not_watching(all.saturating_sub(watching_count));
    page(&OverviewPage {
        shell: visit.shell(Section::Overview),
        total: all,
        watching_count,
        watching,
        status_bar: Bar::of(&statuses),
        statuses: Grid::default().with_filters(statuses, false),
        health_bar: Bar::of(&healths),
        healths: Grid::default().with_filters(healths, true),
        issues,
        more,
        calm: CALM,
        strip: visit.strip(),
    })
}

/// Ids that a live page asks for again: `row=` as often as needed.
fn live_rows(uri: &Uri) -> Vec<&str> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("row="));
    pairs.take(MAX_LIVE_ROWS).collect()
}

/// `GET /sensors`
pub(super) async fn sensors(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let visit = Visit::new(&web, &visitor, &headers, &uri);
    let grid = Query::<Grid>::try_from_uri(&uri).map(|Query(grid)| grid).unwrap_or_default();
    let all = visit.views();
    let total = all.len();
    let statuses = grid.with_filters(grid::counts(&all, |view| view.status), false);
    let healths = grid.with_filters(grid::counts(&all, |view| view.health), true);
    let wanted = live_rows(&uri);
    let (rows, pager) = if wanted.is_empty() {
        grid.page_of(all)
    } else {
        (all.into_iter().filter(|view| wanted.contains(&view.id.as_str())).collect(), None)
    };
    page(&SensorsPage {
        shell: visit.shell(Section::Sensors),
        watching: visit.watching().1,
        strip: visit.strip(),
        is_fleet_empty: total == 0,
        total,
        statuses,
        healths,
        grid,
        rows: visit.with_whys(rows),
        pager,
    })
}

/// `GET /sensors/{id}`
pub(super) async fn sensor(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    uri: Uri,
    Path(id): Path<String>,
) -> Response {
    let visit = Visit::new(&web, &visitor, &headers, &uri);
    let Some((row, sensor)) = web.app.sensor(&id, visit.now) else {
        let text = "no sensor has this id; it may have been deleted".to_owned();
        return problem(&headers, StatusCode::NOT_FOUND, "No such sensor", text);
    };
    // Whose issue it is, this page says already.
    let issue = |row: &_| IssueView { sensor: None, ..mapping::issue(row, visit.now) };
    let mut view = mapping::sensor(&row, visit.now);
    view.whys = mapping::whys(&row, visit.now);
    page(&SensorPage {
        shell: visit.shell(Section::Sensors),
        facts: mapping::facts(&row, &sensor, visit.now),
        issues: web.app.issues_of(row.id).iter().map(issue).collect(),
        history: visit.history(&sensor).await,
        row: view,
    })
}

/// `GET /health`
pub(super) async fn health(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let visit = Visit::new(&web, &visitor, &headers, &uri);
    let (open, closed) = visit.issues();
    page(&HealthPage { shell: visit.shell(Section::Health), open, closed, calm: CALM })
}

/// `GET /updates`
pub(super) async fn updates(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let visit = Visit::new(&web, &visitor, &headers, &uri);
    let mut releases: Vec<_> = web.app.releases();
    releases.sort_by_key(|release| std::cmp::Reverse((release.published_at, release.manifest.version)));
    let rollouts = web.app.rollouts_view(visit.now);
    let row = |row: &RolloutView| {
        let (state, because) = strip::state(&row.rollout.state);
        let because = row
            .waiting_for
            .as_deref()
            .filter(|_| because.is_empty())
            .map_or(because, |what| format!("waits for {}", mapping::readable(what)));
        let (summary, published) = (&row.summary, row.published_at.unwrap_or(row.rollout.planned_at));
        RolloutRow {
            version: row.rollout.version.to_string(),
            state,
            because,
            cleared: summary.cleared,
            failed: summary.failed,
            skipped: summary.skipped,
            pending: summary.pending + summary.in_flight,
            published: When::new(published, visit.now),
        }
    };
    page(&UpdatesPage {
        shell: visit.shell(Section::Updates),
        strip: visit.strip(),
        rollouts: rollouts.iter().map(row).collect(),
        releases: releases.iter().map(|release| mapping::release(release, &visit.fleet, visit.now)).collect(),
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct AuditQuery {
    page: u32,
}

/// `GET /audit`
pub(super) async fn audit(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let visit = Visit::new(&web, &visitor, &headers, &uri);
    if let Err(denied) = authorize(&visitor.principal, Action::ReadAudit, Resource::Workspace) {
        return problem(&headers, StatusCode::FORBIDDEN, "Not for this account", denied.to_string());
    }
    let query = Query::<AuditQuery>::try_from_uri(&uri).map(|Query(query)| query).unwrap_or_default();
    let number = query.page.clamp(1, u32::MAX / AUDIT_ROWS);
    let first = (number - 1) * AUDIT_ROWS;
    // One row more than is shown tells whether there is another page.
    let mut rows = match web.app.audit_log(first, (AUDIT_ROWS + 1).min(MAX_AUDIT_PAGE)).await {
        Ok(rows) => rows,
        Err(error) => {
            error!("the audit log could not be read: {}", error.chain());
            let text = "the audit log could not be read; the server's log says why".to_owned();
            return problem(&headers, StatusCode::INTERNAL_SERVER_ERROR, "No audit log", text);
        }
    };
    let shown = AUDIT_ROWS as usize;
    let has_more = rows.len() > shown;
    rows.truncate(shown);
    let to = |number: u32| format!("/audit?page={number}");
    let pager = (number > 1 || has_more).then(|| Pager {
        words: format!("page {number}"),
        previous: if number > 1 { to(number - 1) } else { String::new() },
        next: if has_more { to(number + 1) } else { String::new() },
    });
    page(&AuditPage {
        shell: visit.shell(Section::Audit),
        rows: rows.iter().map(|row| mapping::audit(row, &visit.fleet, visit.now)).collect(),
        first: first as usize,
        pager,
    })
}

/// Whatever has no page.
pub(super) async fn nothing(headers: HeaderMap) -> Response {
    let text = "there is no page at this address".to_owned();
    problem(&headers, StatusCode::NOT_FOUND, "No such page", text)
}
