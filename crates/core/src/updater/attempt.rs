//! The rules of one update attempt: when it begins, when it is given up, when it is committed.

use std::time::Duration;

use super::Command;
use super::machine::{Contact, Machine};
use super::record::{Failure, Phase, Purpose, Release};
use crate::sync::{Desired, TargetRef};
use crate::time::Timestamp;
use crate::version::Version;

/// The pause before a preparation is tried again; doubled with every failure.
const FIRST_STAGING_PAUSE: Duration = Duration::from_secs(5);
/// The longest such pause.
const LONGEST_STAGING_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Versions a host remembers as bad; the protocol carries no more.
const BAD_VERSIONS: usize = 256;
/// The pause before a way back that the disk refused is tried again.
const SWITCH_PAUSE: Duration = Duration::from_secs(5);

/// How far the preparation of a release has come in this run of the updater.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) enum Staging {
    /// Not begun.
    #[default]
    None,
    /// The driver is at it.
    UnderWay { percent: u8, failures: u32 },
    /// It failed for now.
    Paused { until: Timestamp, failures: u32, reason: String },
}

impl Staging {
    pub(super) fn percent(&self) -> u8 {
        match self {
            Self::None | Self::Paused { .. } => 0,
            Self::UnderWay { percent, .. } => *percent,
        }
    }
}

/// A desired version as an update target.
pub(super) struct Wanted {
    pub(super) release: Release,
    target: TargetRef,
    is_cleared: bool,
    is_retry: bool,
    pub(super) may_restart: bool,
}

impl Machine {
    /// A check-in was answered. An older desired state is refused; that the server answers counts all the same.
    pub(super) fn desired_received(&mut self, desired: Desired, now: Timestamp) {
        let since = match self.contact {
            Some(contact) if now.since(contact.last) <= self.policy.contact_gap => contact.since,
            Some(_) | None => now,
        };
        self.contact = Some(Contact { since, last: now });
        if desired.generation < self.record.generation {
            return;
        }
        // An old proof cannot serve twice: whatever the server has not cleared yet is proven anew.
        let runs = self.sensor.release().map(|release| release.version);
        if desired.generation > self.record.generation && !desired.cleared && desired.version == runs {
            self.prove_at = Some(now);
        }
        self.record.generation = desired.generation;
        self.desired = Some(desired);
    }

    fn wanted(&self) -> Option<Wanted> {
        let desired = self.desired.as_ref()?;
        let (version, target) = (desired.version?, desired.target.clone()?);
        let release = Release::new(version, &target.sha256)?;
        let (is_cleared, is_retry, may_restart) = (desired.cleared, desired.retry, desired.may_restart);
        Some(Wanted { release, target, is_cleared, is_retry, may_restart })
    }

    /// Begins, abandons or commits an update as the newest desired state says.
    pub(super) fn consider_desired(&mut self, now: Timestamp) {
        let Some(wanted) = self.wanted() else { return };
        match self.record.phase.clone() {
            Phase::Committed => self.begin_if_allowed(wanted, now),
            Phase::Preparing { to, .. } if to != wanted.release => {
                self.abandon();
                self.begin_if_allowed(wanted, now);
            }
            Phase::Staged { to, restart } => self.consider_staged(wanted, to, restart, now),
            Phase::Preparing { .. } | Phase::Switching { .. } | Phase::Restarting { .. } => {}
            Phase::Trial { from, to, .. } | Phase::AwaitingClearance { from, to, .. } if to != wanted.release => {
                self.wanted_elsewhere(wanted, from, to, now);
            }
            Phase::AwaitingClearance { to, .. } if wanted.is_cleared && self.sensor.is_ready() => self.commit(to),
            Phase::Trial { .. } | Phase::AwaitingClearance { .. } => {}
        }
    }

    /// Another version is wanted while one is on trial. Back to the old one: go. Yet another one: finish this first,
    /// unless there is nothing to go back to; then what is on trial is what the next attempt falls back on.
    fn wanted_elsewhere(&mut self, wanted: Wanted, from: Option<Release>, to: Release, now: Timestamp) {
        match from {
            Some(base) if base == wanted.release => {
                self.go_back(base, to, "the control plane withdrew it".to_owned(), false, now);
            }
            Some(_) => {}
            None => {
                self.record.committed = Some(to);
                self.record.phase = Phase::Committed;
                self.begin_if_allowed(wanted, now);
            }
        }
    }

    pub(super) fn begin_if_allowed(&mut self, wanted: Wanted, now: Timestamp) {
        if self.record.committed == Some(wanted.release) || !self.may_try(wanted.release.version, wanted.is_retry) {
            return;
        }
        self.record.bad_versions.remove(&wanted.release.version);
        self.record.last_failure.take_if(|failure| failure.version == wanted.release.version);
        self.record.phase = Phase::Preparing { to: wanted.release, target: wanted.target, since: now };
        self.staging = Staging::None;
    }

