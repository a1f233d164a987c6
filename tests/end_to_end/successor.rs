//! A release brings another updater: it takes over with the sensor running, or is gone back from (E16).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use watchpost_tests::demo::{processes_in, runs, word};
use watchpost_tests::site::Site;
use watchpost_tests::tools::binary;

const A: &str = "2.254.1.0";
const B: &str = "2.255.1.0";
const C: &str = "2.256.1.0";

/// Lays a program into a release as its updater.
fn brings(program: &'static [u8]) -> impl FnOnce(&Path) -> std::io::Result<()> {
    move |source: &Path| {
        let path = source.join("bin/watchpost-updater");
        fs::write(&path, program)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    }
}

/// The real updater, and a byte that makes it another one.
fn brings_real_one(source: &Path) -> std::io::Result<()> {
    let path = source.join("bin/watchpost-updater");
    fs::copy(binary("watchpost-updater").map_err(std::io::Error::other)?, &path)?;
    fs::OpenOptions::new().append(true).open(path)?.write_all(b"\n")
}

/// The program of an updater that came with a release, if one runs on this host.
fn running_updater(site: &Site) -> Option<PathBuf> {
    let programs = site.host().join("updater/programs");
    let below = |entry: fs::DirEntry| fs::read_link(entry.path().join("exe")).ok();
    let running: Vec<PathBuf> = fs::read_dir("/proc").ok()?.flatten().filter_map(below).collect();
    running.into_iter().find(|path| path.starts_with(&programs))
}

fn updater_of(version: &'static str) -> impl Fn(&Value) -> bool {
    move |sensor: &Value| word(&sensor["report"]["updater"], "version") == version
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_updater_takes_over_while_the_sensor_watches_and_a_bad_one_is_gone_back_from() {
    let mut site = Site::without_small_disks().await.unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    let log = site.path("audit.jsonl");
    fs::write(&log, "").unwrap();
    let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
    site.enrol_host("DC01", &facts).unwrap();
    site.launch_host(true);
    site.start_host().unwrap();
    site.until("sensors/DC01", "release A", runs(A)).await.unwrap();

    // B brings an updater that is sound.
    site.publish(&site.release_with(B, 64, brings_real_one).unwrap()).unwrap();
    site.until("sensors/DC01", "release B", runs(B)).await.unwrap();
    let sensor = site.sensor_pid().unwrap();
    site.until("sensors/DC01", "the updater of B", updater_of(B)).await.unwrap();
    assert_eq!(site.sensor_pid(), Some(sensor), "the sensor goes on");
    let program = running_updater(&site).expect("it runs from its own file");
    assert!(program.to_string_lossy().contains("watchpost-updater-2.255.1.0-"), "{}", program.display());

    // C brings one that ends at once. Nothing of that is felt on the host, and the release has failed there.
    site.publish(&site.release_with(C, 64, brings(b"#!/bin/sh\nexit 1\n")).unwrap()).unwrap();
    site.until("sensors/DC01", "release C", runs(C)).await.unwrap();
    let sensor = site.sensor_pid().unwrap();
    let is_refused = |sensor: &Value| word(&sensor["report"]["updater"]["refused"], "version") == C;
    let shown = site.until("sensors/DC01", "the updater of C is given up", is_refused).await.unwrap();
    assert_eq!(word(&shown["report"]["updater"]["refused"], "reason"), "it was started 3 times: exit status: 1");
    assert_eq!(word(&shown["report"]["updater"], "version"), B);
    assert_eq!(site.sensor_pid(), Some(sensor), "the sensor of C goes on");
    let failed = |sensor: &Value| word(sensor, "deploymentStatus") == "updateFailed";
    site.until("sensors/DC01", "the release has failed here", failed).await.unwrap();
    assert_eq!(running_updater(&site).as_ref(), Some(&program));

    // Launcher and updater die together, and come back as they were.
    site.kill_host().unwrap();
    site.start_host().unwrap();
    let is_back = |_: &Value| running_updater(&site).as_ref() == Some(&program);
    site.until("sensors/DC01", "the updater of B is back", is_back).await.unwrap();
    assert_eq!(site.sensor_pid(), Some(sensor), "it has found the sensor again");

    // Told to end, the launcher ends its updater, which ends the sensor.
    site.stop_host().unwrap();
    assert_eq!(running_updater(&site), None);
    assert_eq!(processes_in(&site.host()), [], "the sensor watches without anybody");
}
