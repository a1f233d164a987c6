//! What is told of the engine in words keeps to a length that a report can bear.

use watchpost_core::facts::EngineFacts;

/// The text, cut to what a fact may hold.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(EngineFacts::MAX_TEXT) {
        None => text.to_owned(),
        Some(_) => text.chars().take(EngineFacts::MAX_TEXT - 1).chain(['…']).collect(),
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
}
