//! `GET /metrics`: everything as OpenMetrics text, worked out from memory.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE as HEADER;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use watchpost_core::health::HealthStatus;
use watchpost_core::time::Timestamp;
use watchpost_core::trust::Subject;

use super::{Latency, process};
use crate::app::App;
use crate::auth::browser::Web;

/// What the answer is: OpenMetrics 1.0 text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, &'static str)>;
type Counts = Family<Labels, Gauge<u64, AtomicU64>>;

pub(crate) async fn show(State(web): State<Web>) -> Response {
    match web.app.scrape() {
        Ok(text) => ([(HEADER, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A family of gauges from how often each set of labels occurred.
fn counts(rows: impl IntoIterator<Item = Labels>) -> Counts {
    let mut counted: BTreeMap<Labels, u64> = BTreeMap::new();
    rows.into_iter().for_each(|labels| *counted.entry(labels).or_default() += 1);
    let family = Counts::default();
    for (labels, count) in counted {
        family.get_or_create(&labels).set(count);
    }
    family
}

impl App {
    /// Everything for a monitoring system, as text.
    ///
    /// # Errors
    /// None that can happen: writing into a text does not fail.
    pub fn scrape(&self) -> Result<String, std::fmt::Error> {
        let now = self.clock().now();
        let mut registry = Registry::with_prefix("watchpost");
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The version of the control plane", Info::new(build));
        self.fleet_metrics(&mut registry, now);
        self.work_metrics(&mut registry);
        self.own_metrics(&mut registry, now);
        process_metrics(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    /// Sensors, issues and rollouts.
    fn fleet_metrics(&self, registry: &mut Registry, now: Timestamp) {
        let rows = self.fleet_view(now);
        let by_status = counts(rows.iter().map(|row| vec![("status", row.status.value.word())]));
        registry.register("sensors", "Sensors by sensor status", by_status);
        let by_service = counts(rows.iter().map(|row| vec![("status", row.service.value.word())]));
        registry.register("sensors_by_service_status", "Sensors by service status", by_service);
        let by_health = counts(rows.iter().map(|row| vec![("health", row.health.word())]));
        registry.register("sensors_by_health", "Sensors by their worst open health issue", by_health);
        let watching = rows.iter().filter(|row| row.is_watching).count() as u64;
        registry.register("sensors_watching", "Sensors that detect at present", ConstGauge::new(watching));
        let unhealthy = rows.iter().filter(|row| row.health != HealthStatus::Healthy).count() as u64;
        registry.register("sensors_not_healthy", "Sensors with an open health issue", ConstGauge::new(unhealthy));
        let open = rows.iter().flat_map(|row| &row.open_issues);
        let issues = open.map(|issue| vec![("type", issue.kind.word()), ("severity", issue.kind.severity().word())]);
        registry.register("open_health_issues", "Open health issues by type and severity", counts(issues));
        let global = self.open_global_issues().into_iter().map(|row| row.kind);
        let global = global.map(|kind| vec![("type", kind.word()), ("severity", kind.severity().word())]);
        let help = "Open health issues of the workspace by type and severity";
        registry.register("open_global_issues", help, counts(global));
        let views = self.rollouts_view(now);
        let by_state = counts(views.iter().map(|view| vec![("state", view.rollout.state.word())]));
        registry.register("rollouts", "Rollouts by state", by_state);
        let in_flight: u64 = views.iter().map(|view| u64::from(view.summary.in_flight)).sum();
        registry.register("sensors_in_flight", "Sensors whose update is under way", ConstGauge::new(in_flight));
    }

    /// What the server has done.
    fn work_metrics(&self, registry: &mut Registry) {
        let metrics = self.metrics();
        let by_outcome = [
            ("same", &metrics.check_ins),
            ("changed", &metrics.check_ins_changed),
            ("refused", &metrics.check_ins_refused),
        ];
        let check_ins = Family::<Labels, prometheus_client::metrics::counter::Counter>::default();
        for (outcome, counter) in by_outcome {
            check_ins.get_or_create(&vec![("outcome", outcome)]).inc_by(counter.get());
        }
        registry.register("check_ins", "Check-ins by outcome", check_ins);
        let latency: std::sync::Arc<Latency> = std::sync::Arc::clone(&metrics.check_in_latency);
        let help = "Time from a decoded check-in to its answer";
        registry.register_with_unit("check_in_duration", help, Unit::Seconds, Shared(latency));
        let batches = metrics.evidence_batches.clone();
        registry.register("evidence_batches", "Batches of evidence that were taken", batches);
        registry.register("alerts_taken", "Alerts that were taken for the first time", metrics.alerts_taken.clone());
        let statements = ConstCounter::new(self.statements());
        registry.register("store_statements", "Statements that the store has run", statements);
    }

    /// The server itself.
    fn own_metrics(&self, registry: &mut Registry, now: Timestamp) {
        let ready = self.ready_at().millis() / 1_000;
        registry.register_with_unit("ready_time", "When the server was ready", Unit::Seconds, ConstGauge::new(ready));
        let Some(view) = self.own_health(now) else { return };
        if let Some(first) = view.earliest_expiry() {
            let left = first.at.millis().saturating_sub(now.millis()) / 1_000;
            let help = "Seconds until the first thing in the trust chain expires; negative once it has";
            registry.register_with_unit("earliest_expiry", help, Unit::Seconds, ConstGauge::new(left));
        }
        let expires = Family::<Labels, Gauge>::default();
        let hosts = self.first_host_certificate();
        for dated in view.observed.expiries.iter().chain(&hosts) {
            let (part, role) = match dated.subject {
                Subject::Document(repository, role) => (repository.word(), role.word()),
                Subject::GatewayCertificate => ("gateway", "certificate"),
                Subject::PortalCertificate => ("portal", "certificate"),
                Subject::FirstHostCertificate => ("hosts", "certificate"),
            };
            let left = dated.at.millis().saturating_sub(now.millis()).div_euclid(1_000);
            expires.get_or_create(&vec![("part", part), ("role", role)]).set(left);
        }
        let help = "Seconds until this part of the trust chain expires; negative once it has";
        registry.register_with_unit("trust_expires", help, Unit::Seconds, expires);
        if let Some(disk) = view.observed.disk {
            let help = "Room left under the data folder";
            registry.register_with_unit("disk_free", help, Unit::Bytes, ConstGauge::new(disk.free));
            let help = "Size of the disk under the data folder";
            registry.register_with_unit("disk_size", help, Unit::Bytes, ConstGauge::new(disk.total));
        }
        let is_writable = u64::from(view.observed.database.is_none());
        registry.register("database_writable", "Whether the last test write succeeded", ConstGauge::new(is_writable));
        let troubles = view.findings.len() as u64;
        registry.register("own_troubles", "Troubles of the control plane itself", ConstGauge::new(troubles));
    }
}

/// A histogram that is shared with who counts in it.
#[derive(Debug)]
struct Shared(std::sync::Arc<Latency>);

impl prometheus_client::encoding::EncodeMetric for Shared {
    fn encode(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> prometheus_client::metrics::MetricType {
        self.0.metric_type()
    }
}

fn process_metrics(registry: &mut Registry) {
    let process = process::read();
    let cpu = ConstCounter::new(process.cpu_seconds);
    registry.register_with_unit("process_cpu", "Processor time used", Unit::Seconds, cpu);
    if let Some(bytes) = process.resident_bytes {
        let help = "Memory that is held";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, ConstGauge::new(bytes));
    }
    let figures = [
        ("process_open_files", "Files and sockets that are open", process.open_files),
        ("process_most_open_files", "Files and sockets that may be open", process.most_files),
        ("process_threads", "Threads", process.threads),
    ];
    for (name, help, figure) in figures {
        if let Some(figure) = figure {
            registry.register(name, help, ConstGauge::new(figure));
        }
    }
}
