//! A sensor on a domain controller: every fault of its host, its log and its cable, one after another.

use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use watchpost_core::health::systems::SystemSupport;
use watchpost_core::policy::HealthPolicy;
use watchpost_tests::cable::{self, CAPTURE, Peer, engine_pid, has_own_network, ip};
use watchpost_tests::faults::{InPlaceOf, Watch, idle_processors};
use watchpost_tests::site::{Ballast, Site};
use watchpost_tests::tools;

use super::{DISK, MINUTE, SHORT_OF_MEMORY, VERSION};

const SENSOR: &str = "DC01";

/// Lines of the audit log, as Samba writes them.
struct Log {
    path: String,
    logon: Value,
    written: u32,
}

impl Log {
    fn of(site: &Site) -> anyhow::Result<Self> {
        let sample = std::fs::read_to_string(tools::checkout().join("content/samples/samba-audit.jsonl"))?;
        let line = sample.lines().find(|line| line.contains("\"eventId\": 4624"));
        let logon = serde_json::from_str(line.context("the sample has no logon")?)?;
        Ok(Self { path: site.path("audit.jsonl"), logon, written: 0 })
    }

    fn append(&self, line: &str) -> anyhow::Result<()> {
        let mut log = std::fs::OpenOptions::new().append(true).open(&self.path)?;
        Ok(writeln!(log, "{line}")?)
    }

    /// A logon from an address that no logon came from before.
    fn logon(&mut self) -> anyhow::Result<()> {
        self.written += 1;
        let address = format!("ipv4:10.77.{}.{}:44597", 1 + self.written / 250, 1 + self.written % 250);
        self.logon["Authentication"]["remoteAddress"] = address.into();
        self.append(&self.logon.to_string())
    }

    /// Logons, one after another, while something is waited for.
    async fn busy_until<T>(&mut self, done: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::pin!(done);
        loop {
            self.logon()?;
            tokio::select! {
                done = &mut done => return done,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    }
}

/// A name server of its own: every address has a name.
fn serve_names() -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:53")?;
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let mut answer = query[..length].to_vec();
            // An answer without an error, one record: the name of the question, PTR, IN, a minute, “host.lab.”
            (answer[2], answer[3], answer[7]) = (0x85, 0x80, 1);
            answer.truncate(12 + answer[12..].iter().position(|byte| *byte == 0).unwrap_or_default() + 5);
            (answer[8], answer[9], answer[10], answer[11]) = (0, 0, 0, 0);
            answer.extend(b"\xc0\x0c\0\x0c\0\x01\0\0\0\x3c\0\x0a\x04host\x03lab\0");
            if socket.send_to(&answer, from).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Settles in as the host comes up: what is wrong from the start is open at the first check-in.
async fn wrong_from_the_start(watch: &mut Watch) -> anyhow::Result<()> {
    let old = "ID=debian\nVERSION_ID=\"10\"\nPRETTY_NAME=\"Debian GNU/Linux 10 (buster)\"\n";
    let site = &mut watch.site;
    let (log, not_a_folder) = (site.path("audit.jsonl"), site.path("not-a-folder"));
    for file in [&log, &not_a_folder] {
        std::fs::write(file, "")?;
    }
    let system = InPlaceOf::text(site, old, "/etc/os-release")?;
    let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
    let logs = format!("{not_a_folder}/logs");
    let fault = site.now();
    site.set_up_host(SENSOR, &[&facts[..], &["--logs-path", &logs]].concat())?;
    watch.opens("operatingSystemUnsupported", fault).await?;
    watch.opens("customLogPathFailed", fault).await?;
    watch.sensor("the release is proven", |row| row["deploymentStatus"] == "upToDate").await?;
    drop(system);
    std::fs::remove_file(&not_a_folder)?;
    std::fs::create_dir(&not_a_folder)?;
    // A host that was upgraded has been restarted, too.
    let fault = watch.site.now();
    let next = soon_unsupported(&watch.site)?;
    restart(watch)?;
    watch.closes("operatingSystemUnsupported").await?;
    if next.is_some() {
        watch.opens("operatingSystemSoonUnsupported", fault).await?;
        drop(next);
        restart(watch)?;
        watch.closes("operatingSystemSoonUnsupported").await?;
    }
    Ok(())
}

fn restart(watch: &mut Watch) -> anyhow::Result<()> {
    watch.site.kill_host()?;
    watch.site.start_host()
}

/// A system whose support is about to end, if there is one at this time of the year.
fn soon_unsupported(site: &Site) -> anyhow::Result<Option<InPlaceOf>> {
    let (policy, now) = (HealthPolicy::default(), site.now());
    let is_near = |line: &&SystemSupport| line.ends - policy.system_ends_within <= now && now < line.ends;
    let Some(line) = policy.systems.iter().find(is_near) else { return Ok(None) };
    let text = format!("ID={}\nVERSION_ID=\"{}\"\n", line.id, line.version);
    InPlaceOf::text(site, &text, "/etc/os-release").map(Some)
}

/// The engine ends with the sensor, however that ends; the next sensor captures with the settings it has kept.
async fn sensor_killed(watch: &Watch) -> anyhow::Result<()> {
    let before = watch.capture(&[CAPTURE]).await?;
    watch.site.hold(true);
    let engine = engine_pid(&watch.site)?;
    let sensor = watch.site.kill_sensor()?;
    let is_gone = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with('Z'))
    };
    until("Suricata ends with the sensor that started it", || is_gone(engine)).await?;
    // The next one is started after a pause.
    watch.site.hold(false);
    watch.closes("customLogPathFailed").await?;
    watch.site.hold(true);
    let again = watch.sensor("another sensor captures", |row| {
        row["facts"]["engines"]["suricata"]["state"] == "running" && watch.site.sensor_pid() != Some(sensor)
    });
    let again = again.await?;
    anyhow::ensure!(engine_pid(&watch.site)? != engine, "the engine of the sensor that was killed still runs");
    anyhow::ensure!(again["settings"] == before["settings"], "{} is not {}", again["settings"], before["settings"]);
    Ok(())
}

