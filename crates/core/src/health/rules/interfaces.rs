//! The interfaces that should be captured: there or not, silent or not, losing packets or not.

use super::engines::is_down;
use crate::facts::Facts;
use crate::health::outlook::Outlook;
use crate::health::{IssueType, Seen};

const KINDS: [IssueType; 6] = [
    IssueType::CaptureInterfacesUnavailable,
    IssueType::CaptureInterfaceDown,
    IssueType::NoTrafficFromDomainController,
    IssueType::NoTrafficDetected,
    IssueType::InterfaceSilent,
    IssueType::SomeNetworkTrafficNotAnalyzed,
];

pub(super) fn look(outlook: &mut Outlook<'_>, facts: &Facts) {
    if facts.interfaces.is_empty() && is_down(outlook) {
        KINDS.into_iter().for_each(|kind| outlook.keep(kind));
    }
    let (mut all, mut gone, mut silent, mut losing) = (0, Vec::new(), Vec::new(), Vec::new());
    for (name, interface) in facts.interfaces.iter().filter(|(_, interface)| interface.selected) {
        all += 1;
        if !interface.present {
            gone.push(format!("{name} is not there"));
        } else if !interface.up {
            gone.push(format!("{name} is down or has no link"));
        } else if let Some(since) = interface.silent_since
            && outlook.is_due(since + outlook.context.policy.network.no_traffic_after)
        {
            silent.push(format!("{name} is silent since {since}"));
        }
        if let Some(since) = interface.losing_since {
            losing.push(format!("packets of {name} are dropped since {since}"));
        }
    }
    if !gone.is_empty() {
        let share = if gone.len() == all { "all" } else { "some" };
        let reason = format!("{share} of the {all} selected: {}", gone.join("; "));
        let seen = Seen::listing(&reason, &gone);
        outlook.see(IssueType::CaptureInterfacesUnavailable, seen.clone());
        outlook.see(IssueType::CaptureInterfaceDown, seen);
    }
    // An interface that is down carries nothing either, and has an issue of its own.
    if !silent.is_empty() && silent.len() + gone.len() == all {
        outlook.see_each(IssueType::NoTrafficFromDomainController, &silent);
        outlook.see_each(IssueType::NoTrafficDetected, &silent);
    } else {
        outlook.see_each(IssueType::InterfaceSilent, &silent);
    }
    for (kind, engine) in &facts.engines {
        if let Some(since) = engine.events_lost_since {
            losing.push(format!("what {} said of the traffic is lost or not understood since {since}", kind.word()));
        }
    }
    outlook.see_each(IssueType::SomeNetworkTrafficNotAnalyzed, &losing);
}
