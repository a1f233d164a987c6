//! Every release that was ever published, and its rank. The rank is a place in this list, never arithmetic on numbers.
//!
//! “Three versions behind” counts published, not pulled back, non-hotfix releases of the sensor's own generation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::OperatingSystem;
pub use crate::release::ReleaseKind;
use crate::release::terms::{SystemLine, runs_on};
use crate::restart::RestartNeed;
use crate::sync::TargetRef;
use crate::time::Timestamp;
use crate::version::Version;

/// A release as the control plane knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// How much it changes.
    pub kind: ReleaseKind,
    /// When it was published; the clock of the delayed ring starts here.
    pub published_at: Timestamp,
    /// When it was pulled back, if it was.
    pub pulled_back_at: Option<Timestamp>,
    /// The oldest version that may be updated to it directly; `None`: any.
    pub minimum_base: Option<Version>,
    /// The restart that it needs.
    #[serde(default)]
    pub restart: RestartNeed,
    /// The operating systems it runs on; none named: any.
    #[serde(default)]
    pub systems: Vec<SystemLine>,
    /// Its package; `None` for history that cannot be handed out.
    pub target: Option<TargetRef>,
}

impl Release {
    /// Whether it has been published and not pulled back at `now`.
    #[must_use]
    pub fn is_on_offer(&self, now: Timestamp) -> bool {
        self.published_at <= now && !self.is_pulled_back(now)
    }

    /// Whether it has been pulled back at `now`.
    #[must_use]
    pub fn is_pulled_back(&self, now: Timestamp) -> bool {
        self.pulled_back_at.is_some_and(|at| at <= now)
    }

    /// Whether a host with this system may have it.
    #[must_use]
    pub fn runs_on(&self, system: Option<&OperatingSystem>) -> bool {
        runs_on(&self.systems, system)
    }

    fn counts_in_rank(&self, now: Timestamp) -> bool {
        self.kind != ReleaseKind::Hotfix && self.is_on_offer(now)
    }
}

/// The releases, by version.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Catalogue {
    releases: BTreeMap<Version, Release>,
}

impl Catalogue {
    /// Adds a release; `false`, and nothing changes, when that version is in it already.
    pub fn insert(&mut self, release: Release) -> bool {
        match self.releases.entry(release.version) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(release);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Marks a release as pulled back; `false` when there is none or it was pulled back before.
    pub fn pull_back(&mut self, version: Version, at: Timestamp) -> bool {
        match self.releases.get_mut(&version) {
            Some(release) if release.pulled_back_at.is_none() => {
                release.pulled_back_at = Some(at);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The release of this version.
    #[must_use]
    pub fn get(&self, version: Version) -> Option<&Release> {
        self.releases.get(&version)
    }

    /// All releases, oldest version first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Release> {
        self.releases.values()
    }

    /// How many published releases of its generation lie above `version`. A hotfix counts as the release it fixes.
    #[must_use]
    pub fn releases_behind(&self, version: Version, now: Timestamp) -> u32 {
        let above = (std::ops::Bound::Excluded(version), std::ops::Bound::Unbounded);
        let count = self
            .releases
            .range(above)
            .take_while(|(newer, _)| newer.generation() == version.generation())
            .filter(|(_, release)| release.counts_in_rank(now))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The next instant at which a release appears or is pulled back, so that ranks may change.
    #[must_use]
    pub fn changes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let instants = self.releases.values().flat_map(|r| [Some(r.published_at), r.pulled_back_at]);
        instants.flatten().filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, kind: ReleaseKind, published: i64) -> Release {
        Release {
            version: version.parse().unwrap(),
            kind,
            published_at: Timestamp::from_millis(published),
            pulled_back_at: None,
            minimum_base: None,
            restart: RestartNeed::None,
            systems: Vec::new(),
            target: None,
        }
    }

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (version, kind, published) in [
            ("2.252.1.0", ReleaseKind::Minor, 1),
            ("2.253.1.0", ReleaseKind::Minor, 2),
            ("2.253.1.7", ReleaseKind::Hotfix, 3),
            ("2.254.1.0", ReleaseKind::Major, 4),
            ("2.255.1.0", ReleaseKind::Minor, 5),
            ("3.1.0.0", ReleaseKind::Minor, 1),
        ] {
            assert!(catalogue.insert(release(version, kind, published)));
        }
        catalogue
    }

    #[test]
    fn rank_counts_published_releases_of_the_generation_without_hotfixes() {
        let catalogue = catalogue();
        let behind =
            |version: &str, now| catalogue.releases_behind(version.parse().unwrap(), Timestamp::from_millis(now));
        assert_eq!(behind("2.255.1.0", 9), 0);
        assert_eq!(behind("2.254.1.0", 9), 1);
        assert_eq!(behind("2.253.1.7", 9), 2, "a hotfix counts as the release it fixes");
        assert_eq!(behind("2.253.1.0", 9), 2);
        assert_eq!(behind("2.252.1.0", 9), 3);
        assert_eq!(behind("2.252.1.0", 4), 2, "the last one is not published yet");
        assert_eq!(behind("2.100.0.0", 9), 4, "a version that is not in the list has a place in it all the same");
        assert_eq!(behind("3.0.0.0", 9), 1);
    }

    #[test]
    fn a_release_that_was_pulled_back_has_no_rank() {
        let mut catalogue = catalogue();
        let bad: Version = "2.254.1.0".parse().unwrap();
        assert!(catalogue.pull_back(bad, Timestamp::from_millis(8)));
        assert!(!catalogue.pull_back(bad, Timestamp::from_millis(9)), "only once");
        let oldest: Version = "2.252.1.0".parse().unwrap();
        assert_eq!(catalogue.releases_behind(oldest, Timestamp::from_millis(7)), 3);
        assert_eq!(catalogue.releases_behind(oldest, Timestamp::from_millis(8)), 2);
        assert_eq!(catalogue.changes_at(Timestamp::from_millis(4)), Some(Timestamp::from_millis(5)));
        assert_eq!(catalogue.changes_at(Timestamp::from_millis(5)), Some(Timestamp::from_millis(8)));
    }
}
