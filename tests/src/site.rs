//! One control plane and its hosts as real processes; it and the first host on small disks that a test may fill.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use watchpost_clock::Stepper;
use watchpost_core::time::Timestamp;

use crate::tools::{self, binary};

mod clocks;
mod host;
mod server;
mod trace;
mod walls;

pub use walls::Walls;

/// Set in the process that has mounts of its own.
const INSIDE: &str = "WATCHPOST_TEST_HAS_OWN_MOUNTS";
/// The host's name on the clock.
const HOST_PARTY: &str = "host";
/// How long an effect may take to show.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of a log that a failed test shows.
const LINES: usize = 12;
/// How often the hand on the clock looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How far the clock may go in one look: 250 times as fast as the wall.
const STEP: Duration = Duration::from_millis(500);
/// Hosts that are due within this time are woken together.
const TOGETHER: Duration = Duration::from_secs(1);

/// Whether this process has mounts of its own. If not, the test `name` is run in one that has, and has to pass there.
///
/// # Errors
/// When it fails there. Where the system gives nobody mounts of their own, that is said, and the answer is no.
pub fn has_own_mounts(name: &str) -> anyhow::Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    in_own_mounts(&[name, "--exact", "--nocapture"])?;
    Ok(false)
}

/// Whether this process, a programme with these arguments, has mounts of its own. If not, it is run again with them.
///
/// # Errors
/// When it fails there, or the system gives nobody mounts of their own.
pub fn programme_has_own_mounts(arguments: &[String]) -> anyhow::Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = in_own_mounts(&arguments)?;
    print!("{said}");
    Ok(false)
}

