//! What a test does to the host's own process: it is stopped where it stands, ended, and started again.

use std::io::Write as _;

use anyhow::Context as _;
use rustix::process::Signal;
use watchpost_agent::host_config::HostConfig;
use watchpost_clock::Stepper;

use super::{HOST_PARTY, Site, text};
use crate::demo::{Program, processes_in};
use crate::tools;

/// The sensor's name on the clock, which the updater gives it.
const SENSOR_PARTY: &str = "host-sensor";
/// A party of the clock that waits for nothing.
const WAITS_FOR_NOTHING: i64 = i64::MAX;

impl Site {
    /// A party as it is told to the clock from outside.
    pub(super) fn waits_for_nothing(&self, party: &str) -> anyhow::Result<()> {
        let party = self.dir.path().join("clock/parties").join(party);
        Ok(std::fs::write(party, WAITS_FOR_NOTHING.to_le_bytes())?)
    }

    fn host_pid(&self) -> Option<i32> {
        self.processes.get(1).and_then(|host| i32::try_from(host.id()).ok())
    }

    /// Stops the updater where it stands: time goes on without it.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn freeze_host(&self) -> anyhow::Result<()> {
        self.host_pid().into_iter().for_each(|pid| tools::signal(pid, Signal::STOP));
        self.waits_for_nothing(HOST_PARTY)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn thaw_host(&self) -> anyhow::Result<()> {
        self.stepper.expect(HOST_PARTY)?;
        self.host_pid().into_iter().for_each(|pid| tools::signal(pid, Signal::CONT));
        Ok(())
    }