/// The cable is switched off, pulled, and put in again.
async fn cable(watch: &Watch, peer: &Peer) -> anyhow::Result<()> {
    let fault = watch.site.now();
    ip(&format!("link set {CAPTURE} down"))?;
    watch.opens_at_once("captureInterfacesUnavailable", fault).await?;
    ip(&format!("link set {CAPTURE} up"))?;
    watch.closes("captureInterfacesUnavailable").await?;
    let fault = watch.site.now();
    ip(&format!("link del {CAPTURE}"))?;
    watch.opens_at_once("captureInterfacesUnavailable", fault).await?;
    peer.plug_in()?;
    watch.closes("captureInterfacesUnavailable").await?;
    watch.listens().await?;
    Ok(())
}

/// The engine is killed, is started again, and then cannot be started any more; nor can settings be applied.
async fn engine(watch: &Watch) -> anyhow::Result<()> {
    let fault = watch.site.now();
    tools::signal(engine_pid(&watch.site)?, Signal::KILL);
    watch.opens_at_once("engineNotRunning", fault).await?;
    watch.closes("engineNotRunning").await?;
    watch.listens().await?;
    let fault = watch.site.now();
    let broken = InPlaceOf::mount("/bin/false", "/usr/bin/suricata")?;
    tools::signal(engine_pid(&watch.site)?, Signal::KILL);
    watch.opens("engineStartFailed", fault).await?;
    let settings = json!({ "settings": { "captureInterfaces": [CAPTURE], "homeNetworks": ["10.77.0.0/16"] } });
    let (status, answer) = watch.site.patch(&format!("sensors/{SENSOR}"), &settings).await?;
    anyhow::ensure!(status == 200, "the settings were refused at once: {answer}");
    watch.opens("settingsRefused", fault).await?;
    drop(broken);
    watch.closes("engineStartFailed").await?;
    watch.site.hold(false);
    watch.closes("settingsRefused").await?;
    watch.site.hold(true);
    watch.listens().await?;
    Ok(())
}

