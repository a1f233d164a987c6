//! What the control plane sees for itself: silence, missing pulls, late check-ins, failed updates, old versions, old
//! certificates.

use std::time::Duration;

use crate::content::RulesMode;
use crate::health::outlook::Outlook;
use crate::health::{IssueType, Seen};

pub(super) fn look(outlook: &mut Outlook<'_>) {
    silence(outlook);
    start(outlook);
    unsteady(outlook);
    update(outlook);
    rules(outlook);
    certificate(outlook);
    newcomers(outlook);
}

fn silence(outlook: &mut Outlook<'_>) {
    let since = outlook.context.silent_since(outlook.sensor);
    let policy = outlook.context.policy;
    let seen = Seen::new(&format!("nothing was heard since {since}"));
    let at = since + policy.contact.stopped_communicating_after;
    outlook.see_from(at, IssueType::SensorStoppedCommunicating, seen.clone());
    let at = since + policy.network.disconnected_message_after;
    outlook.see_from(at, IssueType::NetworkDisconnected, seen);
}

fn start(outlook: &mut Outlook<'_>) {
    let (sensor, context) = (outlook.sensor, outlook.context);
    let since = context.unpulled_since(sensor);
    if context.has_not_started(sensor) {
        let seen = Seen::new(&format!("no configuration was pulled since {since}"));
        outlook.see(IssueType::SensorServiceFailedToStart, seen);
    }
    if sensor.last_contact.is_some() {
        // “More than” the limit; and it counts only while the host communicates.
        outlook.wake(since + context.policy.contact.start_failed_after + Duration::from_millis(1));
        outlook.wake(context.silent_since(sensor) + context.policy.contact.disconnected_after);
    }
}

fn unsteady(outlook: &mut Outlook<'_>) {
    let (contacts, context) = (&outlook.sensor.contacts, outlook.context);
    if let Some(how) = contacts.instability(context.now, context.policy) {
        outlook.see(IssueType::UnstableTraffic, Seen::new(&how));
    }
    if let Some(at) = contacts.changes_at(context.now, context.policy) {
        outlook.wake(at);
    }
}

fn update(outlook: &mut Outlook<'_>) {
    let (sensor, context) = (outlook.sensor, outlook.context);
    if let Some(at) = context.catalogue.changes_at(context.now) {
        outlook.wake(at);
    }
    let failed = sensor.update.standing_failure(context);
    if let Some(failed) = failed {
        let went = match (failed.is_of_updater, failed.reverted) {
            (true, _) => "the host keeps the updater that it had",
            (false, true) => "the host went back",
            (false, false) => "the host stayed on its version",
        };
        let seen = Seen::new(&format!("the update to {} failed and {went}: {}", failed.version, failed.reason));
        let kind = match (sensor.kind.is_network(), failed.reverted) {
            (false, _) => IssueType::SensorOutdated,
            (true, true) => IssueType::UpdateInstallFailed,
            (true, false) => IssueType::UpdateSendFailed,
        };
        outlook.see(kind, seen);
    }
    let behind = sensor.version().map_or(0, |version| context.catalogue.releases_behind(version, context.now));
    let is_said = outlook.found.contains_key(&IssueType::SensorOutdated);
    if behind >= context.policy.rollout.outdated_from && !is_said {
        outlook.see(IssueType::SensorOutdated, Seen::new(&format!("it is {behind} releases behind")));
    }
}

/// A package that was put back, until a newer one is loaded, or the one that a person has ordered instead. What was
/// pulled back, or is wanted no more, the host forgets by itself.
fn rules(outlook: &mut Outlook<'_>) {
    let (report, order) = (&outlook.sensor.report.rules, &outlook.sensor.rules);
    let Some(failed) = &report.failed else { return };
    let ordered = match order.mode {
        // It is offered what is newest, and has something older only because this one failed.
        RulesMode::Automatic => None,
        RulesMode::Manual => order.build.or(report.build),
    };
    let is_other = ordered.is_some_and(|build| build != failed.build) && report.build == ordered;
    if is_other || report.build > Some(failed.build) {
        return;
    }
    let reason = format!("the rules of {} were put back at {}: {}", failed.build, failed.at, failed.reason);
    outlook.see(IssueType::RulePackageFailed, Seen::new(&reason));
}

/// A certificate that should have been renewed long ago.
fn certificate(outlook: &mut Outlook<'_>) {
    let Some(end) = outlook.sensor.certificate.expires_at else { return };
    if outlook.context.now >= end {
        outlook.see(IssueType::CertificateExpired, Seen::new(&format!("it expired at {end} and was not renewed")));
        return;
    }
    outlook.wake(end);
    // “Less than” so long before: one millisecond later.
    let at = end - outlook.context.policy.certificate.issue_before + Duration::from_millis(1);
    outlook.see_from(
        at,
        IssueType::CertificateExpiring,
        Seen::new(&format!("it expires at {end} and was not renewed")),
    );
}

/// Somebody says to be this host; only a person knows who is.
fn newcomers(outlook: &mut Outlook<'_>) {
    if let Some(waiting) = outlook.sensor.newcomers {
        let (count, since) = (waiting.count, waiting.since);
        let hosts = if count == 1 { "another host says".to_owned() } else { format!("{count} other hosts say") };
        let reason = format!("{hosts} to be this one since {since}; decide with `watchpost clones list`");
        outlook.see(IssueType::PossibleClone, Seen::new(&reason));
    }
}
