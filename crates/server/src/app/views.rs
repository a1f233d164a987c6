//! The fleet as people and scripts see it: every column derived from facts and the clock, each with its reason.

use std::collections::btree_map::Values;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use watchpost_core::content::RulesStanding;
use watchpost_core::facts::Measurements;
use watchpost_core::health::{HealthStatus, Issue, IssueType, health_status};
use watchpost_core::id::{IssueId, SensorId};
use watchpost_core::sensor::{
    Context, Derived, Sensor, SensorKind, SensorStatus, ServiceStatus, is_watching, sensor_status, service_status,
};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use watchpost_store::GlobalIssueRow;

use super::App;
use super::fleet::Fleet;

/// A view of the fleet is shown again for as long as nothing changed, but no longer than this.
const VIEW_LIFE: Duration = Duration::from_millis(500);

/// One row of the grid (A1).
#[derive(Clone, Debug)]
pub struct SensorRow {
    /// Its id.
    pub id: SensorId,
    /// NetBIOS name.
    pub name: String,
    /// Its type.
    pub kind: SensorKind,
    /// Its domain (FQDN).
    pub domain: String,
    /// Name of its site.
    pub site: String,
    /// Name of its zone.
    pub zone: String,
    /// What it runs.
    pub version: Option<Version>,
    /// The sensor as a whole, why, and when that changes by itself.
    pub status: Derived<SensorStatus>,
    /// Its process, why, and when that changes by itself.
    pub service: Derived<ServiceStatus>,
    /// Worst open severity.
    pub health: HealthStatus,
    /// Its open health issues, worst first.
    pub open_issues: Vec<IssueRow>,
    /// In the delayed ring.
    pub is_delayed: bool,
    /// When it enrolled.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub last_contact: Option<Timestamp>,
    /// Alerts it has raised.
    pub alert_count: u64,
    /// What it waits for, in words.
    pub waiting_for: Option<String>,
    /// Whether it detects right now.
    pub is_watching: bool,
    /// How it stands with rule packages.
    pub rules: RulesStanding,
}

/// One health issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRow {
    /// Its id.
    pub id: Option<IssueId>,
    /// Its type: word, title, severity, what to do.
    pub kind: IssueType,
    /// Its state.
    pub issue: Issue,
    /// The sensor it is about; `None`: it is of the workspace.
    pub sensor: Option<SensorId>,
    /// That sensor's name; empty for an issue of the workspace.
    pub sensor_name: String,
    /// That sensor's domain.
    pub domain: String,
    /// What an issue of the workspace is about, such as a domain; empty for one of a sensor.
    pub subject: String,
}

/// A view that is shown again while it holds.
pub(crate) struct Cached {
    at: Timestamp,
    changes: u64,
    rows: Arc<Vec<SensorRow>>,
}

impl App {
    /// What statuses are judged against at `now`.
    pub(crate) fn context<'a>(&'a self, fleet: &'a Fleet, now: Timestamp) -> Context<'a> {
        Context { policy: &fleet.policy, catalogue: &fleet.catalogue, ready_at: Some(self.0.ready_at), now }
    }

