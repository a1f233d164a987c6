//! Many certificates are replaced by one order: those of a few first, as a rehearsal, then the others, spread over time.
//!
//! An order is an instant, which may lie ahead; the machines of one certificate do the rest. The rest begins by a person,
//! and never after a rehearsal in which anybody failed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hash;
use crate::id::SensorId;
use crate::time::Timestamp;

/// One of so many takes part in a rehearsal, and at least one.
pub const REHEARSED_ONE_IN: usize = 100;
/// Most sensors that take part in a rehearsal.
pub const MAX_REHEARSED: usize = 1_000;
/// Most sensors that one order names one by one.
pub const MAX_NAMED: usize = 1_000;
/// How long a sensor that is connected may take. A rotation is over within two check-ins; this is many.
pub const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// The longest time that an order is spread over.
pub const MAX_SPREAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The time that an order is spread over unless somebody says otherwise.
pub const DEFAULT_SPREAD: Duration = Duration::from_secs(60 * 60);

/// Whose certificates are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selection {
    /// Everybody's who is enrolled when it is their turn.
    All,
    /// Those of these sensors.
    These(BTreeSet<SensorId>),
}

impl Selection {
    /// Whether a sensor is meant.
    #[must_use]
    pub fn contains(&self, sensor: SensorId) -> bool {
        match self {
            Self::All => true,
            Self::These(sensors) => sensors.contains(&sensor),
        }
    }
}

/// One order for many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Campaign {
    /// When it began.
    pub begun_at: Timestamp,
    /// Whose certificates are replaced.
    pub selection: Selection,
    /// Who goes first; nobody where there is no rehearsal.
    pub rehearsal: BTreeSet<SensorId>,
    /// Over how long the others are spread.
    pub spread: Duration,
    /// When the others were ordered.
    pub rest_at: Option<Timestamp>,
}

/// A sensor, as far as an order for many is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Which.
    pub id: SensorId,
    /// Its name.
    pub name: &'a str,
    /// When its certificate was first used.
    pub first_used_at: Timestamp,
    /// Whether its certificate is the only one: while the one before is kept, no other one is made.
    pub is_settled: bool,
    /// Whether it was heard of lately.
    pub is_connected: bool,
}

/// Where an order for many stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The rehearsal is under way: so many of so many have finished.
    Rehearsing {
        /// Have finished.
        done: usize,
        /// Take part.
        of: usize,
    },
    /// All of the rehearsal have finished; the others wait for a person.
    Rehearsed,
    /// Somebody did not finish in time, by name: it ends here.
    Halted(Vec<String>),
    /// The others are under way, or over.
    Running {
        /// Have finished.
        done: usize,
        /// Are meant.
        of: usize,
    },
}

/// Why an order for many was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CampaignRefused {
    /// Nobody can rehearse.
    #[error(
        "nobody can rehearse: none of these sensors is connected with a certificate that is the only one; within a week \
         of a replacement the one before is still kept"
    )]
    Nobody,
    /// A rehearsal is not over.
    #[error("a rehearsal is under way: {done} of {of} have finished; wait for it")]
    Rehearsing {
        /// Have finished.
        done: usize,
        /// Take part.
        of: usize,
    },
    /// A rehearsal has failed.
    #[error(
        "the rehearsal has failed: {0} did not finish within an hour; look at their updater's log, then begin anew"
    )]
    Halted(String),
    /// There is no rehearsal to go on from.
    #[error("no rehearsal waits to be continued; begin one")]
    NotRehearsed,
    /// The spread is too long.
    #[error("an order is spread over 30 days at most")]
    Spread,
}

