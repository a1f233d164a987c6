//! What is told of the engine: a failure until there is an answer, and words that a report can bear.

use watchpost_core::facts::{EngineFacts, EngineState};
use watchpost_core::time::Timestamp;

/// The text, cut to what a fact may hold.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(EngineFacts::MAX_TEXT) {
        None => text.to_owned(),
        Some(_) => text.chars().take(EngineFacts::MAX_TEXT - 1).chain(['…']).collect(),
    }
}

/// What is told when the engine is in `state` from `now` on. That it is tried again does not end a failure: only an
/// answer does, or that somebody wants something else of it (then there is no `before`).
pub(super) fn told(before: Option<EngineFacts>, state: EngineState, reason: &str, now: Timestamp) -> EngineFacts {
    let since = match before {
        Some(before) if before.state == state => before.since,
        Some(before) if state == EngineState::Starting && has_failed(before.state) => return before,
        Some(_) | None => now,
    };
    EngineFacts {
        state,
        since,
        reason: clipped(reason),
        rules_loaded: 0,
        rules_failed: 0,
        rules_superseded: 0,
        complaints: Vec::new(),
        events_lost_since: None,
    }
}

fn has_failed(state: EngineState) -> bool {
    match state {
        EngineState::NotRunning | EngineState::StartFailed => true,
        EngineState::Starting | EngineState::Running => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_long_is_cut() {
        let whole = "ü".repeat(EngineFacts::MAX_TEXT);
        assert_eq!(clipped(&whole), whole);
        let cut = clipped(&format!("{whole}x"));
        assert!(cut.chars().count() == EngineFacts::MAX_TEXT && cut.ends_with('…'));
    }

    #[test]
    fn a_failure_is_told_until_there_is_an_answer() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let brief = |facts: &EngineFacts| (facts.state, facts.since, facts.reason.clone());
        let mut facts = told(None, EngineState::Starting, "", at(0));
        assert_eq!(brief(&facts), (EngineState::Starting, at(0), String::new()), "a first start is one");
        for (seconds, state) in [
            (1, EngineState::StartFailed),
            (2, EngineState::Starting),
            (3, EngineState::StartFailed),
            (4, EngineState::Starting),
        ] {
            facts = told(Some(facts), state, "no rule file", at(seconds));
            assert_eq!(brief(&facts), (EngineState::StartFailed, at(1), "no rule file".to_owned()), "at {seconds}");
        }
        facts = told(Some(facts), EngineState::Running, "", at(5));
        assert_eq!(brief(&facts), (EngineState::Running, at(5), String::new()));
        facts = told(Some(facts), EngineState::NotRunning, "killed", at(6));
        facts = told(Some(facts), EngineState::Starting, "", at(7));
        assert_eq!(brief(&facts), (EngineState::NotRunning, at(6), "killed".to_owned()));
        facts = told(Some(told(None, EngineState::Running, "", at(8))), EngineState::Starting, "", at(9));
        assert_eq!(brief(&facts), (EngineState::Starting, at(9), String::new()), "started anew on purpose");
    }
}
