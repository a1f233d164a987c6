//! What happens to a fleet: releases, people and faults, all drawn from one seed before anything is played.

use std::collections::BTreeMap;
use std::time::Duration;

use watchpost_core::rehearsal::{Behaviour, OnUpdate};
use watchpost_core::restart::{RestartNeed, RestartSwitch};
use watchpost_core::rollout::RolloutSettings;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::member::once_in;
use crate::kill::Chance;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
/// How long a story lasts, and how much of it nothing breaks at the end.
const DAYS: u64 = 14;
const CALM_DAYS: u64 = 4;
/// A clock that is wrong is wrong by this much.
const YEAR_MILLIS: i64 = 365 * 24 * 60 * 60 * 1000;
/// A backup is at most so old when it is put back: the grace of a certificate is longer.
const OLDEST_BACKUP: u64 = 2 * DAY;

/// Releases that need the host restarted, so that restarts, updates and rule loads meet.
const RESTARTING: [Version; 2] = [Version::new(2, 256, 1, 0), Version::new(2, 259, 1, 0)];

/// The restart that a release needs.
#[must_use]
pub fn restart_of(version: Version) -> RestartNeed {
    if RESTARTING.contains(&version) { RestartNeed::Host } else { RestartNeed::None }
}

/// What is done, and to whom.
#[derive(Clone, Debug)]
pub enum Deed {
    /// The control plane ends.
    Stop,
    /// It is started again.
    Start,
    /// A backup is made.
    BackUp,
    /// The last backup is put back.
    Restore,
    /// Hosts cannot reach it until then.
    CutOff(Vec<usize>, Timestamp),
    /// A host has no power until then.
    LosePower(usize, Timestamp),
    /// A host's clock is off by so many milliseconds.
    JumpClock(usize, i64),
    /// A release is published.
    Publish(Version),
    /// A release is pulled back.
    PullBack(Version),
    /// A rollout is paused.
    Pause(Version),
    /// A rollout is resumed.
    Resume(Version),
    /// A rollout is ended.
    Abort(Version),
    /// A sensor changes its ring.
    SetDelayed(usize, bool),
    /// A certificate is to be replaced.
    OrderCertificate(usize),
    /// A rule package is published.
    PublishRules(Timestamp),
}

/// A sensor before the story begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its zone.
    pub zone: String,
    /// Whether it is in the delayed ring.
    pub delayed: bool,
}

/// A whole story.
pub struct Story {
    /// What it was drawn from.
    pub seed: u64,
    /// Its first instant.
    pub start: Timestamp,
    /// From here on nothing breaks.
    pub calm: Timestamp,
    /// Its last instant.
    pub end: Timestamp,
    /// What every sensor runs at first.
    pub first: Version,
    /// What people have set.
    pub settings: RolloutSettings,
    /// The sensors.
    pub sensors: Vec<Plan>,
    /// How hosts take the releases.
    pub behaviours: Vec<Behaviour>,
    /// What happens, in order.
    pub deeds: Vec<(Timestamp, Deed)>,
}

struct Author {
    chance: Chance,
    start: Timestamp,
    sensors: usize,
    deeds: Vec<(Timestamp, Deed)>,
}

impl Story {
    /// The story of this seed for so many sensors.
    #[must_use]
    pub fn of(seed: u64, sensors: usize) -> Self {
        let start = Timestamp::from_millis(1_767_571_200_000);
        let mut author = Author { chance: Chance::new(seed), start, sensors, deeds: Vec::new() };
        let first = Version::new(2, 254, 1, 0);
        let (settings, plans) = author.fleet();
        let releases = author.releases();
        author.faults();
        let behaviours = (0..sensors).map(|_| author.behaviour(&releases)).collect();
        let mut deeds = author.deeds;
        deeds.sort_by_key(|(at, _)| *at);
        let (calm, end) = (after(start, (DAYS - CALM_DAYS) * DAY), after(start, DAYS * DAY));
        Self { seed, start, calm, end, first, settings, sensors: plans, behaviours, deeds }
    }
}

fn after(start: Timestamp, seconds: u64) -> Timestamp {
    start + Duration::from_secs(seconds)
}

