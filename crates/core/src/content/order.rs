//! What a person has set about rule packages on one sensor: the mode, and what was pushed to it.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Whether a sensor takes new packages by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum RulesMode {
    /// The newest package is handed to it as soon as it is published.
    #[default]
    Automatic,
    /// It gets what a person pushes.
    Manual,
}

impl RulesMode {
    /// The word in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
        }
    }

    /// The mode with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Automatic, Self::Manual].into_iter().find(|mode| mode.word() == word)
    }
}

/// What was set on one sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct RulesOrder {
    /// Whether it takes new packages by itself.
    pub mode: RulesMode,
    /// The build that was pushed last, or that it had when it was set to manual.
    pub build: Option<Timestamp>,
    /// How often a build was pushed to it.
    pub pushes: u32,
    /// When the last of these was set.
    pub at: Option<Timestamp>,
}

impl RulesOrder {
    /// A person pushes a build.
    pub fn push(&mut self, build: Timestamp, now: Timestamp) {
        self.build = Some(build);
        self.pushes = self.pushes.saturating_add(1);
        self.at = Some(now);
    }

    /// A person sets the mode; a sensor that is set to manual stays with `offered`, what it was offered until then.
    pub fn set_mode(&mut self, mode: RulesMode, offered: Option<Timestamp>, now: Timestamp) {
        if self.mode == mode {
            return;
        }
        if mode == RulesMode::Manual {
            self.build = offered;
        }
        self.mode = mode;
        self.at = Some(now);
    }
}
