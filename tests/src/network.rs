//! `cargo xtask scenario network`: a network sensor on a real cable, Suricata on it, real traffic, and every fault there is.
//!
//! A sensor and a peer stand in network namespaces of their own. Faults are real: the cable is pulled, the engine is
//! stopped, rules are broken. What is printed was read from the API, from the sensor and from the engine itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::site::Site;
use crate::tools::{self, binary, checkout};

/// What to do when a tool is missing.
const INSTALL: &str = "cargo xtask setup (suricata from Debian's backports, iproute2, util-linux, python3)";
/// Set in the process that has a network of its own.
const INSIDE: &str = "WATCHPOST_TEST_HAS_OWN_NETWORK";
/// The interface that the sensor captures on.
const CAPTURE: &str = "sens0";
/// The sensor's name.
const SENSOR: &str = "PLANT1";
/// The releases and rule packages.
const VERSION: &str = "2.254.1.0";
/// Disks of the control plane and of the host, in MiB.
const DISK: u32 = 1_024;

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

fn ip(line: &str) -> anyhow::Result<()> {
    tools::run(Command::new("ip").args(line.split(' ')), INSTALL).map(drop)
}

/// The other end of the cable.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    fn new() -> anyhow::Result<Self> {
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
    fn plug_in(&self) -> anyhow::Result<()> {
        ip(&format!("link add {CAPTURE} type veth peer name plc0 netns {}", self.0.id()))?;
        ip(&format!("addr add 10.77.0.1/24 dev {CAPTURE}"))?;
        ip(&format!("link set {CAPTURE} up"))?;
        for line in ["ip addr add 10.77.0.2/24 dev plc0", "ip link set plc0 up"] {
            tools::run(&mut self.at_peer(line), INSTALL)?;
        }
        Ok(())
    }

    fn at_peer(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-n"]).args(line.split(' '));
        command
    }

    /// Starts a web server, a name server and a controller at the other end, and waits until they answer.
    fn serve(&self) -> anyhow::Result<Self> {
        let served = Self(self.at_peer(&format!("python3 {} serve", script())).spawn()?);
        while std::net::TcpStream::connect("10.77.0.2:502").is_err() {
            std::thread::yield_now();
        }
        Ok(served)
    }
}

fn script() -> String {
    checkout().join("crates/agent/tests/suricata/traffic.py").to_string_lossy().into_owned()
}

/// Real traffic from the sensor's end.
fn send(what: &str) -> anyhow::Result<()> {
    tools::run(Command::new("python3").args([&script(), what]), INSTALL).map(drop)
}

