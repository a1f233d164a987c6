//! The sensor as a real process: its socket, its lock, its signals, its death.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed; clippy sees helpers as product code")]

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use watchpost_agent::host_config::HostConfig;
use watchpost_agent::local::{Ask, SensorLink, SensorStatus};

/// No step of these tests may take longer, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

struct Host {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn content(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content").join(part)
}

/// The line of the recording that is a Kerberos logon with a wrong password.
fn wrong_password() -> String {
    fs::read_to_string(content("samples/samba-audit.jsonl")).unwrap().lines().nth(4).unwrap().to_owned() + "\n"
}

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap(), child: None };
        let config = HostConfig {
            name: "dc1".into(),
            sensor_type: "domainControllerIntegrated".into(),
            domain: None,
            site: None,
            zone: None,
            server: "127.0.0.1:1".into(),
            server_key_sha256: String::new(),
            director_root_sha256: String::new(),
            audit_log: Some(host.root().join("audit.json")),
            logs_path: None,
            engine_user: None,
            sensor_user: None,
            sensor_unit: None,
            watched_unit: None,
            delayed: false,
            proxy: None,
        };
        config.write(host.root()).unwrap();
        fs::create_dir_all(host.release().join("rules")).unwrap();
        fs::copy(content("release/release.json"), host.release().join("release.json")).unwrap();
        for entry in fs::read_dir(content("rules")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), host.release().join("rules").join(entry.file_name())).unwrap();
        }
        host
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn release(&self) -> PathBuf {
        self.root().join("versions").join("one")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchpost-sensor"));
        command.arg("run").arg("--root").arg(self.root()).arg("--release").arg(self.release());
        command.stdin(Stdio::null());
        command
    }

    fn start(&mut self) {
        self.child = Some(self.command().spawn().unwrap());
    }

    /// Runs a sensor that is expected to end by itself.
    fn refused(&self) -> Output {
        self.command().output().unwrap()
    }

    fn append(&self, text: &str) {
        let path = self.root().join("audit.json");
        fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Connects as soon as the sensor listens.
    async fn watch(&self) -> SensorLink {
        let connect = async {
            loop {
                if let Ok(mut link) = SensorLink::connect(self.root()).await {
                    link.ask(&Ask::Watch).await.unwrap();
                    return link;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, connect).await.unwrap()
    }

    fn alerts(&self) -> usize {
        fs::read_to_string(self.root().join("state/alerts.jsonl")).unwrap().lines().count()
    }
}

async fn until(link: &mut SensorLink, holds: impl Fn(&SensorStatus) -> bool) -> SensorStatus {
    let wait = async {
        loop {
            let status = link.next_status().await.unwrap().unwrap();
            if holds(&status) {
                return status;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap()
}

#[tokio::test]
async fn it_detects_proves_and_survives_being_killed() {
    let mut host = Host::new();
    host.append(&wrong_password());
    host.start();
    let mut link = host.watch().await;
    assert_eq!(link.pid(), host.child.as_ref().map(Child::id));
    let status = until(&mut link, |status| status.ready && status.alert_count == 1).await;
    let first = status.run;
    assert_eq!((status.rules_loaded, status.rules_failed, status.proof), (15, 0, None));

    link.ask(&Ask::Prove { generation: 41 }).await.unwrap();
    let status = until(&mut link, |status| status.proof.is_some()).await;
    assert_eq!((status.proof.unwrap().generation, status.alert_count), (41, 1));

    host.append(&wrong_password());
    until(&mut link, |status| status.alert_count == 2).await;
    let mut child = host.child.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    host.append(&wrong_password());
    host.start();
    let mut link = host.watch().await;
    let status = until(&mut link, |status| status.alert_count == 3).await;
    assert_eq!((status.proof, host.alerts()), (None, 3), "a proof is of one run");
    assert_ne!(status.run, first, "each has a number of its own");
}

#[tokio::test]
async fn a_second_one_is_refused_and_sigterm_ends_it_at_once() {
    let mut host = Host::new();
    host.start();
    let mut link = host.watch().await;
    until(&mut link, |status| status.ready).await;
    let second = host.refused();
    assert_eq!(second.status.code(), Some(75));
    let mut child = host.child.take().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = async { while let Ok(Some(_)) = link.next_status().await {} };
    tokio::time::timeout(Duration::from_secs(2), ended).await.expect("SIGTERM ends a sensor within two seconds");
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(SensorLink::connect(host.root()).await.is_err());
}

#[test]
fn a_host_that_lacks_what_the_release_needs_is_left_alone_with_one_clear_line() {
    let host = Host::new();
    let release = host.release().join("release.json");
    let text = fs::read_to_string(&release).unwrap();
    fs::write(&release, text.replace("1024", "1048576")).unwrap();
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let refused = if allowed.is_some_and(|allowed| allowed < 1_048_576) {
        host.refused()
    } else {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -Hn 256; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_watchpost-sensor"));
        limited.arg("run").arg("--root").arg(host.root()).arg("--release").arg(host.release()).output().unwrap()
    };
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("needs 1048576 open files"), "{said}");
    assert!(fs::read_to_string(host.root().join("logs/sensor.log")).unwrap().contains("needs 1048576 open files"));
    assert!(!host.root().join("state").exists());
}

#[test]
fn a_host_without_settings_or_a_damaged_release_is_refused() {
    let host = Host::new();
    fs::remove_file(HostConfig::path(host.root())).unwrap();
    assert_eq!(host.refused().status.code(), Some(78));
    fs::remove_dir_all(host.release()).unwrap();
    assert_eq!(host.refused().status.code(), Some(78));
}

/// Appends numbered failed logons and rotates now and then, by renaming and by copying, until told to stop.
fn write_and_rotate(log: &Path, stop: &std::sync::atomic::AtomicBool) -> usize {
    let line = wrong_password();
    let mut written = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        for _ in 0..20 {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
            let account = format!("user-{written:06}");
            file.write_all(line.replace("Administrator", &account).as_bytes()).unwrap();
            written += 1;
        }
        let aside = log.with_extension(format!("json.{written}"));
        match written / 20 % 16 {
            4 => fs::rename(log, aside).unwrap(),
            12 => {
                fs::copy(log, aside).unwrap();
                fs::File::create(log).unwrap();
            }
            _ => {}
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    written
}

#[tokio::test]
async fn however_often_it_is_killed_while_the_log_grows_and_rotates_nothing_is_lost_or_twice() {
    use std::collections::BTreeMap;
    let mut host = Host::new();
    let log = host.root().join("audit.json");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    // What was set aside before a sensor was there is not its business.
    host.append(&wrong_password().replace("Administrator", "the-first"));
    host.start();
    until(&mut host.watch().await, |status| status.alert_count == 1).await;
    let mut child = host.child.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let writer = std::thread::spawn(move || write_and_rotate(&log, &stopped));
    for _ in 0..8 {
        host.start();
        let mut link = host.watch().await;
        let before = until(&mut link, |status| status.ready).await.alert_count;
        until(&mut link, |status| status.alert_count > before + 20).await;
        let mut child = host.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written = writer.join().unwrap();
    // The last line of all, so that it is known when everything has been read.
    host.append(&wrong_password().replace("Administrator", "the-last"));
    host.start();
    let mut link = host.watch().await;
    let file = host.root().join("state/alerts.jsonl");
    until(&mut link, |_| fs::read_to_string(&file).is_ok_and(|text| text.contains("the-last"))).await;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for line in fs::read_to_string(&file).unwrap().lines() {
        let alert: serde_json::Value = serde_json::from_str(line).unwrap();
        if alert["ruleFile"] == "failed-logon-wrong-password.yml" {
            *seen.entry(alert["event"]["account"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    assert_eq!((seen.len(), twice), (written + 2, Vec::new()));
}
