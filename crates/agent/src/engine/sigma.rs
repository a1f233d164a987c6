//! The engine for audit events: Sigma detection and correlation rules over one JSON event at a time.
//!
//! A rule file that is broken never keeps the others from loading; it is counted, and the control plane sees the count.

mod correlation;
pub mod event;
mod index;
mod load;
pub mod tree;

use rsigma_eval::{CompiledRule, evaluate_rule};

use self::correlation::Book;
use self::event::AuditEvent;
use self::index::Index;
pub use self::load::RulesError;
use super::{Engine, Match, RuleSet};

/// Sigma rules, ready to evaluate.
pub struct Sigma {
    rules: Vec<Rule>,
    index: Index,
    book: Book,
    set: RuleSet,
}

/// A detection rule, and what is known of it beside its logic.
struct Rule {
    compiled: CompiledRule,
    id: String,
    name: Option<String>,
    file: String,
    /// It only feeds correlations that ask for no alerts of its own.
    is_silent: bool,
    is_watched: bool,
}

impl Engine for Sigma {
    fn rules(&self) -> &RuleSet {
        &self.set
    }

    fn evaluate(&mut self, event: &AuditEvent<'_>, counts: bool) -> Vec<Match> {
        let mut matches = Vec::new();
        let mut completed = Vec::new();
        let mut at = None;
        for number in self.index.candidates(event) {
            let Some(rule) = self.rules.get(*number) else { continue };
            if (rule.is_silent && !counts) || evaluate_rule(&rule.compiled, event).is_none() {
                continue;
            }
            if rule.is_watched && counts {
                // An event without a time of its own is no part of any span of time.
                if let Some(at) = *at.get_or_insert_with(|| event.time()) {
                    completed.extend(self.book.count(event, at.millis(), &rule.id, rule.name.as_deref()));
                }
            }
            if !rule.is_silent {
                matches.push(rule.as_match());
            }
        }
        let order = |a: &Match, b: &Match| (&a.rule_file, &a.rule_id).cmp(&(&b.rule_file, &b.rule_id));
        matches.sort_by(order);
        completed.sort_by(order);
        matches.append(&mut completed);
        matches
    }

    fn is_changed(&self) -> bool {
        self.book.is_changed()
    }

    fn state(&self) -> Vec<u8> {
        self.book.state()
    }

    fn settled(&mut self) {
        self.book.settled();
    }

    fn restore(&mut self, state: &[u8]) {
        self.book.restore(state);
    }
}

impl Rule {
    fn as_match(&self) -> Match {
        Match {
            rule_id: self.id.clone(),
            rule_title: self.compiled.title.clone(),
            level: self.compiled.level.map_or("medium", |level| level.as_str()).to_owned(),
            rule_file: self.file.clone(),
            correlation: None,
        }
    }
}

#[cfg(test)]
mod tests;
