//! A real cable: two network namespaces, a virtual one between them, real traffic, and the engine that listens on it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::site::Site;
use crate::tools::{self, checkout};

/// What to do when a tool is missing.
const INSTALL: &str = "cargo xtask setup (suricata from Debian's backports, iproute2, util-linux, python3)";
/// Set in the process that has a network of its own.
const INSIDE: &str = "WATCHPOST_TEST_HAS_OWN_NETWORK";
/// The interface that the sensor captures on.
pub const CAPTURE: &str = "sens0";
/// A second one, on a cable of its own.
pub const SECOND: &str = "sens1";

/// Runs the program that calls this once more in a network and with mounts of its own, unless it has them already.
/// `arguments` are those of the second run. Says whether this is the second run.
///
/// # Errors
/// When a tool is missing, the system gives nobody namespaces, or the second run fails.
pub fn has_own_network(arguments: &[String]) -> anyhow::Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    anyhow::ensure!(Path::new("/usr/bin/suricata").exists(), "suricata is not installed: {INSTALL}");
    let mut again = Command::new("unshare");
    again.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    again.arg(std::env::current_exe()?).args(arguments).env(INSIDE, "1");
    let status = again.status().with_context(|| format!("unshare cannot be started: {INSTALL}"))?;
    anyhow::ensure!(status.success(), "it failed in a network of its own (which only root may have): {status}");
    Ok(false)
}

/// Runs `ip` with the words of a line.
///
/// # Errors
/// When it fails.
pub fn ip(line: &str) -> anyhow::Result<()> {
    tools::run(Command::new("ip").args(line.split(' ')), INSTALL).map(drop)
}

/// The other end of the cable, or a program that runs there.
pub struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    /// The other end, with the cable in.
    ///
    /// # Errors
    /// When the system gives no namespace.
    pub fn new() -> anyhow::Result<Self> {
        let peer = Self(Command::new("unshare").args(["--net", "sleep", "100000"]).spawn()?);
        let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let pid = peer.0.id().to_string();
        while network(&pid).is_none() || network(&pid) == network("self") {
            std::thread::yield_now();
        }
        ip("link set lo up")?;
        peer.plug_in()?;
        Ok(peer)
    }

    /// Puts the cable in.
    ///
    /// # Errors
    /// When it is in already.
    pub fn plug_in(&self) -> anyhow::Result<()> {
        self.connect(CAPTURE, "plc0", "10.77.0")
    }

    /// Puts a second cable in.
    ///
    /// # Errors
    /// When it is in already.
    pub fn plug_in_second(&self) -> anyhow::Result<()> {
        self.connect(SECOND, "plc1", "10.78.0")
    }

    fn connect(&self, here: &str, there: &str, network: &str) -> anyhow::Result<()> {
        // Neither end speaks by itself: what is silent shall be silent.
        let quiet = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
        if Path::new(quiet).exists() {
            std::fs::write(quiet, "1")?;
            tools::run(&mut self.run(&["sh", "-c", &format!("echo 1 > {quiet}")]), INSTALL)?;
        }
        ip(&format!("link add {here} type veth peer name {there} netns {}", self.0.id()))?;
        ip(&format!("addr add {network}.1/24 dev {here}"))?;
        ip(&format!("link set {here} up"))?;
        for line in [format!("ip addr add {network}.2/24 dev {there}"), format!("ip link set {there} up")] {
            tools::run(&mut self.at_peer(&line), INSTALL)?;
        }
        Ok(())
    }

    fn run(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-n"]).args(words);
        command
    }

    fn at_peer(&self, line: &str) -> Command {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Starts a web server, a name server and a controller at the other end, and waits until they answer.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn serve(&self) -> anyhow::Result<Self> {
        let served = Self(self.at_peer(&format!("python3 {} serve", script())).spawn()?);
        while std::net::TcpStream::connect("10.77.0.2:502").is_err() {
            std::thread::yield_now();
        }
        Ok(served)
    }

    /// Small packets from the other end, this many at once and a pause of so many seconds, until it is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn talk(&self, at_once: u32, pause: f64) -> anyhow::Result<Self> {
        let talk = format!(
            "import socket, time\nout = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nwhile True:\n  \
             for _ in range({at_once}):\n    out.sendto(b'x' * 1000, ('10.77.0.1', 9))\n  time.sleep({pause})\n"
        );
        Ok(Self(self.run(&["python3", "-c", &talk]).spawn()?))
    }
}

fn script() -> String {
    checkout().join("crates/agent/tests/suricata/traffic.py").to_string_lossy().into_owned()
}

/// Real traffic from the sensor's end.
///
/// # Errors
/// When nobody answers.
pub fn send(what: &str) -> anyhow::Result<()> {
    tools::run(Command::new("python3").args([&script(), what]), INSTALL).map(drop)
}

/// Asks Suricata's own control socket, past the product.
///
/// # Errors
/// When it does not answer.
pub fn engine(site: &Site, command: &Value) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(site.host().join("engine/run/own/control.sock"))
        .or_else(|_| UnixStream::connect(control_elsewhere()?))
        .context("Suricata's control socket does not answer")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    for said in [&json!({ "version": "0.2" }), command] {
        stream.write_all(format!("{said}\n").as_bytes())?;
        line.clear();
        reader.read_line(&mut line)?;
    }
    Ok(serde_json::from_str(&line)?)
}

/// Where the control socket is when the host's folder lies too deep for one.
fn control_elsewhere() -> std::io::Result<std::path::PathBuf> {
    let folders = ["/run", "/tmp"].into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let found = folders.flatten().map(|entry| entry.path().join("own/control.sock")).find(|path| path.exists());
    found.ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

/// The Suricata that runs for this host.
///
/// # Errors
/// When none does.
pub fn engine_pid(site: &Site) -> anyhow::Result<i32> {
    let folder = site.host().join("engine");
    let folder = folder.to_string_lossy().into_owned();
    let pids = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_engine = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let is_suricata = line.split('\0').next().is_some_and(|word| word.ends_with("suricata"));
        is_suricata && line.contains(&folder) && !line.contains("\0-T")
    };
    pids.into_iter().find(is_engine).context("no Suricata of this host runs")
}

/// Builds, signs and publishes a rule package for Suricata.
///
/// # Errors
/// When a command fails.
pub fn rule_package(site: &Site, build: &str, rules: &str) -> anyhow::Result<()> {
    let name = build.replace([':', '-', 'Z'], "").to_lowercase();
    let source = site.path(&format!("watchpost-rules-{name}"));
    std::fs::create_dir_all(format!("{source}/suricata"))?;
    std::fs::write(format!("{source}/suricata/lab.rules"), rules)?;
    let package = format!("{source}.cab");
    let (keys, repository) = (site.path("keys"), site.path("author"));
    site.watchpost(&["rules", "build", "--from", &source, "--build", build, "--out", &package])?;
    site.watchpost(&["rules", "sign", "--keys", &keys, "--repository", &repository, &package])?;
    site.watchpost(&["rules", "publish", "--repository", &repository, &package]).map(drop)
}
