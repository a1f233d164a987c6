//! What this host tells of its way to the server: the last check by hand, or a trouble that lasted.
//!
//! A server that starts again is no trouble: every host of a fleet would tell of it at once.

use std::path::PathBuf;
use std::time::Duration;

use watchpost_core::connection::{ConnectionCheck, Occasion};
use watchpost_core::time::Timestamp;

use super::error::in_one_line;
use super::layout::Layout;
use crate::connection_check::judge_error;
use crate::host::disk::read_limited;
use crate::transport::TransportError;

/// How long the host must have been unable to check in before that is told: as long as it takes to be called silent.
const TROUBLE_AFTER: Duration = Duration::from_secs(5 * 60);
/// The largest note of a check by hand.
const NOTE_BYTES: u64 = 4 * 1024;

/// The last look, and a trouble that is under way.
pub(super) struct ConnectionWatch {
    note: PathBuf,
    told: Option<ConnectionCheck>,
    trouble: Option<ConnectionCheck>,
}

impl ConnectionWatch {
    /// For the host with this layout.
    pub(super) fn new(layout: &Layout) -> Self {
        Self { note: layout.connection_note(), told: None, trouble: None }
    }

    /// What there is to tell.
    pub(super) fn told(&self) -> Option<ConnectionCheck> {
        self.told.clone()
    }

    /// Looks for a check by hand that is newer than what is told.
    pub(super) fn look(&mut self) {
        let note = read_limited(&self.note, NOTE_BYTES).ok().flatten();
        let by_hand: Option<ConnectionCheck> = note.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(check) = by_hand.filter(|check| self.told.as_ref().is_none_or(|told| check.at > told.at)) {
            self.told = Some(check.cleaned());
        }
    }

    /// A check-in failed.
    pub(super) fn failed(&mut self, error: &TransportError, now: Timestamp) {
        let began = self.trouble.as_ref().map_or(now, |trouble| trouble.at);
        self.trouble = Some(ConnectionCheck::new(judge_error(error), began, Occasion::Trouble, &in_one_line(error)));
    }

    /// The server answered. A trouble that lasted is told from now on.
    pub(super) fn reached(&mut self, now: Timestamp) {
        let lasted = |trouble: &ConnectionCheck| now.since(trouble.at) >= TROUBLE_AFTER;
        if let Some(trouble) = self.trouble.take().filter(lasted) {
            self.told = Some(trouble);
        }
    }
}

#[cfg(test)]
mod tests {
    use watchpost_core::connection::Verdict;

    use super::*;

    const T0: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn silent() -> TransportError {
        TransportError::Timeout { doing: "checking in", limit: Duration::from_secs(30) }
    }

    #[test]
    fn a_trouble_is_told_once_it_lasted_five_minutes_and_a_check_by_hand_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir_all(layout.updater()).unwrap();
        let mut watch = ConnectionWatch::new(&layout);
        watch.failed(&silent(), T0);
        watch.reached(T0 + TROUBLE_AFTER - Duration::from_secs(1));
        assert_eq!(watch.told(), None, "a server that starts again is no trouble");
        watch.failed(&silent(), T0);
        watch.failed(&silent(), T0 + Duration::from_secs(200));
        watch.reached(T0 + TROUBLE_AFTER);
        let told = watch.told().unwrap();
        assert_eq!((told.verdict, told.at, told.occasion), (Verdict::NoAnswer, T0, Occasion::Trouble));
        let by_hand = ConnectionCheck::new(Verdict::Ok, T0 + TROUBLE_AFTER, Occasion::ByHand, "fine");
        std::fs::write(layout.connection_note(), serde_json::to_vec(&by_hand).unwrap()).unwrap();
        watch.look();
        assert_eq!(watch.told(), Some(by_hand));
        std::fs::write(layout.connection_note(), b"torn").unwrap();
        watch.look();
        assert!(watch.told().is_some());
    }
}
