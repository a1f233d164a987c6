//! What a test does to the control plane's own process: it is ended, its console is used, and it is started again.

use std::process::Command;

use super::Site;
use crate::tools::{self, binary};

/// The control plane's name on the clock.
const SERVER_PARTY: &str = "control-plane";

impl Site {
    /// Starts the control plane.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_server(&mut self) -> anyhow::Result<()> {
        let config = self.config.clone();
        self.start("watchpost", &["serve", "--config", &config], SERVER_PARTY)?;
        // The server stands first among the processes, whoever was there before.
        self.processes.rotate_right(1);
        Ok(())
    }

    /// Ends the control plane, runs a command of `watchpost` at its console, and starts it again; gives what was printed.
    ///
    /// # Errors
    /// When the command fails, or the control plane does not come back.
    pub async fn at_the_console(&mut self, words: &[&str]) -> anyhow::Result<String> {
        let mut server = self.processes.remove(0);
        // One that has ended already is waited for all the same.
        let _ = server.kill();
        server.wait()?;
        self.waits_for_nothing(SERVER_PARTY)?;
        let mut command = Command::new(binary("watchpost")?);
        let said = tools::run(command.args(words).args(["--config", &self.config]), "cargo build");
        self.start_server()?;
        self.until("status", "an answer", |_| true).await?;
        said
    }
}