    /// A version that failed here is tried again only by an order that is newer than the failure.
    fn may_try(&self, version: Version, is_retry: bool) -> bool {
        let reverted = self.record.bad_versions.get(&version).copied();
        let failed = self.record.last_failure.as_ref().filter(|f| f.version == version).map(|f| f.generation);
        match reverted.max(failed) {
            None => true,
            Some(generation) => is_retry && self.record.generation > generation,
        }
    }

    pub(super) fn forget_staging(&mut self) {
        self.staging = Staging::None;
    }

    fn abandon(&mut self) {
        self.record.phase = Phase::Committed;
        self.staging = Staging::None;
        self.has_garbage = true;
        self.emit(Command::AbandonPrepare);
    }

    /// Asks for the preparation that the record says is due.
    pub(super) fn keep_preparing(&mut self, now: Timestamp) {
        let Phase::Preparing { to, target, .. } = self.record.phase.clone() else { return };
        let failures = match self.staging {
            Staging::None => 0,
            Staging::UnderWay { .. } => return,
            Staging::Paused { until, failures, .. } if until <= now => failures,
            Staging::Paused { .. } => return,
        };
        self.staging = Staging::UnderWay { percent: 0, failures };
        self.emit(Command::Prepare { release: to, target });
    }

    pub(super) fn prepare_progress(&mut self, release: Release, share: u8) {
        if let (true, Staging::UnderWay { percent, .. }) = (self.is_preparing(release), &mut self.staging) {
            *percent = share.min(100);
        }
    }

    pub(super) fn is_preparing(&self, release: Release) -> bool {
        matches!(&self.record.phase, Phase::Preparing { to, .. } if *to == release)
    }