/// More packets than an engine that stands still for a moment can take: the kernel drops them.
async fn packets_dropped(watch: &Watch, peer: &Peer) -> anyhow::Result<()> {
    let (engine, fault) = (engine_pid(&watch.site)?, watch.site.now());
    let flood = peer.talk(1_000, 0.0)?;
    until("Suricata counts the flood", || counted(&watch.site).is_ok_and(|packets| packets > 1_000)).await?;
    tools::signal(engine, Signal::STOP);
    // Shorter than the sensor waits for an answer of its engine.
    let before = received()?;
    let overflown = until("its ring is full", || received().is_ok_and(|now| now > before + 200_000)).await;
    tools::signal(engine, Signal::CONT);
    overflown?;
    watch.opens("someNetworkTrafficNotAnalyzed", fault).await?;
    drop(flood);
    watch.closes("someNetworkTrafficNotAnalyzed").await
}

/// Packets that Suricata has counted.
fn counted(site: &Site) -> anyhow::Result<u64> {
    let answer = cable::engine(site, &json!({ "command": "iface-stat", "arguments": { "iface": CAPTURE } }))?;
    answer["message"]["pkts"].as_u64().context("Suricata does not say")
}

/// Packets that came in over the cable, as the kernel counts them.
fn received() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(CAPTURE)?.strip_prefix(':'));
    let packets = line.and_then(|counts| counts.split_whitespace().nth(1));
    Ok(packets.context("no such interface")?.parse()?)
}

/// Waits for a few seconds at most until this holds.
async fn until(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), waiting).await.with_context(|| format!("never: {what}"))
}

/// The log is set aside, and what is in its place is none; then it comes back.
async fn log_gone(watch: &Watch, log: &Log) -> anyhow::Result<()> {
    let aside = format!("{}.aside", log.path);
    std::fs::rename(&log.path, &aside)?;
    let fault = watch.site.now();
    watch.opens_at_once("auditLogUnreadable", fault).await?;
    std::fs::rename(&aside, &log.path)?;
    watch.closes("auditLogUnreadable").await?;
    let fault = watch.site.now();
    std::fs::rename(&log.path, &aside)?;
    std::fs::create_dir(&log.path)?;
    watch.opens_at_once("auditLogUnreadable", fault).await?;
    std::fs::remove_dir(&log.path)?;
    std::fs::rename(&aside, &log.path)?;
    watch.closes("auditLogUnreadable").await
}

/// Nothing on the cable, names that nobody knows, lines that are none; then a log that is silent.
async fn silence(watch: &Watch, peer: &Peer, log: &mut Log) -> anyhow::Result<()> {
    let resolver = InPlaceOf::text(&watch.site, "nameserver 127.0.0.1\noptions attempts:1\n", "/etc/resolv.conf")?;
    log.append("this is no audit event")?;
    let fault = watch.site.now();
    watch.opens("someEventsNotAnalyzed", fault).await?;
    watch.site.hold(false);
    log.busy_until(watch.opens("lowNameResolutionSuccess", fault)).await?;
    serve_names()?;
    log.busy_until(watch.closes("lowNameResolutionSuccess")).await?;
    drop(resolver);
    watch.opens_after("noTrafficFromDomainController", fault, 10 * MINUTE).await?;
    let talk = peer.talk(1, 0.05)?;
    watch.closes("noTrafficFromDomainController").await?;
    log.logon()?;
    let since = watch.site.now();
    watch.opens_after("auditLogSilent", since, 30 * MINUTE).await?;
    log.logon()?;
    watch.closes("auditLogSilent").await?;
    watch.closes("someEventsNotAnalyzed").await?;
    drop(talk);
    watch.site.hold(true);
    Ok(())
}

