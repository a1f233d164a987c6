//! What several sensors say of their domain: the same issue on more than one of them, and what collectors saw of it.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::Scope;
use super::global::{Condition, GlobalIssues};
use super::rules::door_seen;
use super::{Issue, IssueType};
use crate::facts::door::Check;
use crate::policy::HealthPolicy;
use crate::sensor::Sensor;

/// The source under which these are kept.
pub const SOURCE: &str = "sensors";

/// Checks of collectors that are about a domain.
const AUDITS: [IssueType; 3] = [
    IssueType::ObjectAuditingIncomplete,
    IssueType::ConfigurationContainerAuditingIncomplete,
    IssueType::AdfsContainerAuditingIncomplete,
];

/// All conditions that the sensors together make. `before` are the issues of the source as they are: where nobody has
/// looked at a domain, its issue stays as it is.
pub fn domain_conditions<'a>(
    sensors: impl Iterator<Item = &'a Sensor> + Clone,
    before: &GlobalIssues,
    policy: &HealthPolicy,
) -> Vec<Condition> {
    let mut conditions = shared(sensors.clone(), policy);
    conditions.extend(audits(sensors.clone(), before));
    conditions.extend(radius(sensors));
    conditions
}

/// What people read of a domain; a network sensor belongs to none.
fn domain(sensor: &Sensor) -> String {
    if sensor.domain.is_empty() { "no domain".to_owned() } else { sensor.domain.to_lowercase() }
}

/// The same issue on several sensors of one domain.
fn shared<'a>(sensors: impl Iterator<Item = &'a Sensor>, policy: &HealthPolicy) -> Vec<Condition> {
    let mut names: BTreeMap<(IssueType, String), Vec<String>> = BTreeMap::new();
    for sensor in sensors {
        let open = sensor.issues.iter().filter(|(kind, issue)| issue.is_open() && kind.entry().scope == Scope::Both);
        for (kind, _) in open {
            names.entry((*kind, domain(sensor))).or_default().push(sensor.name.clone());
        }
    }
    let several = names.into_iter().filter(|(_, names)| names.len() >= policy.domain_issue_from);
    several
        .map(|((kind, subject), mut names)| {
            names.sort();
            let reason = format!("{} sensors of {subject} have this issue", names.len());
            Condition { kind, subject, reason, details: names }
        })
        .collect()
}

fn audits<'a>(sensors: impl Iterator<Item = &'a Sensor>, before: &GlobalIssues) -> Vec<Condition> {
    let (mut conditions, mut looked_at) = (Vec::new(), BTreeSet::new());
    for sensor in sensors {
        let door = &sensor.report.facts.door;
        let checks = [&door.object_auditing, &door.configuration_container_auditing, &door.adfs_container_auditing];
        for (kind, checks) in AUDITS.into_iter().zip(checks) {
            for (subject, check) in checks {
                looked_at.insert((kind, subject.to_lowercase()));
                conditions.extend(audit(kind, subject, check));
            }
        }
    }
    let is_kept = |kind: IssueType, subject: &String, issue: &Issue| {
        AUDITS.contains(&kind) && issue.is_open() && !looked_at.contains(&(kind, subject.clone()))
    };
    let kept = before.iter().filter(|((kind, subject), issue)| is_kept(*kind, subject, issue));
    conditions.extend(kept.map(|((kind, subject), issue)| Condition {
        kind: *kind,
        subject: subject.clone(),
        reason: issue.reason.clone(),
        details: issue.details.clone(),
    }));
    conditions
}

fn audit(kind: IssueType, subject: &str, check: &Check) -> Option<Condition> {
    let seen = door_seen(check)?;
    Some(Condition { kind, subject: subject.to_lowercase(), reason: seen.reason, details: seen.details })
}

/// Sensors that refuse RADIUS accounting, per domain.
fn radius<'a>(sensors: impl Iterator<Item = &'a Sensor>) -> Vec<Condition> {
    let mut domains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for sensor in sensors {
        let check = sensor.report.facts.door.radius_accounting.as_ref();
        if let Some(seen) = check.and_then(door_seen) {
            domains.entry(domain(sensor)).or_default().push(format!("{}: {}", sensor.name, seen.reason));
        }
    }
    let condition = |(subject, details): (String, Vec<String>)| {
        let reason = format!("{} sensors of {subject} refuse RADIUS accounting", details.len());
        Condition { kind: IssueType::RadiusAccountingFailures, subject, reason, details }
    };
    domains.into_iter().map(condition).collect()
}