impl Author {
    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.chance.below(to - from)
    }

    fn add(&mut self, seconds: u64, deed: Deed) {
        self.deeds.push((after(self.start, seconds), deed));
    }

    fn host(&mut self) -> usize {
        usize::try_from(self.chance.below(self.sensors as u64)).unwrap_or(0)
    }

    fn fleet(&mut self) -> (RolloutSettings, Vec<Plan>) {
        let zones = 1 + self.sensors / 10;
        let sensors = (0..self.sensors)
            .map(|number| Plan { zone: format!("site/z{}", number % zones), delayed: once_in(&mut self.chance, 3) })
            .collect();
        let keep = |chance: &mut Chance| u32::try_from(1 + chance.below(6)).unwrap_or(1);
        let coverage = (0..zones).filter_map(|zone| {
            let keep = keep(&mut self.chance);
            once_in(&mut self.chance, 2).then(|| (format!("site/z{zone}"), keep))
        });
        let coverage: BTreeMap<String, u32> = coverage.collect();
        let most = 1 + self.chance.below(5);
        let max_in_flight = (!once_in(&mut self.chance, 3)).then(|| u32::try_from(most).unwrap_or(1));
        (RolloutSettings { max_in_flight, coverage, restart_for_major: RestartSwitch::On }, sensors)
    }

    fn releases(&mut self) -> Vec<Version> {
        let count = self.between(2, 5);
        let mut versions = Vec::new();
        for number in 0..count {
            let minor = 255 + u32::try_from(number).unwrap_or(0);
            let version = Version::new(2, minor, 1, 0);
            let at = self.between(HOUR, (DAYS - CALM_DAYS) * DAY - HOUR);
            versions.push((at, version));
        }
        // Later versions come later.
        let mut times: Vec<u64> = versions.iter().map(|(at, _)| *at).collect();
        times.sort_unstable();
        for (at, (_, version)) in times.iter().zip(versions.iter().copied()) {
            self.add(*at, Deed::Publish(version));
            self.people(*at, version);
        }
        for number in 0..self.between(1, 4) {
            let at = self.between(HOUR, (DAYS - CALM_DAYS) * DAY);
            self.add(at, Deed::PublishRules(after(self.start, number * DAY)));
        }
        versions.into_iter().map(|(_, version)| version).collect()
    }

    fn people(&mut self, at: u64, version: Version) {
        let later = at + self.between(60, 2 * DAY);
        match self.chance.below(8) {
            0 => self.add(later, Deed::PullBack(version)),
            1 => self.add(later, Deed::Abort(version)),
            2 | 3 => {
                self.add(later, Deed::Pause(version));
                let resumed = later + self.between(60, DAY);
                self.add(resumed, Deed::Resume(version));
            }
            4 | 5 => self.add(later + DAY, Deed::Resume(version)),
            _ => {}
        }
    }

    fn behaviour(&mut self, releases: &[Version]) -> Behaviour {
        let mut on_update = BTreeMap::new();
        for version in releases {
            let what = match self.chance.below(40) {
                0 => OnUpdate::Crash,
                1 => OnUpdate::Unhealthy,
                2 => OnUpdate::Stall,
                3 => OnUpdate::Silent,
                _ => OnUpdate::Ok,
            };
            on_update.insert(*version, what);
        }
        Behaviour::of(on_update, Duration::from_secs(self.between(5, 240)))
    }

    fn faults(&mut self) {
        let stormy = (DAYS - CALM_DAYS) * DAY;
        for _ in 0..self.between(1, 5) {
            let at = self.between(HOUR, stormy - 4 * HOUR);
            let back = at + self.between(30, 3 * HOUR);
            self.add(at, Deed::Stop);
            self.add(back, Deed::Start);
        }
        for _ in 0..self.between(0, 3) {
            let at = self.between(HOUR, stormy - OLDEST_BACKUP - HOUR);
            self.add(at, Deed::BackUp);
            let restored = at + self.between(10 * 60, OLDEST_BACKUP);
            self.add(restored, Deed::Restore);
        }
        for _ in 0..self.between(1, 5) {
            let at = self.between(HOUR, stormy - 12 * HOUR);
            let hosts = (0..self.between(1, 1 + self.sensors as u64)).map(|_| self.host()).collect();
            let until = after(self.start, at + self.between(60, 10 * HOUR));
            self.add(at, Deed::CutOff(hosts, until));
        }
        for _ in 0..self.between(1, 3 + self.sensors as u64) {
            let (at, host) = (self.between(HOUR, stormy - 12 * HOUR), self.host());
            let until = after(self.start, at + self.between(10, 8 * HOUR));
            self.add(at, Deed::LosePower(host, until));
        }
        for _ in 0..self.between(1, 5) {
            let (at, back, host) = (self.between(HOUR, stormy - 2 * HOUR), self.between(60, 2 * HOUR), self.host());
            let jump = if once_in(&mut self.chance, 2) { YEAR_MILLIS } else { -YEAR_MILLIS };
            self.add(at, Deed::JumpClock(host, jump));
            self.add(at + back, Deed::JumpClock(host, 0));
        }
        for _ in 0..self.between(0, 1 + self.sensors as u64 / 2) {
            let (at, host) = (self.between(HOUR, stormy), self.host());
            self.add(at, Deed::OrderCertificate(host));
            let (at, host, is_delayed) = (self.between(HOUR, stormy), self.host(), once_in(&mut self.chance, 2));
            self.add(at, Deed::SetDelayed(host, is_delayed));
        }
    }
}