    /// Every sensor with every column derived at `now`, in the order of their names.
    #[must_use]
    pub fn fleet_view(&self, now: Timestamp) -> Arc<Vec<SensorRow>> {
        let mut cache = self.0.view.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.fleet_ref(Fleet::changes);
        if let Some(cached) = cache.as_ref()
            && cached.changes == changes
            && now >= cached.at
            && now.since(cached.at) < VIEW_LIFE
        {
            return Arc::clone(&cached.rows);
        }
        let mut rows: Vec<_> = self.fleet_ref(|fleet| {
            let context = self.context(fleet, now);
            fleet.sensors.values().map(|sensor| self.row(fleet, sensor, &context)).collect()
        });
        rows.sort_by(|a: &SensorRow, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let rows = Arc::new(rows);
        *cache = Some(Cached { at: now, changes, rows: Arc::clone(&rows) });
        rows
    }

    /// One sensor, by id or name: its row, and everything that is known of it.
    #[must_use]
    pub fn sensor(&self, id_or_name: &str, now: Timestamp) -> Option<(SensorRow, Sensor)> {
        self.fleet_ref(|fleet| {
            let sensor = fleet.find(id_or_name)?;
            Some((self.row(fleet, sensor, &self.context(fleet, now)), sensor.clone()))
        })
    }

    /// What a sensor measured last, and when; `None` since the server started.
    #[must_use]
    pub fn measured(&self, id: SensorId) -> Option<(Timestamp, Measurements)> {
        self.fleet_ref(|fleet| fleet.measured(id).cloned())
    }

    /// From publication until the delayed ring may start.
    #[must_use]
    pub fn delayed_ring(&self) -> Duration {
        self.0.policy.rollout.delayed_ring
    }

    /// Reads all sensors as they are held, without copying them.
    pub fn with_sensors<T>(&self, read: impl FnOnce(Values<'_, SensorId, Sensor>) -> T) -> T {
        self.fleet_ref(|fleet| read(fleet.sensors.values()))
    }

    /// How many sensors are enrolled.
    #[must_use]
    pub fn sensor_count(&self) -> usize {
        self.fleet_ref(|fleet| fleet.sensors.len())
    }

    /// All health issues: open ones first, worst and newest first among them.
    #[must_use]
    pub fn health_issues(&self) -> Vec<IssueRow> {
        let mut rows: Vec<_> = self.fleet_ref(|fleet| {
            let of_sensors = fleet.sensors.values().flat_map(|sensor| issues(fleet, sensor));
            of_sensors.chain(fleet.globals.rows().map(global)).collect()
        });
        rows.sort_by_key(|row: &IssueRow| {
            (!row.issue.is_open(), std::cmp::Reverse((row.kind.severity(), row.issue.opened_at)))
        });
        rows
    }

    /// The open issues of the workspace itself, worst first.
    #[must_use]
    pub fn open_global_issues(&self) -> Vec<IssueRow> {
        let mut rows: Vec<_> = self.fleet_ref(|fleet| fleet.globals.rows().map(global).collect());
        rows.retain(|row: &IssueRow| row.issue.is_open());
        rows.sort_by_key(|row| std::cmp::Reverse(row.kind.severity()));
        rows
    }

    /// The health issues of one sensor, open ones first.
    #[must_use]
    pub fn issues_of(&self, id: SensorId) -> Vec<IssueRow> {
        self.health_issues().into_iter().filter(|row| row.sensor == Some(id)).collect()
    }

    fn row(&self, fleet: &Fleet, sensor: &Sensor, context: &Context<'_>) -> SensorRow {
        let (site, zone) = fleet.place_names(sensor.id);
        let mut open_issues: Vec<_> = issues(fleet, sensor).filter(|row| row.issue.is_open()).collect();
        open_issues.sort_by_key(|row| std::cmp::Reverse(row.kind.severity()));
        SensorRow {
            id: sensor.id,
            name: sensor.name.clone(),
            kind: sensor.kind,
            domain: sensor.domain.clone(),
            site: site.to_owned(),
            zone: zone.to_owned(),
            version: sensor.version(),
            status: sensor_status(sensor, context),
            service: service_status(sensor, context),
            health: health_status(sensor),
            open_issues,
            is_delayed: sensor.delayed,
            created_at: sensor.created_at,
            last_contact: sensor.last_contact,
            alert_count: sensor.report.alert_count,
            waiting_for: Self::waiting_for(fleet, sensor, context),
            is_watching: is_watching(sensor, context),
            rules: fleet.rules.standing(sensor, fleet.sensors.len(), fleet.has_rules_place(sensor), context.now),
        }
    }
}

fn issues<'a>(fleet: &'a Fleet, sensor: &'a Sensor) -> impl Iterator<Item = IssueRow> + 'a {
    sensor.issues.iter().map(|(kind, issue)| IssueRow {
        id: fleet.issue_id(sensor.id, *kind),
        kind: *kind,
        issue: issue.clone(),
        sensor: Some(sensor.id),
        sensor_name: sensor.name.clone(),
        domain: sensor.domain.clone(),
        subject: String::new(),
    })
}

/// An issue of the workspace as people see it.
pub(super) fn global(row: GlobalIssueRow) -> IssueRow {
    IssueRow {
        id: Some(row.id),
        kind: row.kind,
        issue: row.issue,
        sensor: None,
        sensor_name: String::new(),
        domain: String::new(),
        subject: row.subject,
    }
}