/// Runs this very program once more, with mounts of its own; gives what it printed.
fn in_own_mounts(arguments: &[&str]) -> anyhow::Result<String> {
    let name = arguments.first().copied().unwrap_or("this programme");
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(words).arg("--mount");
        command
    };
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let mut works = ways.into_iter().filter(|way| {
        let script = "mount -t tmpfs -o size=1m tmpfs /mnt";
        unshare(way).args(["sh", "-c", script]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    let way = works.next().with_context(|| {
        format!("{name} mounts a small disk, and this system lets nobody: run it as root, or allow user namespaces")
    })?;
    let mut again = unshare(way);
    again.arg(std::env::current_exe()?).args(arguments).env(INSIDE, "1").stderr(Stdio::inherit());
    tools::run(&mut again, "apt-get install util-linux")
}

/// A file that takes what is left of a small disk, until it is dropped.
pub struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk of `folder` to its last byte.
    ///
    /// # Errors
    /// When it cannot be written for another reason than that the disk is full.
    pub fn fill(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("ballast");
        let mut file = std::fs::File::create(&path)?;
        let ballast = Self(path);
        for size in [1 << 20, 4096, 1] {
            loop {
                match file.write_all(&vec![7; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(ballast)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A control plane and a host.
pub struct Site {
    dir: tempfile::TempDir,
    stepper: Arc<Stepper>,
    portal: String,
    gateway: String,
    access_key: String,
    token: String,
    config: String,
    client: reqwest::Client,
    processes: Vec<Child>,
    /// Folders that are small disks of their own.
    disks: Vec<PathBuf>,
    /// Folders of hosts beside the first, by name.
    others: BTreeMap<String, PathBuf>,
    held: Arc<AtomicBool>,
    walls: Option<Walls>,
    trace: Option<PathBuf>,
    /// Whether the host is started by its launcher, as in the field, or its updater alone.
    is_launched: bool,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn free_addr() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

impl Site {
    /// A running control plane without hosts; it and the host to come each have so many MiB of disk.
    ///
    /// # Errors
    /// When a disk cannot be mounted or a process cannot be started.
    pub async fn found(server_mib: u32, host_mib: u32) -> anyhow::Result<Self> {
        Self::found_on(&[("server", server_mib), ("host", host_mib)]).await
    }

    /// The same on the disk that is there; for tests that fill none, and have no mounts of their own.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub async fn without_small_disks() -> anyhow::Result<Self> {
        Self::found_on(&[]).await
    }

    async fn found_on(disks: &[(&str, u32)]) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir()?;
        // The packet engine runs as somebody else, who has to pass this folder.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))?;
        let stepper = Arc::new(Stepper::create(&dir.path().join("clock"), Duration::ZERO)?);
        for name in ["server", "host"] {
            std::fs::create_dir(dir.path().join(name))?;
        }
        for (name, mib) in disks {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(dir.path().join(name));
            tools::run(&mut mount, "apt-get install mount")?;
        }
        let disks = disks.iter().map(|(name, _)| dir.path().join(name)).collect();
        let (portal, gateway) = (free_addr()?, free_addr()?);
        let mut site = Self {
            dir,
            stepper,
            portal: format!("http://{portal}"),
            gateway: gateway.clone(),
            access_key: String::new(),
            token: String::new(),
            config: String::new(),
            client: reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?,
            processes: Vec::new(),
            disks,
            others: BTreeMap::new(),
            held: Arc::default(),
            walls: None,
            trace: None,
            is_launched: false,
        };
        let (keys, repository, data) = (site.path("keys"), site.path("author"), site.path("server/data"));
        site.watchpost(&["release", "keys", "--keys", &keys, "--repository", &repository])?;
        let root = format!("{repository}/metadata/1.root.json");
        let addresses = ["--portal-addr", &portal, "--gateway-addr", &gateway, "--output", "json"];
        let made = site.watchpost(&[&["init", "--data-dir", &data, "--image-root", &root], &addresses[..]].concat())?;
        let made: Value = serde_json::from_str(&made)?;
        let field = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("init gave no {name}"));
        (site.access_key, site.token) = (field("accessKey")?, field("apiToken")?);
        let config = field("config")?;
        site.config = config;
        site.start_server()?;
        tokio::spawn(step(site.stepper.clone(), site.held.clone()));
        site.until("status", "an answer", |_| true).await?;
        Ok(site)
    }

    /// Holds the hand on the clock: time passes as it does on the wall, until it is let go.
    pub fn hold(&self, is_held: bool) {
        self.held.store(is_held, Ordering::SeqCst);
    }

    /// What time it is here.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.stepper.now()
    }

    /// A path in the folder of this site.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        text(&self.dir.path().join(name))
    }

    /// The folder of the host.
    #[must_use]
    pub fn host(&self) -> PathBuf {
        self.dir.path().join("host/root")
    }

    /// Runs a command of `watchpost` to its end.
    ///
    /// # Errors
    /// When it fails; says what it printed.
    pub fn watchpost(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(binary("watchpost")?);
        command.args(words).env("WATCHPOST_URL", &self.portal).env("WATCHPOST_TOKEN", &self.token);
        tools::run(&mut command, "cargo build")
    }

    fn start(&mut self, program: &str, words: &[&str], party: &str) -> anyhow::Result<()> {
        self.stepper.expect(party)?;
        self.start_under(program, words, party, &self.path("clock"))
    }

    fn start_under(&mut self, program: &str, words: &[&str], party: &str, clock: &str) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{party}.log")))?;
        let program = binary(program)?;
        let mut command = match (&self.walls, &self.trace) {
            (Some(walls), _) => walls.command(&program, self.dir.path())?,
            (None, Some(trace)) if party == HOST_PARTY => trace::command(&program, trace),
            (None, _) => Command::new(program),
        };
        command.args(words).args(["--clock", clock, "--clock-party", party]);
        self.processes.push(command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null()).spawn()?);
        Ok(())
    }

    /// Sets the host up and starts its updater.
    ///
    /// # Errors
    /// When setup fails or the updater cannot be started.
    pub fn bring_up_host(&mut self) -> anyhow::Result<()> {
        let log = self.path("audit.jsonl");
        std::fs::write(&log, "")?;
        let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example"];
        self.set_up_host("DC01", &[&facts[..], &["--audit-log", &log]].concat())
    }

    /// Sets up one more host, in a folder of its own, and starts its updater.
    ///
    /// # Errors
    /// When setup fails or the updater cannot be started.
    pub fn set_up_another(&mut self, name: &str) -> anyhow::Result<()> {
        let (root, log) = (self.dir.path().join(format!("host-{name}")), self.path(&format!("{name}.jsonl")));
        std::fs::write(&log, "")?;
        self.others.insert(name.to_owned(), root.clone());
        let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
        self.set_up(name, &text(&root), &format!("host-{name}"), &facts)
    }

    /// The folder of a host that was set up beside the first.
    #[must_use]
    pub fn root_of(&self, name: &str) -> PathBuf {
        self.others.get(name).cloned().unwrap_or_default()
    }

    /// Sets the host up under this name, with these facts, and starts its updater.
    ///
    /// # Errors
    /// When setup fails or the updater cannot be started.
    pub fn set_up_host(&mut self, name: &str, facts: &[&str]) -> anyhow::Result<()> {
        self.enrol_host(name, facts)?;
        self.start_host()
    }

    /// Sets the host up under this name, with these facts.
    ///
    /// # Errors
    /// When setup fails.
    pub fn enrol_host(&mut self, name: &str, facts: &[&str]) -> anyhow::Result<()> {
        self.enrol(Command::new(binary("watchpost-updater")?), name, &text(&self.host()), facts)
    }

    fn set_up(&mut self, name: &str, root: &str, party: &str, facts: &[&str]) -> anyhow::Result<()> {
        self.enrol(Command::new(binary("watchpost-updater")?), name, root, facts)?;
        self.start("watchpost-updater", &["run", "--root", root], party)
    }

    /// Sets a host up with the words of `setup` after those of this command.
    fn enrol(&self, mut setup: Command, name: &str, root: &str, facts: &[&str]) -> anyhow::Result<()> {
        self.words_of_setup(&mut setup, &self.access_key, name, root)?;
        tools::run(setup.args(facts), "cargo build").map(drop)
    }

    /// Builds and signs a release with the product's own commands; gives its package.
    ///
    /// # Errors
    /// When a command fails.
    pub fn release(&self, version: &str) -> anyhow::Result<String> {
        self.release_with(version, 64, |_| Ok(()))
    }

    /// Builds and signs a release that needs so many open files, after something was done to what it is built from.
    ///
    /// # Errors
    /// When a command fails.
    pub fn release_with(
        &self,
        version: &str,
        open_files: u32,
        change: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> anyhow::Result<String> {
        let source = self.dir.path().join(format!("source-{version}"));
        std::fs::create_dir_all(source.join("bin"))?;
        std::fs::copy(binary("watchpost-sensor")?, source.join("bin/watchpost-sensor"))?;
        let rules = tools::checkout().join("content/rules");
        for (from, to) in [(rules.clone(), "rules"), (tools::checkout().join("content/suricata"), "suricata")] {
            let mut copy = Command::new("cp");
            tools::run(copy.arg("-r").arg(from).arg(source.join(to)), "apt-get install coreutils")?;
        }
        let release = json!({
            "version": version, "kind": "minor", "notes": "", "minimumBaseVersion": null,
            "rulesExpected": std::fs::read_dir(rules)?.count(), "needs": { "fileDescriptors": open_files },
        });
        std::fs::write(source.join("release.json"), release.to_string())?;
        change(&source)?;
        let package = self.path(&format!("watchpost-sensor-{version}.cab"));
        let (keys, repository) = (self.path("keys"), self.path("author"));
        self.watchpost(&["release", "build", "--from", &text(&source), "--version", version, "--out", &package])?;
        self.watchpost(&["release", "sign", "--keys", &keys, "--repository", &repository, &package])?;
        Ok(package)
    }

    /// Publishes a package.
    ///
    /// # Errors
    /// When the control plane refuses; says why.
    pub fn publish(&self, package: &str) -> anyhow::Result<String> {
        self.watchpost(&["release", "publish", "--repository", &self.path("author"), package])
    }

    /// One GET of the API.
    ///
    /// # Errors
    /// When there is no answer, or one that is no JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/{path}", self.portal);
        Ok(self.client.get(url).bearer_auth(&self.token).send().await?.json().await?)
    }

    /// One PATCH of the API: its status and what it answered.
    ///
    /// # Errors
    /// When there is no answer, or one that is no JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/api/v1/{path}", self.portal);
        let answer = self.client.patch(url).bearer_auth(&self.token).json(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// One POST of the API: its status and what it answered.
    ///
    /// # Errors
    /// When there is no answer, or one that is no JSON.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/api/v1/{path}", self.portal);
        let answer = self.client.post(url).bearer_auth(&self.token).body(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Asks until `wanted` holds.
    ///
    /// # Errors
    /// When it never does; says what was there last, and what the host wrote down.
    pub async fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.until_within(PATIENCE, path, what, wanted).await
    }

    /// The same with more patience.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_within(
        &self,
        patience: Duration,
        path: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let asking = async {
            loop {
                if let Ok(found) = self.get(path).await {
                    last = found;
                    if wanted(&last) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let asked = tokio::time::timeout(patience, asking).await;
        let rollouts = if asked.is_err() { self.get("rollouts").await.unwrap_or_default() } else { Value::Null };
        asked.with_context(|| {
            let server = std::fs::read_to_string(self.path("control-plane.log")).unwrap_or_default();
            let (host, server) = (end(&self.host_log()), end(&server));
            format!("never: {what}; {path} is {last}; rollouts: {rollouts}; the host says:\n{host}\nthe server says:\n{server}")
        })?;
        Ok(last)
    }

    /// What the updater wrote down, and what it said while it could not write.
    #[must_use]
    pub fn host_log(&self) -> String {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        read(self.host().join("updater/updater.log")) + &read(self.dir.path().join(format!("{HOST_PARTY}.log")))
    }

    /// The pid of the host's sensor, as its lock names it.
    #[must_use]
    pub fn sensor_pid(&self) -> Option<i32> {
        locked_by(&self.host().join("state/sensor.lock"))
    }
}

/// The pid that a lock names.
fn locked_by(lock: &Path) -> Option<i32> {
    std::fs::read_to_string(lock).ok()?.trim().parse().ok()
}

impl Drop for Site {
    fn drop(&mut self) {
        let roots = self.others.values().cloned().chain([self.host()]);
        let locks: Vec<PathBuf> = roots.map(|root| root.join("state/sensor.lock")).collect();
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        for pid in locks.iter().filter_map(|lock| locked_by(lock)) {
            tools::signal(pid, Signal::KILL);
        }
        for disk in &self.disks {
            let _ = Command::new("umount").arg("--lazy").arg(disk).status();
        }
    }
}

/// The last lines of a log.
fn end(log: &str) -> String {
    let mut lines: Vec<_> = log.lines().rev().take(LINES).collect();
    lines.reverse();
    lines.join("\n")
}

/// The hand on the clock, for as long as the test lives.
pub async fn step(stepper: Arc<Stepper>, held: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if held.load(Ordering::SeqCst) {
            continue;
        }
        let Some(due) = stepper.next_wake_within(TOGETHER) else { continue };
        let now = stepper.now();
        let _ = stepper.step_to(now + due.since(now).min(STEP));
    }
}
