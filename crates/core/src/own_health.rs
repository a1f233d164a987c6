//! The control plane's own health (B6): what was observed of its disk, its database, its work and its expiry dates,
//! and what of it needs a person.

#[cfg(test)]
mod tests;

use crate::policy::OwnHealthPolicy;
use crate::time::Timestamp;
use crate::trust::{self, Dated, State, Subject};

/// What was observed at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Observed {
    /// The disk under the data folder; `None`: the system did not say.
    pub disk: Option<Disk>,
    /// What the database answered to a test write; `None`: it took it.
    pub database: Option<String>,
    /// Everything of the server that expires.
    pub expiries: Vec<Dated>,
    /// Work of the server that fails over and over.
    pub failing: Vec<Failing>,
}

/// Room on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What is left for the server.
    pub free: u64,
    /// Its size.
    pub total: u64,
}

/// A piece of the server's work that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Which one, in words.
    pub work: &'static str,
    /// Since when every attempt failed.
    pub since: Timestamp,
    /// What the last attempt said.
    pub reason: String,
}

/// What needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Little room is left on the disk.
    DiskLow,
    /// The database takes nothing.
    DatabaseNotWritable,
    /// A certificate expires soon.
    CertificateToExpire,
    /// A certificate has expired.
    CertificateExpired,
    /// A document of a repository expires soon.
    TrustToExpire,
    /// A document of a repository has expired.
    TrustExpired,
    /// Work of the server fails.
    WorkFailing,
}

/// One trouble, what it is about, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which one.
    pub trouble: Trouble,
    /// What it is about, in words.
    pub subject: String,
    /// What was seen.
    pub reason: String,
}

/// Everything that needs a person at `now`.
#[must_use]
pub fn findings(observed: &Observed, policy: &OwnHealthPolicy, now: Timestamp) -> Vec<Finding> {
    let finding = |trouble, subject: &str, reason| Finding { trouble, subject: subject.to_owned(), reason };
    let mut found = Vec::new();
    if let Some(disk) = observed.disk.filter(|disk| is_low(*disk, policy)) {
        // In tenths, so that the sentence does not change with every byte that is written.
        let (free, total) = (tenths(disk.free), tenths(disk.total));
        let reason = format!("{free} of {total} GiB are free under the data folder");
        found.push(finding(Trouble::DiskLow, "disk", reason));
    }
    if let Some(reason) = &observed.database {
        found.push(finding(Trouble::DatabaseNotWritable, "database", reason.clone()));
    }
    for dated in &observed.expiries {
        let (soon, over) = match dated.subject {
            Subject::GatewayCertificate | Subject::PortalCertificate => {
                (Trouble::CertificateToExpire, Trouble::CertificateExpired)
            }
            Subject::Document(..) => (Trouble::TrustToExpire, Trouble::TrustExpired),
            // An issue of that host's own says so.
            Subject::FirstHostCertificate => continue,
        };
        let name = dated.subject.name();
        match trust::state(dated, policy, now) {
            State::Fine | State::Due => {}
            State::Urgent => found.push(finding(soon, &name, format!("it expires at {}", dated.at))),
            State::Expired => found.push(finding(over, &name, format!("it has expired at {}", dated.at))),
        }
    }
    for failing in observed.failing.iter().filter(|failing| now.since(failing.since) >= policy.failing_for) {
        let reason = format!("every attempt since {} has failed: {}", failing.since, failing.reason);
        found.push(finding(Trouble::WorkFailing, failing.work, reason));
    }
    found
}

/// Bytes in GiB, rounded down to one digit behind the point.
fn tenths(bytes: u64) -> String {
    let tenths = (bytes >> 20) * 10 / 1024;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn is_low(disk: Disk, policy: &OwnHealthPolicy) -> bool {
    let share = disk.total / 100 * u64::from(policy.disk_free_percent);
    disk.free < share || disk.free < policy.disk_free_bytes
}
