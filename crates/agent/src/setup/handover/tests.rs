//! What the sensor's user can do is tried, as that user and with its rights, and not read from anywhere.

use std::fs;
use std::process::Stdio;

use watchpost_core::updater::Release;

use super::*;
use crate::host::disk::Disk;
use crate::updater::{Installation, Launch};

/// Somebody who is no sensor and has nothing.
const USER: &str = "nobody";

struct Host {
    folder: tempfile::TempDir,
    layout: Layout,
    launch: Launch,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        fs::write(folder.path().join("audit.json"), "").unwrap();
        fs::set_permissions(folder.path().join("audit.json"), Permissions::from_mode(0o644)).unwrap();
        let layout = Layout::new(&folder.path().join("root"));
        Installation::new(&layout, Disk::default()).versions.make_folders().unwrap();
        fs::set_permissions(layout.root(), Permissions::from_mode(0o711)).unwrap();
        let release: Release = "2.254.1.0-0a0a0a0a".parse().unwrap();
        fs::create_dir(layout.version(release)).unwrap();
        std::os::unix::fs::symlink(Layout::link_target(release), layout.current()).unwrap();
        for file in layout.record_slots().into_iter().chain([layout.version(release).join("program"), layout.log()]) {
            fs::write(file, "whole").unwrap();
        }
        fs::create_dir_all(HostConfig::path(layout.root()).parent().unwrap()).unwrap();
        fs::write(HostConfig::path(layout.root()), "{}").unwrap();
        let user = SensorUser::find(USER).unwrap_or_else(|error| {
            panic!("{error}; run this as root: what another user can do is tried as that user")
        });
        to_sensor(&layout, &user).unwrap();
        Self { folder, layout, launch: Launch::As(user) }
    }

    /// Runs a script as the sensor would be run, in the host's folder; gives what it prints.
    fn run(&self, script: &str) -> String {
        let mut command = self.launch.command(Path::new("/bin/sh"));
        command.args(["-c", script]).current_dir(self.layout.root()).stdin(Stdio::null()).stderr(Stdio::null());
        String::from_utf8(command.as_std_mut().output().unwrap().stdout).unwrap()
    }
}

#[test]
fn the_sensors_user_can_change_nothing_that_is_watched_or_that_decides_what_runs() {
    let host = Host::new();
    let attempts = [
        "echo x >>../audit.json",
        "mv ../audit.json ../gone",
        "rm -f ../audit.json",
        "echo x >versions/new",
        "mkdir versions/2.255.1.0-0b0b0b0b",
        "mv versions/2.254.1.0-0a0a0a0a versions/gone",
        "echo x >versions/2.254.1.0-0a0a0a0a/program",
        "echo x >versions/2.254.1.0-0a0a0a0a/new",
        "ln -sfn versions/other current",
        "rm current",
        "echo x >rules/new",
        "ls updater",
        "cat updater/record.0",
        "echo x >updater/record.0",
        "echo x >updater/new",
        "mv updater gone",
        "echo x >etc/updater.json",
        "echo x >etc/new",
        "echo x >new",
        "kill -0 $PPID",
    ];
    for attempt in attempts {
        assert_eq!(host.run(&format!("if {attempt}; then echo done; fi")), "", "it could: {attempt}");
    }
    assert_eq!(fs::read_to_string(host.folder.path().join("audit.json")).unwrap(), "");
}

#[test]
fn it_can_read_what_it_runs_from_and_write_in_its_own_places() {
    let host = Host::new();
    let needs = [
        "cat ../audit.json",
        "cat current/program",
        "cat etc/updater.json",
        "ls rules",
        "echo x >state/sensor.lock",
        "echo x >logs/sensor.log",
        "mkdir engine/log",
    ];
    for need in needs {
        assert!(host.run(&format!("if {need}; then echo done; fi")).ends_with("done\n"), "it could not: {need}");
    }
    // What the updater puts there later can be read, too.
    Disk::default().replace(&host.layout.rules_pointer(), b"{}").unwrap();
    Disk::default().make_folder(&host.layout.versions().join("later")).unwrap();
    fs::write(host.layout.versions().join("later/file"), "x").unwrap();
    assert_eq!(host.run("cat state/rules.json versions/later/file"), "{}x");
}

#[test]
fn it_has_the_right_to_raw_sockets_and_no_other_and_gains_none() {
    let host = Host::new();
    let status = host.run("cat /proc/self/status");
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).to_owned()
    };
    // CAP_NET_RAW is number 13.
    let raw = format!("{:016x}", 1 << 13);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), raw, "{set}");
    }
    assert_eq!((value("NoNewPrivs"), value("Groups").trim().to_owned()), ("1".to_owned(), String::new()));
    assert!(!value("Uid").split_whitespace().any(|uid| uid == "0"));
}
