//! A network sensor on two cables: every message of the documents that a Linux host can cause.

use std::io::Write as _;
use std::path::Path;

use watchpost_tests::cable::{CAPTURE, Peer, SECOND, has_own_network, ip, rule_package};
use watchpost_tests::faults::{InPlaceOf, Watch, idle_processors};
use watchpost_tests::site::Site;

use super::{DISK, MINUTE, SHORT_OF_MEMORY, VERSION};

const SENSOR: &str = "PLANT1";
/// A rule as engines take it, and one that none does.
const RULES: [&str; 2] = [
    "alert tcp any any -> any 502 (msg:\"a controller is spoken to\"; flow:established,to_server; sid:1900001; rev:1;)",
    "alert tcp any any -> any any (msg:\"nobody knows this word\"; nosuchkeyword; sid:1900002; rev:1;)",
];

/// A cable is pulled while the other one goes on; both speak, one, none.
async fn cables(watch: &Watch, peer: &Peer) -> anyhow::Result<()> {
    watch.site.hold(true);
    let fault = watch.site.now();
    ip(&format!("link del {CAPTURE}"))?;
    watch.opens_at_once("captureInterfaceDown", fault).await?;
    peer.plug_in()?;
    watch.closes("captureInterfaceDown").await?;
    watch.listens().await?;
    let talk = peer.talk(1, 0.05)?;
    let since = watch.site.now();
    watch.site.hold(false);
    watch.opens_after("interfaceSilent", since, 10 * MINUTE).await?;
    anyhow::ensure!(!watch.is_open("noTrafficDetected").await?, "one of the two is not silent");
    drop(talk);
    let since = watch.site.now();
    watch.opens_after("noTrafficDetected", since, 10 * MINUTE).await?;
    watch.closes("interfaceSilent").await?;
    let talk = peer.talk(1, 0.05)?;
    watch.closes("noTrafficDetected").await?;
    drop(talk);
    Ok(())
}

/// A rule package with a rule that no engine takes is put back, until another one is loaded.
async fn rule_packages(watch: &Watch) -> anyhow::Result<()> {
    let builds = ["2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z"];
    rule_package(&watch.site, builds[0], RULES[0])?;
    watch.sensor("the rule package is loaded", |row| row["rulesBuild"] == builds[0]).await?;
    let fault = watch.site.now();
    rule_package(&watch.site, builds[1], &RULES.join("\n"))?;
    watch.opens("rulePackageFailed", fault).await?;
    watch.sensor("the one before is in effect", |row| row["rulesBuild"] == builds[0]).await?;
    rule_package(&watch.site, builds[2], RULES[0])?;
    watch.sensor("the next one is loaded", |row| row["rulesBuild"] == builds[2]).await?;
    watch.closes("rulePackageFailed").await
}

/// The host runs short of memory.
async fn overloaded(watch: &Watch) -> anyhow::Result<()> {
    let fault = watch.site.now();
    let memory = InPlaceOf::text(&watch.site, SHORT_OF_MEMORY, "/proc/meminfo")?;
    watch.opens("sensorOverloaded", fault).await?;
    drop(memory);
    watch.closes("sensorOverloaded").await
}

/// The host falls silent for long, then again and again.
async fn contact(watch: &Watch) -> anyhow::Result<()> {
    watch.site.freeze_host()?;
    let since = watch.site.now();
    watch.opens_after("networkDisconnected", since, 5 * MINUTE).await?;
    watch.site.thaw_host()?;
    watch.closes("networkDisconnected").await?;
    for _ in 0..2 {
        watch.site.freeze_host()?;
        watch.site.passes(2 * MINUTE).await;
        watch.site.thaw_host()?;
        let since = watch.site.now();
        let is_heard = |row: &serde_json::Value| {
            row["lastSeenDateTime"]
                .as_str()
                .and_then(|at| at.parse().ok())
                .is_some_and(|at: super::Timestamp| at > since)
        };
        watch.sensor("it is back", is_heard).await?;
    }
    watch.opens("unstableTraffic", since).await?;
    watch.closes("unstableTraffic").await
}

/// Three updates: one whose package was tampered with, one whose rules are broken, and one that is whole.
async fn updates(watch: &Watch) -> anyhow::Result<()> {
    let fault = watch.site.now();
    let package = watch.site.release("2.255.1.0")?;
    watch.site.publish(&package)?;
    tamper(Path::new(&watch.site.path("server/data")), &std::fs::read(&package)?)?;
    watch.opens("updateSendFailed", fault).await?;
    let fault = watch.site.now();
    let broken = watch.site.release_with("2.256.1.0", 64, |source| {
        // Without this one no canary is ever detected.
        std::fs::remove_file(source.join("rules/watchpost-canary.yml"))?;
        let mut rules = std::fs::OpenOptions::new().append(true).open(source.join("suricata/watchpost.rules"))?;
        writeln!(rules, "{}", RULES[1])
    })?;
    watch.site.publish(&broken)?;
    watch.opens("rulesFailed", fault).await?;
    watch.opens("updateInstallFailed", fault).await?;
    watch.closes("updateSendFailed").await?;
    watch.closes("rulesFailed").await?;
    watch.site.publish(&watch.site.release("2.257.1.0")?)?;
    watch.closes("updateInstallFailed").await
}

/// Changes one byte in the middle of every copy of a package on the control plane's disk.
fn tamper(folder: &Path, package: &[u8]) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            tamper(&entry.path(), package)?;
        } else if entry.metadata()?.len() == package.len() as u64 {
            let mut changed = package.to_vec();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            std::fs::write(entry.path(), changed)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_network_sensor_opens_its_message_and_its_end_closes_it() -> anyhow::Result<()> {
    let name = "health::network::every_fault_of_a_network_sensor_opens_its_message_and_its_end_closes_it";
    if !has_own_network(&[name, "--exact", "--nocapture"].map(str::to_owned))? {
        return Ok(());
    }
    let peer = Peer::new()?;
    peer.plug_in_second()?;
    let mut watch = Watch::new(Site::found(DISK, DISK).await?, SENSOR);
    let _idle = idle_processors(&watch.site)?;
    watch.site.publish(&watch.site.release(VERSION)?)?;
    watch.site.set_up_host(SENSOR, &["--type", "otCloudConnected", "--site", "Plant", "--zone", "Line 1"])?;
    watch.sensor("it asks for settings", |row| row["deploymentStatus"] == "notConfigured").await?;
    watch.capture(&[CAPTURE, SECOND]).await?;
    cables(&watch, &peer).await?;
    rule_packages(&watch).await?;
    overloaded(&watch).await?;
    contact(&watch).await?;
    updates(&watch).await
}
