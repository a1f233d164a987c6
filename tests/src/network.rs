//! `cargo xtask scenario network`: a network sensor on a real cable, Suricata on it, real traffic, and every fault there is.
//!
//! A sensor and a peer stand in network namespaces of their own. Faults are real: the cable is pulled, the engine is
//! stopped, rules are broken. What is printed was read from the API, from the sensor and from the engine itself.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};

pub use crate::cable::has_own_network;
use crate::cable::{CAPTURE, Peer, engine, engine_pid, ip, rule_package, send};
use crate::site::Site;
use crate::tools::{self, binary};

/// The sensor's name.
const SENSOR: &str = "PLANT1";
/// The releases and rule packages.
const VERSION: &str = "2.254.1.0";
/// How long the engine may take to count what it saw, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Disks of the control plane and of the host, in MiB.
const DISK: u32 = 1_024;

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
    let counted = tokio::time::timeout(PATIENCE, counted(&play.site)).await.context("Suricata counts no packet")??;
    play.note("engine counted", counted);
    Ok(())
}

/// What Suricata has counted on its interface, once its capture threads have told it: they do so about once a second.
async fn counted(site: &Site) -> anyhow::Result<Value> {
    loop {
        let counted = engine(site, &json!({ "command": "iface-stat", "arguments": { "iface": CAPTURE } }))?;
        if counted["message"]["pkts"].as_u64() > Some(0) {
            return Ok(counted);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
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
    let pid = engine_pid(&play.site)?;
    tools::signal(pid, Signal::STOP);
    play.issue("engineNotRunning", true).await?;
    play.issue("engineNotRunning", false).await?;
    let again = engine_pid(&play.site)?;
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