/// The host runs short of memory, of disk, and of the right time. Processor time is not among it: five busy minutes are
/// counted by the steady clock, which no test can hurry.
async fn resources(watch: &mut Watch, log: &mut Log) -> anyhow::Result<()> {
    watch.site.hold(false);
    let fault = watch.site.now();
    let memory = InPlaceOf::text(&watch.site, SHORT_OF_MEMORY, "/proc/meminfo")?;
    watch.opens("memoryLimitReached", fault).await?;
    drop(memory);
    watch.closes("memoryLimitReached").await?;
    let fault = watch.site.now();
    let ballast = Ballast::fill(&watch.site.host())?;
    watch.opens("diskLow", fault).await?;
    log.busy_until(watch.opens("evidenceNotWritten", fault)).await?;
    drop(ballast);
    log.busy_until(watch.closes("evidenceNotWritten")).await?;
    watch.closes("diskLow").await?;
    watch.site.hold(true);
    watch.site.kill_host()?;
    let fault = watch.site.now();
    watch.site.start_host_ahead(60 * MINUTE)?;
    watch.opens("clockSkew", fault).await?;
    restart(watch)?;
    watch.site.hold(false);
    watch.closes("clockSkew").await
}

/// The program of the sensor cannot be run any more.
async fn cannot_start(watch: &Watch) -> anyhow::Result<()> {
    watch.site.hold(false);
    let program = watch.site.host().join("current/bin/watchpost-sensor");
    let mode = |mode| std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode));
    mode(0o644)?;
    let fault = watch.site.now();
    watch.site.kill_sensor()?;
    watch.opens_after("sensorServiceFailedToStart", fault, 30 * MINUTE).await?;
    mode(0o755)?;
    watch.listens().await?;
    watch.closes("sensorServiceFailedToStart").await
}

/// The host falls silent, and an update fails.
async fn contact(watch: &Watch) -> anyhow::Result<()> {
    watch.sensor("it checks in", |row| row["deploymentStatus"] == "upToDate").await?;
    let since = watch.site.now();
    watch.site.freeze_host()?;
    watch.opens_after("sensorStoppedCommunicating", since, 5 * MINUTE).await?;
    watch.site.thaw_host()?;
    watch.closes("sensorStoppedCommunicating").await?;
    let fault = watch.site.now();
    watch.site.publish(&watch.site.release_with("2.255.1.0", 8_192, |_| Ok(()))?)?;
    watch.opens("sensorOutdated", fault).await?;
    watch.site.publish(&watch.site.release("2.256.1.0")?)?;
    watch.closes("sensorOutdated").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_domain_controllers_sensor_opens_its_issue_and_its_end_closes_it() -> anyhow::Result<()> {
    let name = "health::sensor::every_fault_of_a_domain_controllers_sensor_opens_its_issue_and_its_end_closes_it";
    if !has_own_network(&[name, "--exact", "--nocapture"].map(str::to_owned))? {
        return Ok(());
    }
    // A release that needs more is refused.
    let mut limit = Command::new("prlimit");
    tools::run(limit.args(["--nofile=4096:4096", "--pid", &std::process::id().to_string()]), "util-linux")?;
    let peer = Peer::new()?;
    let mut watch = Watch::new(Site::found(DISK, DISK).await?, SENSOR);
    let mut log = Log::of(&watch.site)?;
    let _idle = idle_processors(&watch.site)?;
    watch.site.publish(&watch.site.release(VERSION)?)?;
    wrong_from_the_start(&mut watch).await?;
    sensor_killed(&watch).await?;
    cable(&watch, &peer).await?;
    engine(&watch).await?;
    packets_dropped(&watch, &peer).await?;
    log_gone(&watch, &log).await?;
    silence(&watch, &peer, &mut log).await?;
    resources(&mut watch, &mut log).await?;
    cannot_start(&watch).await?;
    contact(&watch).await
}
