//! The control plane looks at itself: disk, database, dates, and work that fails. What that means is `core`'s.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use watchpost_core::health::IssueType;
use watchpost_core::health::global::Condition;
use watchpost_core::own_health::{Disk, Failing, Finding, Observed, Trouble, findings};
use watchpost_core::time::Timestamp;
use watchpost_core::trust::{self, Dated, Reading, Repository, Subject};

use super::{App, AppError};
use crate::config::TlsFiles;
use crate::folder::Folder;

/// Who observes the server itself, among its observers.
const SOURCE: &str = "ownHealth";
/// The setting that a test write writes.
const TEST_WRITE: &str = "ownHealth.testWrite";

/// What the server knows of itself.
pub(crate) struct OwnHealth {
    portal: Option<TlsFiles>,
    observed: Mutex<Option<(Timestamp, Observed)>>,
    failing: Mutex<BTreeMap<&'static str, (Timestamp, String)>>,
}

/// The server's own health as people see it.
#[derive(Clone, Debug)]
pub struct OwnHealthView {
    /// When it looked last.
    pub observed_at: Timestamp,
    /// What it saw.
    pub observed: Observed,
    /// What needs a person.
    pub findings: Vec<Finding>,
}

impl OwnHealthView {
    /// What expires first of all that hosts, browsers or the server itself trust.
    #[must_use]
    pub fn earliest_expiry(&self) -> Option<&Dated> {
        trust::earliest(&self.observed.expiries)
    }
}

impl OwnHealth {
    pub(crate) fn new(portal: Option<TlsFiles>) -> Self {
        Self { portal, observed: Mutex::default(), failing: Mutex::default() }
    }

    fn failing(&self) -> Vec<Failing> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |(work, (since, reason)): (&&'static str, &(Timestamp, String))| Failing {
            work,
            since: *since,
            reason: reason.clone(),
        };
        failing.iter().map(one).collect()
    }
}

/// Everything of this server that expires. Reads files.
fn expiries(folder: &Folder, gateway: &str, portal: Option<&TlsFiles>) -> Vec<Dated> {
    let certificate = |subject, der: &[u8]| Some(Dated { subject, at: not_after(der)?, signers: None });
    let gateway = std::fs::read(folder.key(gateway)).ok();
    let gateway = gateway.and_then(|der| certificate(Subject::GatewayCertificate, &der));
    let chain = portal.and_then(|tls| CertificateDer::pem_file_iter(&tls.certificate).ok()).into_iter().flatten();
    let chain = chain.flatten().filter_map(|der| certificate(Subject::PortalCertificate, &der));
    // The chain holds as long as its first link to break.
    let portal = chain.min_by_key(|dated| dated.at);
    let mut found: Vec<_> = gateway.into_iter().chain(portal).collect();
    for (repository, dir) in [(Repository::Director, folder.director()), (Repository::Image, folder.image())] {
        let documents = watchpost_package::tuf::expiries(&dir).into_iter();
        found.extend(documents.map(|document| Dated {
            subject: Subject::Document(repository, document.role),
            at: document.at,
            signers: Some(document.signers),
        }));
    }
    found
}

/// The last instant at which a certificate is valid.
fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp::from_millis(seconds.saturating_mul(1_000)))
}

/// The room under a folder; `None` when the system does not say.
fn disk(folder: PathBuf) -> Option<Disk> {
    let figures = rustix::fs::statvfs(&folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
    Some(Disk { free: bytes(figures.f_bavail), total: bytes(figures.f_blocks) })
}

impl App {
    /// Notes how a piece of the server's work went.
    pub(crate) fn note_work<T>(&self, work: &'static str, done: &Result<T, AppError>) {
        let mut failing = self.0.own_health.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Ok(_) => {
                failing.remove(work);
            }
            Err(failure) => {
                let now = self.0.clock.now();
                failing.entry(work).or_insert_with(|| (now, String::new())).1 = failure.chain();
            }
        }
    }

    /// Looks at everything; `with_write`: also whether the database takes a write.
    ///
    /// # Errors
    /// When what was found cannot be kept.
    pub(crate) async fn look_at_oneself(&self, with_write: bool) -> Result<(), AppError> {
        let database = if with_write { self.test_write().await.err().map(|failure| failure.chain()) } else { None };
        let (folder, portal) = (self.0.folder.clone(), self.0.own_health.portal.clone());
        let gateway = super::server_keys::certificate_file(&self.0.server_keys.renewal());
        let reading = move || (disk(folder.path().to_owned()), expiries(&folder, &gateway, portal.as_ref()));
        // A task that was cut off has seen nothing.
        let (disk, expiries) = tokio::task::spawn_blocking(reading).await.unwrap_or_default();
        let observed = Observed { disk, database, expiries, failing: self.0.own_health.failing() };
        let now = self.0.clock.now();
        let conditions = findings(&observed, &self.0.policy.own_health, now).iter().map(condition).collect();
        *self.0.own_health.observed.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, observed));
        if self.fleet_ref(|fleet| fleet.planner.is_trust_expired) != self.is_trust_expired(now) {
            self.poke();
        }
        self.observe_global(SOURCE, conditions).await
    }

    /// What the server saw of itself last, judged at `now`; `None` before the first look.
    #[must_use]
    pub fn own_health(&self, now: Timestamp) -> Option<OwnHealthView> {
        let observed = self.0.own_health.observed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        observed.map(|(observed_at, observed)| {
            let findings = findings(&observed, &self.0.policy.own_health, now);
            OwnHealthView { observed_at, observed, findings }
        })
    }

    /// Everything in the chain of trust that ends one day, what ends first at the front; empty before the first look.
    #[must_use]
    pub fn trust_clock(&self, now: Timestamp) -> Vec<Reading> {
        let observed = self.0.own_health.observed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut dated = observed.map(|(_, observed)| observed.expiries).unwrap_or_default();
        dated.extend(self.first_host_certificate());
        trust::read(&dated, &self.0.policy.own_health, now)
    }

    /// The certificate of a host that ends first; `None`: no host has one.
    pub(crate) fn first_host_certificate(&self) -> Option<Dated> {
        let ends = |fleet: &super::fleet::Fleet| {
            fleet.sensors.values().filter_map(|sensor| sensor.certificate.expires_at).min()
        };
        let at = self.fleet_ref(ends)?;
        Some(Dated { subject: Subject::FirstHostCertificate, at, signers: None })
    }

    /// Whether a signed document has expired, so that hosts refuse every update.
    pub(super) fn is_trust_expired(&self, now: Timestamp) -> bool {
        let observed = self.0.own_health.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let dated = observed.iter().flat_map(|(_, observed)| &observed.expiries);
        dated.filter(|dated| matches!(dated.subject, Subject::Document(..))).any(|dated| dated.at <= now)
    }

    /// How often the server looks at itself.
    pub(crate) fn own_health_every(&self) -> std::time::Duration {
        self.0.policy.own_health.checked_every
    }

    async fn test_write(&self) -> Result<(), AppError> {
        let mut tx = self.begin().await?;
        tx.save_setting(TEST_WRITE, &self.0.clock.now()).await?;
        Ok(tx.commit().await?)
    }
}

