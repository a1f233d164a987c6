//! What collectors saw that is of one sensor. What they saw of a domain is in `health::domains`.

use crate::facts::DoorFacts;
use crate::facts::door::{Check, DriverKind};
use crate::health::outlook::Outlook;
use crate::health::{IssueType, Seen};

/// What was seen of a check that is not fine.
pub(in crate::health) fn seen(check: &Check) -> Option<Seen> {
    let reason = match (check.problems.as_slice(), check.since) {
        ([], None) => return None,
        ([], Some(since)) => format!("since {since}"),
        (problems, None) => problems.join("; "),
        (problems, Some(since)) => format!("since {since}: {}", problems.join("; ")),
    };
    Some(Seen::listing(&reason, &check.problems))
}

pub(super) fn look(outlook: &mut Outlook<'_>, door: &DoorFacts) {
    for (kind, check) in [
        (IssueType::NetworkOffloadMisconfigured, &door.vmware_offload),
        (IssueType::SomeEtwEventsNotAnalyzed, &door.etw_events),
        (IssueType::NtlmAuditingDisabled, &door.ntlm_auditing),
        (IssueType::AdvancedAuditingIncomplete, &door.advanced_auditing),
        (IssueType::AdcsAuditingIncomplete, &door.adcs_auditing),
        (IssueType::PowerModeNotOptimal, &door.power_mode),
        (IssueType::EntraConnectConfigurationUnreadable, &door.entra_connect),
        (IssueType::RpcAuditMisconfigured, &door.rpc_audit),
        (IssueType::AuditingRepeatedlyReverted, &door.auditing_reverted),
        (IssueType::DomainControllerUnreachable, &door.unreachable_domain_controllers),
        (IssueType::BackupFailed, &door.backup),
        (IssueType::SanityFailed, &door.sanity),
    ] {
        match check {
            Some(check) => seen(check).into_iter().for_each(|seen| outlook.see(kind, seen)),
            None => outlook.keep(kind),
        }
    }
    // The host measures these itself; a collector may add to it and cannot take from it.
    for (kind, check) in
        [(IssueType::CustomLogPathFailed, &door.custom_log_path), (IssueType::SensorOverloaded, &door.overloaded)]
    {
        let added = check.as_ref().and_then(seen).filter(|_| !outlook.found.contains_key(&kind));
        added.into_iter().for_each(|seen| outlook.see(kind, seen));
    }
    driver(outlook, door);
    endpoints(outlook, door);
}

fn driver(outlook: &mut Outlook<'_>, door: &DoorFacts) {
    let Some(driver) = &door.packet_driver else {
        [IssueType::CaptureDriverWinPcap, IssueType::CaptureDriverTooOld, IssueType::CaptureDriverMisconfigured]
            .into_iter()
            .for_each(|kind| outlook.keep(kind));
        return;
    };
    if driver.kind == DriverKind::WinPcap {
        outlook.see(IssueType::CaptureDriverWinPcap, Seen::new(&format!("WinPcap {} is in use", driver.version)));
    }
    if driver.is_older_than_1() {
        let seen = Seen::new(&format!("Npcap {} is older than 1.0", driver.version));
        outlook.see(IssueType::CaptureDriverTooOld, seen);
    }
    outlook.see_each(IssueType::CaptureDriverMisconfigured, &driver.problems);
}

fn endpoints(outlook: &mut Outlook<'_>, door: &DoorFacts) {
    let Some(endpoints) = &door.endpoints else {
        outlook.keep(IssueType::PartiallyConnected);
        return;
    };
    let lines: Vec<_> = endpoints.iter().map(|one| format!("{}: {}", one.name, one.failure.words())).collect();
    outlook.see_each(IssueType::PartiallyConnected, &lines);
}