    pub(super) fn prepare_failed(&mut self, release: Release, reason: String, retryable: bool, now: Timestamp) {
        if !self.is_preparing(release) {
            return;
        }
        if !retryable {
            self.not_staged(release.version, reason, now);
            return;
        }
        let failures = match self.staging {
            Staging::None => 0,
            Staging::UnderWay { failures, .. } | Staging::Paused { failures, .. } => failures,
        };
        let pause = FIRST_STAGING_PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_STAGING_PAUSE);
        self.staging = Staging::Paused { until: now + pause, failures: failures.saturating_add(1), reason };
    }

    pub(super) fn enforce_staging_deadline(&mut self, now: Timestamp) {
        let Phase::Preparing { to, since, .. } = self.record.phase else { return };
        if now < since + self.policy.staging_deadline {
            return;
        }
        let minutes = self.policy.staging_deadline.as_secs() / 60;
        let reason = match &self.staging {
            Staging::None => format!("it was not ready to switch within {minutes} min"),
            Staging::UnderWay { percent, .. } => {
                format!("it was not ready to switch within {minutes} min; {percent} % had arrived")
            }
            Staging::Paused { reason, .. } => format!("it was not ready to switch within {minutes} min: {reason}"),
        };
        self.not_staged(to.version, reason, now);
        self.emit(Command::AbandonPrepare);
    }

    /// The attempt ends without a switch: failed, not reverted, and not a bad version.
    fn not_staged(&mut self, version: Version, reason: String, now: Timestamp) {
        self.staging = Staging::None;
        self.record.phase = Phase::Committed;
        self.has_garbage = true;
        self.fail(version, false, reason, now);
    }

    fn fail(&mut self, version: Version, reverted: bool, reason: String, now: Timestamp) {
        let generation = self.record.generation;
        self.record.last_failure = Some(Failure { version, reverted, reason, at: now, generation });
    }

    pub(super) fn switched(&mut self, release: Release, now: Timestamp) {
        self.current = Some(release);
        let Phase::Switching { from, to, purpose } = self.record.phase else { return };
        if to != release {
            return;
        }
        if self.sensor.release().is_none() {
            self.sensor.stopped(now);
        }
        match purpose {
            Purpose::Update { restart } if restart.is_needed() => {
                let boot = self.boot.clone();
                self.record.phase = Phase::Restarting { from, to, restart, boot, asked: 0 };
            }
            Purpose::Update { .. } => {
                self.record.phase = Phase::Trial { from, to, switched_at: now, starts: 0, failed: 0 };
            }
            Purpose::GoBack { .. } => {
                self.record.committed = Some(to);
                self.record.phase = Phase::Committed;
                self.has_garbage = true;
            }
        }
    }

    /// The link stayed where it was. An update ends there; a way back that is blocked means staying on what runs.
    pub(super) fn switch_failed(&mut self, release: Release, reason: &str, retryable: bool, now: Timestamp) {
        let Phase::Switching { from, to, purpose } = self.record.phase else { return };
        if to != release {
            return;
        }
        if retryable && matches!(purpose, Purpose::GoBack { .. }) {
            self.switch_again_at = Some(now + SWITCH_PAUSE);
            return;
        }
        self.record.phase = Phase::Committed;
        self.has_garbage = true;
        match purpose {
            Purpose::Update { .. } => {
                self.fail(to.version, false, format!("it could not be switched to: {reason}"), now)
            }
            Purpose::GoBack { .. } => self.stay(from, reason),
        }
    }

    /// A disk that failed the way back is asked again: the release that was given up must not stay.
    pub(super) fn keep_going_back(&mut self, now: Timestamp) {
        if let (Phase::Switching { to, .. }, Some(_)) =
            (self.record.phase.clone(), self.switch_again_at.take_if(|at| *at <= now))
        {
            self.emit(Command::SwitchTo(to));
        }
    }

    /// The last resort: there is no way back, so what is there keeps running (greenboot #26).
    pub(super) fn stay(&mut self, on: Option<Release>, reason: &str) {
        self.record.committed = on;
        self.record.phase = Phase::Committed;
        if let Some(failure) = &mut self.record.last_failure {
            failure.reverted = false;
            failure.reason = format!("{}; and the host could not go back: {reason}", failure.reason);
        }
    }

    /// The local gate is closed. Without anything to go back to the host keeps trying and says so.
    pub(super) fn give_up_trial(&mut self, reason: String, now: Timestamp) {
        let (Phase::Trial { from, to, .. } | Phase::AwaitingClearance { from, to, .. }) = self.record.phase else {
            return;
        };
        match from {
            Some(base) => self.go_back(base, to, reason, true, now),
            None => self.fail(to.version, false, reason, now),
        }
    }

    /// Back to `base`: the decision is on the disk before anything is touched.
    pub(super) fn go_back(&mut self, base: Release, failed: Release, reason: String, is_bad: bool, now: Timestamp) {
        let switched_at = match self.record.phase {
            Phase::Trial { switched_at, .. } | Phase::AwaitingClearance { switched_at, .. } => switched_at,
            Phase::Committed
            | Phase::Preparing { .. }
            | Phase::Staged { .. }
            | Phase::Switching { .. }
            | Phase::Restarting { .. } => now,
        };
        self.fail(failed.version, true, reason, now);
        if is_bad {
            self.record.bad_versions.insert(failed.version, self.record.generation);
            if self.record.bad_versions.len() > BAD_VERSIONS {
                // The oldest version is the one least likely to be offered again.
                self.record.bad_versions.pop_first();
            }
        }
        self.prove_at = None;
        self.record.phase = Phase::Switching { from: Some(failed), to: base, purpose: Purpose::GoBack { switched_at } };
        self.emit(Command::SwitchTo(base));
    }

    /// No clearance in time, while the server could be asked: back. An unreachable server is a reason to wait.
    pub(super) fn enforce_clearance_deadline(&mut self, now: Timestamp) {
        let Phase::AwaitingClearance { from: Some(base), to, .. } = self.record.phase else { return };
        if self.clearance_wakes_at().is_none_or(|at| now < at) {
            return;
        }
        let is_cleared = self.wanted().is_some_and(|wanted| wanted.release == to && wanted.is_cleared);
        if is_cleared && self.sensor.is_ready() {
            return;
        }
        let minutes = self.policy.clearance_deadline.as_secs() / 60;
        let why = if self.is_proven() { "it runs and detects" } else { "it has not shown that it detects" };
        let reason = format!("it was not cleared within {minutes} min after the switch: {why}");
        let is_still_wanted = self.wanted().is_none_or(|wanted| wanted.release == to);
        self.go_back(base, to, reason, is_still_wanted, now);
    }

    /// When the wait for clearance ends: after the deadline, and after an outage not before the server had its say.
    pub(super) fn clearance_wakes_at(&self) -> Option<Timestamp> {
        let Phase::AwaitingClearance { from: Some(_), switched_at, .. } = self.record.phase else { return None };
        let contact = self.contact?;
        let due = (switched_at + self.policy.clearance_deadline).max(contact.since + self.policy.contact_gap);
        (due <= contact.last + self.policy.contact_gap).then_some(due)
    }

    pub(super) fn staging_wakes_at(&self) -> Option<Timestamp> {
        let Phase::Preparing { since, .. } = self.record.phase else { return None };
        let deadline = since + self.policy.staging_deadline;
        Some(match self.staging {
            Staging::None | Staging::UnderWay { .. } => deadline,
            Staging::Paused { until, .. } => deadline.min(until),
        })
    }

    fn commit(&mut self, release: Release) {
        self.record.previous = self.record.committed;
        self.record.committed = Some(release);
        self.record.phase = Phase::Committed;
        self.record.bad_versions.remove(&release.version);
        self.record.last_failure = None;
        self.has_garbage = true;
    }
}