impl Campaign {
    /// An order for `selection`, rehearsed on one in a hundred of `candidates` if that is wanted.
    ///
    /// # Errors
    /// When nobody can rehearse, or the spread is too long.
    pub fn begin<'a>(
        selection: Selection,
        candidates: impl Iterator<Item = Candidate<'a>>,
        is_rehearsed: bool,
        spread: Duration,
        now: Timestamp,
    ) -> Result<Self, CampaignRefused> {
        if spread > MAX_SPREAD {
            return Err(CampaignRefused::Spread);
        }
        let mut rehearsal = BTreeSet::new();
        if is_rehearsed {
            let meant: Vec<_> = candidates.filter(|candidate| selection.contains(candidate.id)).collect();
            let wanted = (meant.len() / REHEARSED_ONE_IN).clamp(1, MAX_REHEARSED);
            let fit = meant.iter().filter(|candidate| candidate.is_connected && candidate.is_settled);
            // Others each time, and nobody can choose who.
            let mut drawn: Vec<_> = fit.map(|one| (hash(&format!("{}{}", one.id, now.millis())), one.id)).collect();
            drawn.sort_unstable();
            rehearsal = drawn.into_iter().take(wanted).map(|(_, id)| id).collect();
            if rehearsal.is_empty() {
                return Err(CampaignRefused::Nobody);
            }
        }
        let rest_at = (!is_rehearsed).then_some(now);
        Ok(Self { begun_at: now, selection, rehearsal, spread, rest_at })
    }

    /// When the certificate of this sensor is to be replaced; `None`: not yet, or not at all. Those of a rehearsal at
    /// once, the others spread by a hash, as renewals are.
    #[must_use]
    pub fn ordered_at(&self, sensor: SensorId) -> Option<Timestamp> {
        if self.rehearsal.contains(&sensor) {
            return Some(self.begun_at);
        }
        let rest_at = self.rest_at.filter(|_| self.selection.contains(sensor))?;
        let spread = u64::try_from(self.spread.as_millis()).unwrap_or(u64::MAX).max(1);
        Some(rest_at + Duration::from_millis(hash(&sensor.to_string()) % spread))
    }

    /// Where it stands.
    #[must_use]
    pub fn stage<'a>(&self, candidates: impl Iterator<Item = Candidate<'a>>, now: Timestamp) -> Stage {
        let (mut done, mut of, mut late) = (0, 0, Vec::new());
        for candidate in candidates {
            let is_meant = if self.rest_at.is_some() {
                self.ordered_at(candidate.id).is_some()
            } else {
                self.rehearsal.contains(&candidate.id)
            };
            let Some(at) = self.ordered_at(candidate.id).filter(|_| is_meant) else { continue };
            of += 1;
            if candidate.first_used_at >= at {
                done += 1;
            } else if now >= at + PATIENCE {
                late.push(candidate.name.to_owned());
            }
        }
        match self.rest_at {
            Some(_) => Stage::Running { done, of },
            None if !late.is_empty() => Stage::Halted(late),
            // One that was removed meanwhile shows nothing, and is missed.
            None if done == self.rehearsal.len() => Stage::Rehearsed,
            None => Stage::Rehearsing { done, of },
        }
    }

    /// The same with the others ordered.
    ///
    /// # Errors
    /// When the rehearsal is not over, or has failed.
    pub fn go_on(self, stage: &Stage, now: Timestamp) -> Result<Self, CampaignRefused> {
        match stage {
            Stage::Rehearsed => Ok(Self { rest_at: Some(now), ..self }),
            Stage::Rehearsing { done, of } => Err(CampaignRefused::Rehearsing { done: *done, of: *of }),
            Stage::Halted(names) => Err(CampaignRefused::Halted(some(names))),
            Stage::Running { .. } => Err(CampaignRefused::NotRehearsed),
        }
    }
}

