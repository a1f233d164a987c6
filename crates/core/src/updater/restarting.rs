//! A release that needs more than the sensor restarted (E4): staged until the control plane allows it, then switched to,
//! then the restart, then the trial. The way back never restarts anything but the sensor.

use super::Command;
use super::attempt::Wanted;
use super::machine::Machine;
use super::record::{Phase, Purpose, Release};
use crate::restart::RestartNeed;
use crate::time::Timestamp;

/// How often a restart is asked for before the release counts as failed here.
const RESTARTS_ASKED: u32 = 3;

impl Machine {
    /// The release lies verified on the disk. It is switched to at once unless it needs a restart that nobody allowed;
    /// the first release of a host has no predecessor whose files could be in use, and needs none.
    pub(super) fn prepared(&mut self, release: Release, restart: RestartNeed) {
        if !self.is_preparing(release) {
            return;
        }
        let from = self.record.committed;
        let restart = if from.is_none() { RestartNeed::None } else { restart };
        self.forget_staging();
        self.record.phase = Phase::Staged { to: release, restart };
        if !restart.is_needed() {
            self.switch_from_staged(release, restart);
        }
    }

    /// The control plane has had its say about what is staged.
    pub(super) fn consider_staged(&mut self, wanted: Wanted, to: Release, restart: RestartNeed, now: Timestamp) {
        if wanted.release != to {
            self.record.phase = Phase::Committed;
            self.has_garbage = true;
            self.begin_if_allowed(wanted, now);
        } else if wanted.may_restart {
            self.switch_from_staged(to, restart);
        }
    }

    fn switch_from_staged(&mut self, to: Release, restart: RestartNeed) {
        let purpose = Purpose::Update { restart };
        self.record.phase = Phase::Switching { from: self.record.committed, to, purpose };
        self.emit(Command::SwitchTo(to));
    }

    /// Asks for the restart once in each run of the updater, and not for ever: each is counted before it is asked for.
    pub(super) fn keep_restarting(&mut self, now: Timestamp) {
        let Phase::Restarting { from, to, restart, asked, .. } = self.record.phase.clone() else { return };
        match self.restart_asked_at {
            None if asked < RESTARTS_ASKED => {
                if let Phase::Restarting { asked, .. } = &mut self.record.phase {
                    *asked = asked.saturating_add(1);
                }
                self.restart_asked_at = Some(now);
                self.emit(Command::Restart(restart));
            }
            None => self.restart_did_not_come(from, to, restart, "it was asked for again and again", now),
            Some(at) if now >= at + self.policy.restart_within => {
                let minutes = self.policy.restart_within.as_secs() / 60;
                self.restart_did_not_come(
                    from,
                    to,
                    restart,
                    &format!("nothing had come of it after {minutes} min"),
                    now,
                );
            }
            Some(_) => {}
        }
    }

    /// What had to be restarted was: the trial begins.
    pub(super) fn restarted(&mut self, now: Timestamp) {
        let Phase::Restarting { from, to, .. } = self.record.phase else { return };
        self.restart_asked_at = None;
        self.record.phase = Phase::Trial { from, to, switched_at: now, starts: 0, failed: 0 };
    }

    pub(super) fn restart_failed(&mut self, reason: &str, now: Timestamp) {
        if let Phase::Restarting { from, to, restart, .. } = self.record.phase {
            self.restart_did_not_come(from, to, restart, reason, now);
        }
    }

    fn restart_did_not_come(
        &mut self,
        from: Option<Release>,
        to: Release,
        restart: RestartNeed,
        why: &str,
        now: Timestamp,
    ) {
        self.restart_asked_at = None;
        let reason = format!("{} was not restarted: {why}", restart.what());
        match from {
            Some(base) => self.go_back(base, to, reason, true, now),
            // Nothing to go back to: the trial shows whether it works without.
            None => self.record.phase = Phase::Trial { from, to, switched_at: now, starts: 0, failed: 0 },
        }
    }

    pub(super) fn restart_wakes_at(&self) -> Option<Timestamp> {
        self.restart_asked_at.map(|at| at + self.policy.restart_within)
    }
}
