//! What the demo shows on the terminal: one line per host, one per step. Plain lines where there is no terminal.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a moving line is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(120);

/// The demo's part of the terminal. Everything goes to standard error; standard output is for the result.
pub(super) struct Screen {
    lines: MultiProgress,
    hosts: BTreeMap<String, ProgressBar>,
    step: ProgressBar,
    moving: bool,
}

impl Screen {
    pub(super) fn new(quiet: bool) -> Self {
        let moving = !quiet && std::io::stderr().is_terminal();
        let lines = MultiProgress::new();
        let step = if moving { lines.add(ProgressBar::new_spinner()) } else { ProgressBar::hidden() };
        if moving {
            step.enable_steady_tick(DRAW_EVERY);
        }
        Self { lines, hosts: BTreeMap::new(), step, moving }
    }

    /// What the demo is doing.
    pub(super) fn step(&self, what: &str) {
        if self.moving {
            self.step.set_message(what.to_owned());
        } else {
            self.say(what);
        }
    }

    /// What one host is doing.
    pub(super) fn host(&mut self, name: &str, what: &str) {
        if !self.moving {
            return;
        }
        let lines = &self.lines;
        let line = self.hosts.entry(name.to_owned()).or_insert_with(|| {
            let line = lines.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {prefix:6} {msg}") {
                line.set_style(style);
            }
            line.set_prefix(name.to_owned());
            line
        });
        line.set_message(what.to_owned());
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) {
        if self.moving {
            // A terminal that cannot be written to has nobody in front of it.
            let _ = self.lines.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Stops moving and leaves what was said.
    pub(super) fn finish(&self) {
        for line in self.hosts.values() {
            line.finish();
        }
        self.step.finish_and_clear();
    }
}
