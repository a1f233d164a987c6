//! What a test does to the control plane's own process: it is ended, its console is used, and it is started again.

use std::path::Path;
use std::process::Command;

use super::{Site, text};
use crate::tools::{self, binary};

/// The control plane's name on the clock.
const SERVER_PARTY: &str = "control-plane";

impl Site {
    /// Runs a command of `watchpost` that is refused: its exit code, and what it printed on standard error.
    ///
    /// # Errors
    /// When it cannot be started, or is not refused.
    pub fn refused(&self, words: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let mut command = Command::new(binary("watchpost")?);
        command.args(words).env("WATCHPOST_URL", &self.portal).env("WATCHPOST_TOKEN", &self.token);
        let output = command.output()?;
        anyhow::ensure!(!output.status.success(), "{words:?} was done");
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Sets a host up in this folder with this access key, and starts nothing.
    ///
    /// # Errors
    /// When setup fails; says what it printed.
    pub fn set_up_with(&self, access_key: &str, name: &str, root: &Path) -> anyhow::Result<()> {
        tools::run(&mut self.setup(access_key, name, root)?, "cargo build").map(drop)
    }

    /// The command that sets a host up in this folder with this access key.
    ///
    /// # Errors
    /// When the key cannot be written down.
    pub fn setup(&self, access_key: &str, name: &str, root: &Path) -> anyhow::Result<Command> {
        let log = self.path("audit.jsonl");
        let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
        let mut setup = Command::new(binary("watchpost-updater")?);
        self.words_of_setup(&mut setup, access_key, name, &text(root))?;
        setup.args(facts);
        Ok(setup)
    }

    /// The words of `setup` after those of this command, but for the facts of the host.
    pub(super) fn words_of_setup(
        &self,
        setup: &mut Command,
        access_key: &str,
        name: &str,
        root: &str,
    ) -> anyhow::Result<()> {
        let key = self.path("access-key");
        std::fs::write(&key, access_key)?;
        setup.args(["setup", "--quiet", "--root", root, "--server", &self.gateway, "--access-key-file", &key]);
        setup.args(["--image-root", &self.path("author/metadata/1.root.json"), "--name", name]);
        Ok(())
    }

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
