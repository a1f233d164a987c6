//! What every page has around its content: rail, colours, who is signed in, as of when.

use std::sync::LazyLock;

use super::assets;
use super::when::When;

/// Light, dark, or as the system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the system says.
    #[default]
    System,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

impl Theme {
    /// The theme of this word; anything else is the system's.
    #[must_use]
    pub fn of(word: &str) -> Self {
        Self::System.all().into_iter().find(|theme| theme.word() == word).unwrap_or_default()
    }

    /// All of them, for the switch.
    #[must_use]
    pub fn all(&self) -> [Self; 3] {
        [Self::System, Self::Light, Self::Dark]
    }

    /// Its word in the cookie and on `<html>`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The same for browsers, before any style has loaded.
    #[must_use]
    pub fn color_scheme(&self) -> &'static str {
        match self {
            Self::System => "light dark",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What its switch says.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::System => "Colours of the system",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    /// Symbol of its switch.
    #[must_use]
    pub fn icon(&self) -> &'static str {
        match self {
            Self::System => "n-system",
            Self::Light => "n-light",
            Self::Dark => "n-dark",
        }
    }
}

/// The pages of the rail. Only what exists is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Is everything watching?
    Overview,
    /// The grid and its sensors.
    Sensors,
    /// Health issues.
    Health,
    /// Rollouts and releases.
    Updates,
    /// The audit log.
    Audit,
}

/// One entry of the rail.
#[derive(Clone, Copy, Debug)]
pub struct RailItem {
    /// Its address.
    pub href: &'static str,
    /// Its name.
    pub word: &'static str,
    /// Its symbol.
    pub icon: &'static str,
    /// Whether it is the page shown.
    pub current: bool,
    /// A number beside it; none at 0.
    pub badge: usize,
}

/// What surrounds a page.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The page shown.
    pub section: Section,
    /// Light or dark.
    pub theme: Theme,
    /// As of when.
    pub now: When,
    /// Who is signed in.
    pub who: String,
    /// What every form carries back.
    pub form_token: String,
    /// Address of this page, to come back to.
    pub back: String,
    /// Open health issues, beside Health.
    pub open_issues: usize,
    /// Class of the worst of them.
    pub issue_tone: &'static str,
    /// Whether the person may read the audit log.
    pub may_audit: bool,
    /// Prefix of all asset addresses.
    pub assets: &'static str,
}

/// Prefix of all asset addresses: `/assets/<hash of them all>`.
pub static ASSETS: LazyLock<String> = LazyLock::new(|| format!("/assets/{}", assets::hash()));

impl Shell {
    /// The entries of the rail, in order.
    #[must_use]
    pub fn rail(&self) -> Vec<RailItem> {
        let item = |section, href, word, icon, badge| {
            let current = self.section == section;
            RailItem { href, word, icon, current, badge }
        };
        let mut rail = vec![
            item(Section::Overview, "/", "Overview", "n-overview", 0),
            item(Section::Sensors, "/sensors", "Sensors", "n-sensors", 0),
            item(Section::Health, "/health", "Health", "n-health", self.open_issues),
            item(Section::Updates, "/updates", "Updates", "n-updates", 0),
        ];
        if self.may_audit {
            rail.push(item(Section::Audit, "/audit", "Audit", "n-audit", 0));
        }
        rail
    }
}

/// What surrounds a page for somebody who has not signed in.
#[derive(Clone, Copy, Debug)]
pub struct BareShell {
    /// Light or dark.
    pub theme: Theme,
    /// Prefix of all asset addresses.
    pub assets: &'static str,
}