/// Asks Suricata's own control socket, past the product.
fn engine(site: &Site, command: &Value) -> anyhow::Result<Value> {
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

/// Rule packages: one that is whole, and one whose second rule no engine takes although it was announced.
fn rule_package(site: &Site, build: &str, rules: &str) -> anyhow::Result<()> {
    let stamp = build.replace([':', '-'], "").replace('Z', "").to_lowercase();
    let source = site.path(&format!("rules-{stamp}"));
    std::fs::create_dir_all(format!("{source}/suricata"))?;
    std::fs::write(format!("{source}/suricata/lab.rules"), rules)?;
    let package = site.path(&format!("watchpost-rules-{stamp}.cab"));
    let (keys, repository) = (site.path("keys"), site.path("author"));
    site.watchpost(&["rules", "build", "--from", &source, "--build", build, "--out", &package])?;
    site.watchpost(&["rules", "sign", "--keys", &keys, "--repository", &repository, &package])?;
    site.watchpost(&["rules", "publish", "--repository", &repository, &package]).map(drop)
}

const GOOD_RULES: &str = "alert http any any -> any any (msg:\"LAB test page\"; http.uri; content:\"/watchpost-test\"; \
                          sid:1900001; rev:1;)\n";
const BROKEN_RULES: &str = "alert http any any -> any any (msg:\"LAB test page\"; http.uri; content:\"/watchpost-test\"; \
                            sid:1900001; rev:2;)\nalert tcp any any -> any any (msg:\"LAB broken\"; nosuchkeyword; \
                            sid:1900002; rev:1;)\n";

/// Everything of the play: the site, the other end, and what was seen.
struct Play {
    site: Site,
    peer: Peer,
    _served: Option<Peer>,
    seen: Vec<Value>,
}

impl Play {
    /// Notes what was seen, for others to check.
    fn note(&mut self, what: &str, found: Value) {
        use std::io::stderr;
        let at = self.site.now().to_string();
        // Nobody watches when standard error is closed.
        let _ = writeln!(stderr(), "{at} {what}");
        self.seen.push(json!({ "step": what, "at": at, "found": found }));
    }

    /// Waits until an issue of this type is open, or is not.
    async fn issue(&mut self, kind: &str, is_open: bool) -> anyhow::Result<Value> {
        let path = format!("healthIssues?sensor={SENSOR}&type={kind}");
        let holds = |answer: &Value| {
            let rows = answer["value"].as_array().map(Vec::as_slice).unwrap_or_default();
            rows.iter().any(|row| row["status"] == "open") == is_open
        };
        let word = if is_open { "opens" } else { "closes" };
        let answer = self.site.until(&path, &format!("{kind} {word}"), holds).await?;
        let row = answer["value"].get(0).cloned().unwrap_or_default();
        let brief = json!({
            "id": row["id"], "issueTypeId": row["issueTypeId"], "status": row["status"], "severity": row["severity"],
            "createdDateTime": row["createdDateTime"], "lastModifiedDateTime": row["lastModifiedDateTime"],
            "description": row["description"], "additionalInformation": row["additionalInformation"],
        });
        self.note(&format!("issue {kind} {word}"), brief.clone());
        Ok(brief)
    }

    async fn sensor(&self, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.site.until(&format!("sensors/{SENSOR}"), what, holds).await
    }

    /// What the sensor itself keeps, asked with its own command.
    fn kept(&self, kind: &str) -> anyhow::Result<Vec<Value>> {
        let mut command = Command::new(binary("watchpost-sensor")?);
        command.args(["evidence", kind, "--root"]).arg(self.site.host());
        let said = tools::run(&mut command, "cargo build")?;
        said.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    fn engine_pid(&self) -> anyhow::Result<i32> {
        let folder = self.site.host().join("engine");
        let folder = folder.to_string_lossy().into_owned();
        let pids = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_engine = |pid: &i32| {
            let mut line = Vec::new();
            let read =
                std::fs::File::open(format!("/proc/{pid}/cmdline")).and_then(|mut file| file.read_to_end(&mut line));
            let line = String::from_utf8_lossy(&line);
            let is_suricata = line.split('\0').next().is_some_and(|word| word.ends_with("suricata"));
            read.is_ok() && is_suricata && line.contains(&folder) && !line.contains("\0-T")
        };
        pids.into_iter().find(is_engine).context("no Suricata of this host runs")
    }
}

fn engine_of(row: &Value) -> &Value {
    &row["facts"]["engines"]["suricata"]
}

/// Plays it all and gives the evidence.
///
/// # Errors
/// At the first thing that does not hold.
pub async fn play() -> anyhow::Result<Value> {
    let peer = Peer::new()?;
    let mut site = Site::found(DISK, DISK).await?;
    site.publish(&site.release(VERSION)?)?;
    site.set_up_host(SENSOR, &["--type", "otCloudConnected", "--site", "Plant", "--zone", "Line 1"])?;
    let mut play = Play { site, peer, _served: None, seen: Vec::new() };
    let row =
        play.sensor("it is installed and asks for settings", |row| row["deploymentStatus"] == "notConfigured").await?;
    play.note("installed, not configured", json!({ "id": row["id"], "why": row["why"]["deploymentStatus"] }));
    play.site.hold(true);
    listens(&mut play).await?;
    detects(&mut play).await?;
    loads_rules(&mut play).await?;
    cable_pulled(&mut play).await?;
    engine_stopped(&mut play).await?;
    silent(&mut play).await?;
    Ok(json!({ "scenario": "network", "sensor": row["id"], "interface": CAPTURE, "steps": play.seen }))
}

/// Settings change what the engine listens on.
async fn listens(play: &mut Play) -> anyhow::Result<()> {
    let settings = json!({ "settings": { "captureInterfaces": [CAPTURE], "homeNetworks": ["10.77.0.0/24"] } });
    let (status, answer) = play.site.patch(&format!("sensors/{SENSOR}"), &settings).await?;
    anyhow::ensure!(status == 200, "the settings were refused: {answer}");
    play.note(
        "settings changed",
        json!({ "deploymentStatus": answer["deploymentStatus"], "settings": answer["settings"] }),
    );
    let row = play.sensor("Suricata runs and the settings are in effect", |row| {
        engine_of(row)["state"] == "running" && row["deploymentStatus"] == "upToDate"
    });
    let row = row.await?;
    let asked = engine(&play.site, &json!({ "command": "iface-list" }))?;
    anyhow::ensure!(asked["message"]["ifaces"] == json!([CAPTURE]), "Suricata listens elsewhere: {asked}");
    play.note("engine listens", json!({ "engine": engine_of(&row), "ifaceList": asked }));
    Ok(())
}

/// Real HTTP, DNS and Modbus traffic: alert, device, timeline and packets are there.
async fn detects(play: &mut Play) -> anyhow::Result<()> {
    play._served = Some(play.peer.serve()?);
    for what in ["http", "dns", "modbus"] {
        send(what)?;
    }
    let is_there = |answer: &Value| {
        let rows = answer["value"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |text: &str| rows.iter().any(|row| row["event"].to_string().contains(text));
        of("modbus") && of("http")
    };
    let alerts = play.site.until(&format!("alerts?sensor={SENSOR}"), "alerts of Modbus and HTTP", is_there).await?;
    play.note("alerts", alerts["value"].clone());
    let serves = |answer: &Value| {
        let rows = answer["value"].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().any(|row| row.to_string().contains("10.77.0.2") && row.to_string().contains("modbus"))
    };
    let devices = play.site.until(&format!("devices?sensor={SENSOR}"), "the controller as a device", serves).await?;
    play.note("devices", devices["value"].clone());
    let (timeline, captures) = (play.kept("timeline")?, play.kept("captures")?);
    anyhow::ensure!(timeline.iter().any(|entry| entry["kind"] == "alert"), "the timeline has no alert: {timeline:?}");
    let kept = captures.iter().filter(|file| file["bytes"].as_u64() > Some(24)).count();
    anyhow::ensure!(kept > 0, "no packets were kept: {captures:?}");
    play.note("kept on the sensor", json!({ "timeline": timeline, "captures": captures }));
    let counted = engine(&play.site, &json!({ "command": "iface-stat", "arguments": { "iface": CAPTURE } }))?;
    anyhow::ensure!(counted["message"]["pkts"].as_u64() > Some(0), "Suricata counted no packet: {counted}");
    play.note("engine counted", counted);
    Ok(())
}

/// A package that is whole is loaded; a broken one is refused, said, and leaves the engine as it was.
async fn loads_rules(play: &mut Play) -> anyhow::Result<()> {
    let builds = ["2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z"];
    rule_package(&play.site, builds[0], GOOD_RULES)?;
    let row = play.sensor("the rule package is loaded", |row| row["rulesBuild"] == builds[0]).await?;
    let loaded = engine(&play.site, &json!({ "command": "ruleset-stats" }))?;
    play.note("rule package loaded", json!({ "engine": engine_of(&row), "rulesetStats": loaded }));
    rule_package(&play.site, builds[1], BROKEN_RULES)?;
    play.issue("rulePackageFailed", true).await?;
    let row = play.sensor("the build before is in effect", |row| row["rulesBuild"] == builds[0]).await?;
    let after = engine(&play.site, &json!({ "command": "ruleset-stats" }))?;
    anyhow::ensure!(after["message"] == loaded["message"], "the engine does not have the rules before: {after}");
    play.note("broken rule package put back", json!({ "engine": engine_of(&row), "rulesetStats": after }));
    rule_package(&play.site, builds[2], GOOD_RULES)?;
    play.sensor("the next rule package is loaded", |row| row["rulesBuild"] == builds[2]).await?;
    play.issue("rulePackageFailed", false).await?;
    Ok(())
}

/// The cable is pulled and comes back.
async fn cable_pulled(play: &mut Play) -> anyhow::Result<()> {
    ip(&format!("link del {CAPTURE}"))?;
    play.issue("captureInterfaceDown", true).await?;
    play.peer.plug_in()?;
    play.issue("captureInterfaceDown", false).await?;
    let row = play.sensor("Suricata runs again", |row| engine_of(row)["state"] == "running").await?;
    play.note("cable is back", json!({ "engine": engine_of(&row), "interfaces": row["facts"]["interfaces"] }));
    Ok(())
}

/// The engine is stopped where it stands, so that it is there and answers nothing.
async fn engine_stopped(play: &mut Play) -> anyhow::Result<()> {
    let pid = play.engine_pid()?;
    tools::signal(pid, Signal::STOP);
    play.issue("engineNotRunning", true).await?;
    play.issue("engineNotRunning", false).await?;
    let again = play.engine_pid()?;
    anyhow::ensure!(again != pid, "the engine that hung still runs");
    play.note("engine started again", json!({ "hung": pid, "runs": again }));
    Ok(())
}

/// Nothing is heard on the cable for ten minutes, then something is.
async fn silent(play: &mut Play) -> anyhow::Result<()> {
    // The peer says nothing by itself; time goes on as fast as everybody can follow.
    let since = play.site.now();
    play.site.hold(false);
    let opened = play.issue("noTrafficDetected", true).await?;
    play.site.hold(true);
    let after = play.site.now().since(since);
    play.note("silence", json!({ "seconds": after.as_secs(), "opened": opened["createdDateTime"] }));
    send("http")?;
    play.issue("noTrafficDetected", false).await?;
    Ok(())
}
