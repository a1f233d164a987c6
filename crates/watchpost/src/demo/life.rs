//! Everyday life on the demo's hosts: a logon now and then, so that no audit log falls silent while three days pass.
//!
//! The line is one of the recording that raises no alert; it never is the reason for anything that the demo shows.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use watchpost_core::time::Timestamp;

/// How often somebody logs on, by the demo's clock; a log is silent after half an hour.
const LOGON_EVERY: Duration = Duration::from_secs(5 * 60);

/// The audit logs that life goes on in.
pub(super) struct Life {
    logs: Vec<PathBuf>,
    logon: Option<&'static str>,
    last: Timestamp,
}

impl Life {
    /// Life in these logs, with the first successful logon of this recording.
    pub(super) fn new(logs: Vec<PathBuf>, recorded: &'static str) -> Self {
        let logon = recorded.lines().find(|line| line.contains("\"eventId\": 4624"));
        Self { logs, logon, last: Timestamp::default() }
    }

    /// Lets somebody log on everywhere if it is time.
    pub(super) fn go_on(&mut self, now: Timestamp) {
        let Some(logon) = self.logon.filter(|_| now.since(self.last) >= LOGON_EVERY) else { return };
        self.last = now;
        for log in &self.logs {
            // A host that is not set up yet has no log; one whose disk is full is silent, and says so itself.
            if let Ok(mut log) = OpenOptions::new().append(true).open(log) {
                let _ = writeln!(log, "{logon}");
            }
        }
    }
}