/// The issue that a finding opens.
fn condition(finding: &Finding) -> Condition {
    let kind = match finding.trouble {
        Trouble::DiskLow => IssueType::ServerDiskLow,
        // A certificate or a signature that cannot be made in time is told by its date.
        Trouble::DatabaseNotWritable | Trouble::WorkFailing => IssueType::ServerDatabaseFailing,
        Trouble::CertificateToExpire => IssueType::ServerCertificateExpiresSoon,
        Trouble::CertificateExpired => IssueType::ServerCertificateExpired,
        Trouble::TrustToExpire => IssueType::ServerTrustExpiresSoon,
        Trouble::TrustExpired => IssueType::ServerTrustExpired,
    };
    Condition::new(kind, &finding.subject, &finding.reason)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gateway::GatewayCertificate;
    use crate::testing::{House, T0};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn about(app: &App, subject: &str) -> Vec<Trouble> {
        let view = app.own_health(app.clock().now()).unwrap();
        view.findings.iter().filter(|found| found.subject == subject).map(|found| found.trouble).collect()
    }

    #[tokio::test]
    async fn a_gateway_certificate_is_told_twenty_one_days_before_it_ends_and_once_it_has() {
        let house = House::new().await;
        // Ten years long: made so long ago that 21 days and a second are left.
        let made = GatewayCertificate::generate(T0 - DAY * (3_650 - 21) + Duration::from_secs(1)).unwrap();
        std::fs::write(house.path("server/keys/gateway-certificate.der"), made.certificate()).unwrap();
        std::fs::write(house.path("server/keys/gateway-key.der"), made.key()).unwrap();
        let server = house.start().await;
        let app = server.app();
        for (at, troubles) in [
            (T0, vec![]),
            (T0 + Duration::from_secs(2), vec![Trouble::CertificateToExpire]),
            (T0 + DAY * 22, vec![Trouble::CertificateExpired]),
        ] {
            house.clock.set(at);
            app.look_at_oneself(true).await.unwrap();
            assert_eq!(about(app, "gateway certificate"), troubles, "at {at}");
        }
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn the_earliest_expiry_of_a_server_is_the_week_of_its_director() {
        let house = House::new().await;
        let server = house.start().await;
        let app = server.app();
        app.look_at_oneself(true).await.unwrap();
        let view = app.own_health(T0).unwrap();
        let first = view.earliest_expiry().unwrap();
        assert!(matches!(first.subject, Subject::Document(Repository::Director, _)), "{first:?}");
        assert_eq!(first.at, T0 + DAY * 7);
        assert_eq!(first.at, app.director_expires_at().await);
        assert_eq!(view.observed.database, None);
        assert!(view.observed.disk.unwrap().total > 0);
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn work_that_fails_is_told_until_it_succeeds() {
        let house = House::new().await;
        let server = house.start().await;
        let app = server.app();
        let failed = || Err::<(), _>(AppError::Refused { code: "x", why: "because".to_owned() });
        app.note_work("counting sheep", &failed());
        house.clock.set(T0 + Duration::from_secs(61));
        app.note_work("counting sheep", &failed());
        app.look_at_oneself(true).await.unwrap();
        assert_eq!(about(app, "counting sheep"), [Trouble::WorkFailing]);
        app.note_work("counting sheep", &Ok(()));
        app.look_at_oneself(true).await.unwrap();
        assert_eq!(about(app, "counting sheep"), []);
        server.stop().await.unwrap();
    }
}
