//! What detects: one event in, the rules that match it out.
//!
//! One small trait and no plug-in system. An engine holds no clock, opens no socket and never writes a file.

pub mod sigma;
pub mod suricata;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::sigma::event::AuditEvent;

/// One rule that matched one event, or that this event completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// The rule's level: informational, low, medium, high or critical.
    pub level: String,
    /// Name of the file of the release that holds the rule.
    pub rule_file: String,
    /// Of a correlation rule: what it found over several events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Correlation>,
}

/// What a correlation rule found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// What the events have in common.
    pub group: BTreeMap<String, String>,
    /// What was counted or computed over them.
    pub value: f64,
}

/// What an engine has loaded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RuleSet {
    /// How many rules are in force.
    pub loaded: u32,
    /// How many rules were refused.
    pub failed: u32,
    /// How many rules of a package were left out, because the release has the same.
    pub superseded: u32,
    /// SHA-256 (hex) over names and contents of all rule files.
    pub sha256: String,
    /// Why rules were refused, one line each, at most [`RuleSet::MAX_COMPLAINTS`].
    pub complaints: Vec<String>,
}

impl RuleSet {
    /// Most complaints that are kept; the rest is only counted.
    pub const MAX_COMPLAINTS: usize = 50;

    fn refuse(&mut self, file: &str, why: &dyn std::fmt::Display) {
        self.failed = self.failed.saturating_add(1);
        if self.complaints.len() < Self::MAX_COMPLAINTS {
            self.complaints.push(format!("{file}: {why}"));
        }
    }
}

/// Something that detects.
pub trait Engine: Send {
    /// What is loaded.
    fn rules(&self) -> &RuleSet;

    /// The rules that match `event`, in the order of their files, and then those that it completed. An event that does
    /// not count, such as a canary, is looked at and leaves no trace.
    fn evaluate(&mut self, event: &AuditEvent<'_>, counts: bool) -> Vec<Match>;

    /// Whether events have changed what the next ones are judged by, since it was last made durable.
    fn is_changed(&self) -> bool {
        false
    }

    /// What the next events are judged by, to be kept with the place that was read up to.
    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The state is durable.
    fn settled(&mut self) {}

    /// Goes on from this state, as far as the rules are the same.
    fn restore(&mut self, state: &[u8]) {
        let _ = state;
    }
}