    /// Ends the updater by force. Its sensor goes on, and so does time.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn kill_host(&mut self) -> anyhow::Result<()> {
        for mut host in self.processes.drain(1..) {
            host.kill()?;
            host.wait()?;
        }
        for name in self.others.keys() {
            self.waits_for_nothing(&format!("host-{name}"))?;
        }
        self.waits_for_nothing(HOST_PARTY)
    }

    /// Whether the updater that was started last has ended by itself. Time goes on without it then.
    ///
    /// # Errors
    /// When it cannot be asked, or the clock cannot be told.
    pub fn host_has_ended(&mut self) -> anyhow::Result<bool> {
        let Some(host) = self.processes.get_mut(1) else { return Ok(true) };
        if host.try_wait()?.is_none() {
            return Ok(false);
        }
        self.kill_host().map(|()| true)
    }

    /// Ends the sensor by force; gives the pid that it had. Time goes on without it.
    ///
    /// # Errors
    /// When none runs, or the clock cannot be told.
    pub fn kill_sensor(&self) -> anyhow::Result<i32> {
        let pid = self.sensor_pid().context("no sensor runs")?;
        tools::signal(pid, Signal::KILL);
        self.waits_for_nothing(SENSOR_PARTY)?;
        Ok(pid)
    }

    /// From here on the host is started by its launcher, or its updater alone.
    pub fn launch_host(&mut self, is_launched: bool) {
        self.is_launched = is_launched;
    }

    /// Ends by force the updater that the launcher has started; whether there was one. Time goes on without it.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn kill_updater(&self) -> anyhow::Result<bool> {
        let running = processes_in(&self.host());
        let updater = running.into_iter().find(|(program, _)| *program == Program::Updater);
        updater.iter().for_each(|(_, pid)| tools::signal(*pid, Signal::KILL));
        self.waits_for_nothing(HOST_PARTY)?;
        Ok(updater.is_some())
    }

    /// Starts the updater again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_host(&mut self) -> anyhow::Result<()> {
        let root = text(&self.host());
        if self.is_launched {
            // What follows is for the updater.
            return self.start("watchpost-launcher", &["--root", &root, "--"], HOST_PARTY);
        }
        self.start("watchpost-updater", &["run", "--root", &root], HOST_PARTY)
    }

    /// Starts the updater with its resource guard, which a demo's hosts do without; gives its number.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_guarded_host(&mut self) -> anyhow::Result<u32> {
        let root = text(&self.host());
        self.start("watchpost-updater", &["run", "--root", &root, "--guard"], HOST_PARTY)?;
        Ok(self.processes.last().context("nothing was started")?.id())
    }

    /// Starts the updater again under a clock of its own, which is so far ahead of everybody else's.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_host_ahead(&mut self, by: std::time::Duration) -> anyhow::Result<()> {
        let wall = Stepper::create(&self.dir.path().join("wall"), std::time::Duration::ZERO)?;
        let folder = self.dir.path().join("clock-of-host");
        Stepper::create(&folder, self.stepper.now().since(wall.now()) + by)?.expect(HOST_PARTY)?;
        let root = text(&self.host());
        self.start_under("watchpost-updater", &["run", "--root", &root], HOST_PARTY, &text(&folder))
    }

    /// Has the updater end as its service manager does, and waits until it has. Its sensor ends with it.
    ///
    /// # Errors
    /// When none runs, or the clock cannot be told.
    pub fn stop_host(&mut self) -> anyhow::Result<()> {
        let pid = self.host_pid().context("no updater runs")?;
        tools::signal(pid, Signal::TERM);
        for mut host in self.processes.drain(1..) {
            host.wait()?;
        }
        self.waits_for_nothing(SENSOR_PARTY)?;
        self.waits_for_nothing(HOST_PARTY)
    }

    /// Lets everybody join the clock: a sensor that runs as somebody else keeps it too.
    ///
    /// # Errors
    /// When the rights cannot be changed.
    pub fn share_clock(&self) -> anyhow::Result<()> {
        let mut share = std::process::Command::new("chmod");
        tools::run(share.args(["-R", "a+rwX"]).arg(self.dir.path().join("clock")), "apt-get install coreutils")?;
        Ok(())
    }

    /// Writes a password reset into the audit log as Samba does; `mark` makes it one of its own.
    ///
    /// # Errors
    /// When the sample or the log cannot be used.
    pub fn append_event(&self, mark: &str) -> anyhow::Result<()> {
        let sample = std::fs::read_to_string(tools::checkout().join("content/samples/samba-audit.jsonl"))?;
        let reset =
            sample.lines().find(|line| line.contains("\"eventId\": 4724")).context("the sample has no reset")?;
        let mut log = std::fs::OpenOptions::new().append(true).open(self.path("audit.jsonl"))?;
        let marked = reset.replace("\"transactionId\": \"", &format!("\"transactionId\": \"{mark}"));
        Ok(writeln!(log, "{marked}")?)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway_address(&self) -> &str {
        &self.gateway
    }

    /// The words by which an updater that a test starts by itself joins the clock; until it has, time stands still.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn host_clock(&self) -> anyhow::Result<[String; 4]> {
        self.stepper.expect(HOST_PARTY)?;
        Ok(["--clock".to_owned(), self.path("clock"), "--clock-party".to_owned(), HOST_PARTY.to_owned()])
    }

    /// What a command needs to reach the API.
    #[must_use]
    pub fn access(&self) -> [(&'static str, &str); 2] {
        [("WATCHPOST_URL", &self.portal), ("WATCHPOST_TOKEN", &self.token)]
    }

    /// Writes the first access key into a file of this name; gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_access_key(&self, name: &str) -> anyhow::Result<String> {
        std::fs::write(self.path(name), &self.access_key)?;
        Ok(self.path(name))
    }

    /// The gateway's port.
    #[must_use]
    pub fn gateway_port(&self) -> u16 {
        self.gateway.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }

    /// Hosts that are set up from here on call the gateway by this name.
    pub fn call_gateway(&mut self, name: &str) {
        self.gateway = format!("{name}:{}", self.gateway_port());
    }

    /// Has the host's settings name another server; gives the one they named.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn point_host_at(&self, server: &str) -> anyhow::Result<String> {
        let mut config = HostConfig::read(&self.host())?;
        let before = std::mem::replace(&mut config.server, server.to_owned());
        config.write(&self.host())?;
        Ok(before)
    }

    /// Waits until this much time has passed here.
    pub async fn passes(&self, time: std::time::Duration) {
        let until = self.now() + time;
        while self.now() < until {
            tokio::time::sleep(super::LOOK_EVERY).await;
        }
    }
}
