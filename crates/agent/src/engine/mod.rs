//! What detects: one event in, the rules that match it out.
//!
//! One small trait and no plug-in system. An engine holds no clock, opens no socket and never writes a file.

pub mod sigma;
pub mod suricata;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One rule that matched one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// What an engine has loaded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RuleSet {
    /// How many rules are in force.
    pub loaded: u32,
    /// How many rules were refused.
    pub failed: u32,
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

    /// The rules that match `event`, in the order of their files.
    fn evaluate(&self, event: &Value) -> Vec<Match>;
}
