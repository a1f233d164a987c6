//! Wrong clocks: commands and hosts that live in another year, by libfaketime.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use watchpost_core::time::Timestamp;

use super::{Site, text};
use crate::tools::{self, binary};

/// What shows programs another time.
const FAKETIME: &str = "/usr/bin/faketime";

/// A program of this workspace that is shown another time: `-50y`, or an instant. Steady clocks are left alone, as they
/// are on a host whose battery is empty.
fn at(time: &[&str], program: &str) -> anyhow::Result<Command> {
    anyhow::ensure!(Path::new(FAKETIME).exists(), "faketime is missing: apt-get install faketime");
    let mut command = Command::new(FAKETIME);
    // It starts the program as a child of its own, which has to end with it.
    command.arg("--exclude-monotonic").args(time).args(["setpriv", "--pdeathsig", "KILL"]);
    command.arg(binary(program)?).env("TZ", "UTC");
    Ok(command)
}

impl Site {
    /// Runs a command of `watchpost` as if it were this instant.
    ///
    /// # Errors
    /// When it fails; says what it printed.
    pub fn watchpost_at(&self, now: Timestamp, words: &[&str]) -> anyhow::Result<String> {
        let instant = now.to_string().replace('T', " ");
        let instant = instant.get(..19).context("an instant is longer")?;
        tools::run(at(&[instant], "watchpost")?.args(words), "cargo build")
    }

    /// Sets the host up under this name and starts its updater, both with a clock that is off by as much as `offset`
    /// says, such as `-50y`. It takes no part in the clock of the others.
    ///
    /// # Errors
    /// When setup fails or the updater cannot be started.
    pub fn bring_up_host_off_by(&mut self, offset: &str, name: &str) -> anyhow::Result<()> {
        let log = self.path("audit.jsonl");
        std::fs::write(&log, "")?;
        let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
        self.enrol(at(&["-f", offset], "watchpost-updater")?, name, &text(&self.host()), &facts)?;
        let output = std::fs::File::create(self.path("host.log"))?;
        let mut run = at(&["-f", offset], "watchpost-updater")?;
        run.args(["run", "--root", &text(&self.host())]).stdin(Stdio::null());
        self.processes.push(run.stdout(output.try_clone()?).stderr(output).spawn()?);
        Ok(())
    }
}
