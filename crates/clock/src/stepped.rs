//! A clock over several real processes that moves in steps (decision 24).
//!
//! A folder is the meeting place: `offset` says how far ahead of the system's clock everybody is, and each
//! process keeps one file in `parties/` that says until when it waits. A step never passes a process that is busy.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use watchpost_core::time::Timestamp;

/// A party that has work in hand.
pub(crate) const BUSY: i64 = 0;
/// A party that waits for no instant.
pub(crate) const NEVER: i64 = i64::MAX;

fn read(file: &File) -> io::Result<i64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(i64::from_le_bytes(bytes))
}

/// One process under a stepped clock.
pub(crate) struct Party {
    offset: File,
    wakes_at: File,
}

impl Party {
    pub(crate) fn join(dir: &Path, name: &str) -> io::Result<Self> {
        let offset = File::open(dir.join("offset"))?;
        let wakes_at =
            OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("parties").join(name))?;
        let party = Self { offset, wakes_at };
        party.report(BUSY);
        Ok(party)
    }

    pub(crate) fn now(&self) -> Timestamp {
        let ahead = read(&self.offset).unwrap_or(0);
        Timestamp::from_millis(super::wall().millis().saturating_add(ahead))
    }

    pub(crate) fn report(&self, wakes_at: i64) {
        // A clock folder that vanished means the demo is being taken down; there is nobody left to tell.
        let _ = self.wakes_at.write_all_at(&wakes_at.to_le_bytes(), 0);
    }
}

/// The hand that steps the clock of a folder.
pub struct Stepper {
    dir: PathBuf,
    offset: File,
}

impl Stepper {
    /// Makes the folder's clock, `ahead` of the system's.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn create(dir: &Path, ahead: Duration) -> io::Result<Self> {
        fs::create_dir_all(dir.join("parties"))?;
        let offset = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("offset"))?;
        offset.write_all_at(&i64::try_from(ahead.as_millis()).unwrap_or(0).to_le_bytes(), 0)?;
        Ok(Self { dir: dir.to_owned(), offset })
    }

    /// Makes `name` count as busy from now on, before its process has joined.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn expect(&self, name: &str) -> io::Result<()> {
        fs::write(self.dir.join("parties").join(name), BUSY.to_le_bytes())
    }

    /// The clock's instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(super::wall().millis().saturating_add(read(&self.offset).unwrap_or(0)))
    }

    /// The latest instant a party waits for that lies no more than `slack` after the earliest one:
    /// where one step wakes everybody who is due together. `None` while a party is busy or overdue.
    #[must_use]
    pub fn next_wake_within(&self, slack: Duration) -> Option<Timestamp> {
        let now = self.now().millis();
        let mut waits = Vec::new();
        for party in fs::read_dir(self.dir.join("parties")).ok()? {
            let wakes_at = read(&File::open(party.ok()?.path()).ok()?).ok()?;
            if wakes_at <= now {
                return None;
            }
            waits.push(wakes_at);
        }
        let earliest = waits.iter().copied().filter(|at| *at != NEVER).min().map(Timestamp::from_millis)?;
        let latest = (earliest + slack).millis();
        waits.into_iter().filter(|at| *at <= latest && *at != NEVER).max().map(Timestamp::from_millis)
    }

    /// The earliest instant any party waits for, or `None` while one of them is busy or overdue.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.next_wake_within(Duration::ZERO)
    }

    /// Steps the clock to `at`; never backwards.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn step_to(&self, at: Timestamp) -> io::Result<()> {
        let ahead = at.millis().saturating_sub(super::wall().millis());
        if ahead > read(&self.offset)? { self.offset.write_all_at(&ahead.to_le_bytes(), 0) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    #[test]
    fn a_step_waits_for_every_party_and_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let stepper = Stepper::create(dir.path(), Duration::ZERO).unwrap();
        let (a, b) = (Clock::stepped(dir.path(), "a").unwrap(), Clock::stepped(dir.path(), "b").unwrap());
        let soon = a.now() + Duration::from_secs(3600);
        a.idle_until(Some(soon));
        assert_eq!(stepper.next_wake(), None, "b is busy");
        b.idle_until(None);
        assert_eq!(stepper.next_wake(), Some(soon));
        stepper.step_to(soon).unwrap();
        assert!(a.now() >= soon && b.now() >= soon);
        assert_eq!(stepper.next_wake(), None, "a is due and has not said what it waits for next");
        stepper.step_to(soon - Duration::from_secs(1800)).unwrap();
        assert!(a.now() >= soon);
    }

    #[test]
    fn parties_due_close_together_are_woken_by_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let stepper = Stepper::create(dir.path(), Duration::ZERO).unwrap();
        let parties: Vec<Clock> = ["a", "b", "c"].map(|name| Clock::stepped(dir.path(), name).unwrap()).into();
        let start = stepper.now() + Duration::from_secs(600);
        for (party, seconds) in parties.iter().zip([0, 12, 40]) {
            party.idle_until(Some(start + Duration::from_secs(seconds)));
        }
        assert_eq!(stepper.next_wake(), Some(start));
        assert_eq!(stepper.next_wake_within(Duration::from_secs(15)), Some(start + Duration::from_secs(12)));
    }
}
