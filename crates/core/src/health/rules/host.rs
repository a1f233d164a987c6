//! The host itself: memory, processors, disk, clock, operating system, and what it refuses or cannot write.

use crate::facts::{Facts, HostFacts};
use crate::health::outlook::Outlook;
use crate::health::{IssueType, Seen};

pub(super) fn look(outlook: &mut Outlook<'_>, facts: &Facts) {
    let host = &facts.host;
    resources(outlook, host);
    system(outlook, host);
    let ahead = host.clock_ahead_seconds;
    if ahead.unsigned_abs() > outlook.context.policy.health.clock_skew.as_secs() {
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let reason = format!("the host's clock is {} s {way} the control plane's", ahead.unsigned_abs());
        outlook.see(IssueType::ClockSkew, Seen::new(&reason));
    }
    if let Some(since) = host.disk_low_since {
        outlook.see(IssueType::DiskLow, Seen::new(&format!("the disk is nearly full since {since}")));
    }
    if let Some(since) = host.log_path_fails_since {
        let seen = Seen::new(&format!("the log folder cannot be written since {since}"));
        outlook.see(IssueType::CustomLogPathFailed, seen);
    }
    if let Some(why) = &host.settings_refused {
        outlook.see(IssueType::SettingsRefused, Seen::new(why));
    }
    if let Some(since) = host.evidence_fails_since {
        let seen = Seen::new(&format!("evidence cannot be written since {since}"));
        outlook.see(IssueType::EvidenceNotWritten, seen);
    }
}

fn resources(outlook: &mut Outlook<'_>, host: &HostFacts) {
    let policy = outlook.context.policy;
    let mut short = Vec::new();
    if let Some(since) = host.memory_short_since
        && outlook.is_due(since + policy.resources.checked_every * policy.resources.breaches)
    {
        let kept = policy.resources.kept_free_percent;
        let reason = format!("less than {kept} % of the memory is available since {since}");
        outlook.see(IssueType::MemoryLimitReached, Seen::new(&reason));
        short.push(reason);
    }
    // The host tells it only after it has lasted.
    if let Some(since) = host.processor_short_since {
        let kept = policy.resources.kept_free_percent;
        let reason = format!("less than {kept} % of the processor time is free since {since}");
        outlook.see(IssueType::ProcessorLimitReached, Seen::new(&reason));
        short.push(reason);
    }
    outlook.see_each(IssueType::SensorOverloaded, &short);
}

fn system(outlook: &mut Outlook<'_>, host: &HostFacts) {
    let policy = outlook.context.policy;
    let Some(system) = &host.system else {
        outlook.keep(IssueType::OperatingSystemUnsupported);
        outlook.keep(IssueType::OperatingSystemSoonUnsupported);
        return;
    };
    let Some(line) = policy.health.systems.iter().find(|line| line.covers(system)) else { return };
    let (name, version) = (&system.id, &system.version);
    if outlook.is_due(line.ends) {
        let reason = format!("the support of {name} {version} ended at {}", line.ends);
        outlook.see(IssueType::OperatingSystemUnsupported, Seen::new(&reason));
    } else if outlook.is_due(line.ends - policy.health.system_ends_within) {
        let reason = format!("the support of {name} {version} ends at {}", line.ends);
        outlook.see(IssueType::OperatingSystemSoonUnsupported, Seen::new(&reason));
    }
}