/// The first of these names, and how many more there are.
fn some(names: &[String]) -> String {
    const NAMES: usize = 20;
    let mut text = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES {
        text.push_str(&format!(" and {} more", names.len() - NAMES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_millis(1_767_571_200_000);
    const BEFORE: Timestamp = Timestamp::from_millis(1_767_571_200_000 - 86_400_000);

    fn id(number: usize) -> SensorId {
        SensorId::from_parts(T0, number as u128)
    }

    /// A fleet whose certificates were first used then.
    fn fleet(size: usize, used: impl Fn(SensorId) -> Timestamp) -> Vec<Candidate<'static>> {
        let one = |number| Candidate {
            id: id(number),
            name: "DC",
            first_used_at: used(id(number)),
            is_settled: true,
            is_connected: true,
        };
        (0..size).map(one).collect()
    }

    fn rehearsed(size: usize) -> Campaign {
        Campaign::begin(Selection::All, fleet(size, |_| BEFORE).into_iter(), true, DEFAULT_SPREAD, T0).unwrap()
    }

    #[test]
    fn one_in_a_hundred_rehearses_and_at_least_one() {
        for (size, wanted) in [(1, 1), (99, 1), (199, 1), (200, 2), (1_000, 10)] {
            assert_eq!(rehearsed(size).rehearsal.len(), wanted, "of {size}");
        }
        let mut nobody = fleet(2, |_| BEFORE);
        nobody[0].is_connected = false;
        nobody[1].is_settled = false;
        let refused = Campaign::begin(Selection::All, nobody.into_iter(), true, DEFAULT_SPREAD, T0);
        assert_eq!(refused, Err(CampaignRefused::Nobody));
        let refused = Campaign::begin(Selection::All, [].into_iter(), false, MAX_SPREAD + PATIENCE, T0);
        assert_eq!(refused, Err(CampaignRefused::Spread));
    }

    #[test]
    fn nobody_else_begins_before_all_of_the_rehearsal_have_finished_and_a_person_says_so() {
        let campaign = rehearsed(300);
        let ordered = |campaign: &Campaign| (0..300).filter(|n| campaign.ordered_at(id(*n)).is_some()).count();
        assert_eq!(ordered(&campaign), 3);
        let waiting = campaign.stage(fleet(300, |_| BEFORE).into_iter(), T0);
        assert_eq!(waiting, Stage::Rehearsing { done: 0, of: 3 });
        assert!(matches!(campaign.clone().go_on(&waiting, T0), Err(CampaignRefused::Rehearsing { .. })));
        let first = *campaign.rehearsal.first().unwrap();
        let two_left = campaign.stage(fleet(300, |id| if id == first { T0 } else { BEFORE }).into_iter(), T0);
        assert_eq!(two_left, Stage::Rehearsing { done: 1, of: 3 });
        let over = campaign.stage(fleet(300, |_| T0).into_iter(), T0);
        assert_eq!(over, Stage::Rehearsed);
        let now = T0 + PATIENCE;
        let running = campaign.go_on(&over, now).unwrap();
        assert_eq!(ordered(&running), 300);
        let spread: BTreeSet<_> = (0..300).filter_map(|n| running.ordered_at(id(n))).filter(|at| *at != T0).collect();
        assert!(spread.iter().all(|at| (now..now + DEFAULT_SPREAD).contains(at)));
        assert!(spread.len() > 250, "they are spread, not in step: {}", spread.len());
        let stage = running.stage(fleet(300, |_| T0).into_iter(), now);
        assert_eq!(stage, Stage::Running { done: 3, of: 300 });
        assert_eq!(running.go_on(&stage, now), Err(CampaignRefused::NotRehearsed));
    }

    #[test]
    fn one_that_does_not_finish_within_an_hour_halts_it() {
        let campaign = rehearsed(100);
        let fleet = || fleet(100, |_| BEFORE).into_iter();
        let second = Duration::from_secs(1);
        assert!(matches!(campaign.stage(fleet(), T0 + PATIENCE - second), Stage::Rehearsing { .. }));
        let halted = campaign.stage(fleet(), T0 + PATIENCE);
        assert_eq!(halted, Stage::Halted(vec!["DC".to_owned()]));
        assert!(matches!(campaign.go_on(&halted, T0 + PATIENCE), Err(CampaignRefused::Halted(_))));
    }

    #[test]
    fn a_selection_means_nobody_else_and_one_without_rehearsal_begins_at_once() {
        let these = Selection::These([id(3), id(7)].into());
        let all = fleet(10, |_| BEFORE);
        let campaign = Campaign::begin(these, all.into_iter(), false, Duration::ZERO, T0).unwrap();
        assert!(campaign.rehearsal.is_empty());
        let ordered: Vec<_> = (0..10).filter(|n| campaign.ordered_at(id(*n)).is_some()).collect();
        assert_eq!(ordered, [3, 7]);
        assert_eq!(campaign.ordered_at(id(3)), Some(T0));
    }
}
