//! The engines and the audit log: whether what should detect does.

use crate::facts::{EngineState, Facts};
use crate::health::outlook::Outlook;
use crate::health::{IssueType, Seen};
use crate::sync::ServiceState;

pub(super) fn look(outlook: &mut Outlook<'_>, facts: &Facts) {
    engines(outlook, facts);
    events(outlook, facts);
    names(outlook, facts);
}

/// Whether a section that is absent was not measured because its process is down, rather than not asked for.
pub(super) fn is_down(outlook: &Outlook<'_>) -> bool {
    match outlook.sensor.report.service {
        ServiceState::Starting | ServiceState::Stopped => true,
        ServiceState::Running | ServiceState::Disabled => false,
    }
}

fn engines(outlook: &mut Outlook<'_>, facts: &Facts) {
    if facts.engines.is_empty() && is_down(outlook) {
        [IssueType::EngineNotRunning, IssueType::EngineStartFailed, IssueType::RulesFailed]
            .into_iter()
            .for_each(|kind| outlook.keep(kind));
    }
    let (mut ended, mut failed, mut refused, mut complaints) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (kind, engine) in &facts.engines {
        let (word, since, reason) = (kind.word(), engine.since, &engine.reason);
        match engine.state {
            EngineState::Running => {}
            EngineState::Starting => {
                if outlook.is_due(since + outlook.context.policy.health.engine_answers_within) {
                    ended.push(format!("{word} was started at {since} and has not answered"));
                } else {
                    // That it was started is no answer: what was wrong stays so until there is one.
                    outlook.keep(IssueType::EngineNotRunning);
                    outlook.keep(IssueType::EngineStartFailed);
                }
            }
            EngineState::NotRunning => ended.push(format!("{word} does not run since {since}: {reason}")),
            EngineState::StartFailed => failed.push(format!("{word} failed to start at {since}: {reason}")),
        }
        if engine.rules_failed > 0 {
            let all = u64::from(engine.rules_loaded) + u64::from(engine.rules_failed);
            refused.push(format!("{word} has refused {} of {all} rules", engine.rules_failed));
            complaints.extend(&engine.complaints);
        }
    }
    outlook.see_each(IssueType::EngineNotRunning, &ended);
    outlook.see_each(IssueType::EngineStartFailed, &failed);
    if !refused.is_empty() {
        outlook.see(IssueType::RulesFailed, Seen::listing(&refused.join("; "), complaints));
    }
}

fn events(outlook: &mut Outlook<'_>, facts: &Facts) {
    let Some(events) = &facts.events else {
        if is_down(outlook) {
            [IssueType::AuditLogSilent, IssueType::AuditLogUnreadable, IssueType::SomeEventsNotAnalyzed]
                .into_iter()
                .for_each(|kind| outlook.keep(kind));
        }
        return;
    };
    if let Some(since) = events.unreadable_since {
        let seen = Seen::new(&format!("the audit log cannot be read since {since}"));
        outlook.see(IssueType::AuditLogUnreadable, seen);
    } else if let Some(since) = events.silent_since
        && outlook.is_due(since + outlook.context.policy.health.audit_log_silent_after)
    {
        outlook.see(IssueType::AuditLogSilent, Seen::new(&format!("nothing was logged since {since}")));
    }
    if let Some(since) = events.dropping_since {
        let seen = Seen::new(&format!("events are lost or not understood since {since}"));
        outlook.see(IssueType::SomeEventsNotAnalyzed, seen);
    }
}

fn names(outlook: &mut Outlook<'_>, facts: &Facts) {
    let Some(names) = facts.name_resolution.filter(|names| names.attempts > 0) else {
        outlook.keep(IssueType::LowNameResolutionSuccess);
        return;
    };
    let failures = names.failures.min(names.attempts);
    let limit = outlook.context.policy.health.name_resolution_failures_percent;
    if u64::from(failures) * 100 > u64::from(names.attempts) * u64::from(limit) {
        let seen = Seen::new(&format!("{failures} of {} look-ups had no answer", names.attempts));
        outlook.see(IssueType::LowNameResolutionSuccess, seen);
    }
}
