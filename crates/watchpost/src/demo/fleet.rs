//! The five hosts of the demo: who they are, how they are set up and what runs on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watchpost_clock::Stepper;

use super::commands::{Tool, text};
use super::folder::Folder;
use super::process::{Process, Spec};

/// One host of the demo.
pub(super) struct Host {
    pub(super) name: &'static str,
    zone: &'static str,
    /// In the delayed ring.
    pub(super) delayed: bool,
    /// A limit of open files below what release B needs: the fault of that host alone.
    open_files: Option<u32>,
}

/// Open files that a host with the fault allows: enough for release A, too few for release B.
const LOW_LIMIT: u32 = 256;
/// Open files that release A and release B need, as their manifests say.
pub(super) const NEEDS: [(&str, u32); 2] = [(super::RELEASE_A, 128), (super::RELEASE_B, 1024)];

/// Three automatic hosts, one whose new version breaks on it, and one delayed.
pub(super) const HOSTS: [Host; 5] = [
    Host { name: "DC01", zone: "core", delayed: false, open_files: None },
    Host { name: "DC02", zone: "core", delayed: false, open_files: None },
    Host { name: "DC03", zone: "branch", delayed: false, open_files: Some(LOW_LIMIT) },
    Host { name: "DC04", zone: "branch", delayed: false, open_files: None },
    Host { name: "DC05", zone: "core", delayed: true, open_files: None },
];

/// Events recorded from a real Samba domain controller; every host's audit log begins with them.
pub(super) const RECORDED: &str = include_str!("../../../../content/samples/samba-audit.jsonl");

/// A host that is set up and runs.
pub(super) struct RunningHost {
    pub(super) host: &'static Host,
    pub(super) folder: PathBuf,
    pub(super) audit_log: PathBuf,
    pub(super) updater: Arc<Process>,
}

impl RunningHost {
    /// The pid of the sensor service, as the host's lock file names it.
    pub(super) fn sensor_pid(&self) -> Option<u32> {
        sensor_pid(&self.folder)
    }
}

/// The pid of the sensor service of a host folder, as its lock file names it.
pub(super) fn sensor_pid(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("state/sensor.lock")).ok()?.trim().parse().ok()
}

/// Sets one host up against the control plane and starts its updater.
pub(super) async fn bring_up(
    host: &'static Host,
    folder: &Folder,
    updater: &Tool,
    control_plane: &super::control_plane::ControlPlane,
    stepper: Arc<Stepper>,
) -> anyhow::Result<RunningHost> {
    let (root, audit_log) = (folder.host(host.name), folder.audit_log(host.name));
    fs::write(&audit_log, RECORDED)?;
    let key = folder.root().join("home/access-key");
    let image_root = folder.author_repository().join("metadata/1.root.json");
    let mut arguments = vec!["setup".to_owned(), "--quiet".to_owned()];
    for (flag, value) in [
        ("--root", text(&root)),
        ("--server", control_plane.gateway.clone()),
        ("--access-key-file", text(&key)),
        ("--image-root", text(&image_root)),
        ("--name", host.name.to_owned()),
        ("--type", "domainControllerIntegrated".to_owned()),
        ("--domain", "corp.example".to_owned()),
        ("--site", "Headquarters".to_owned()),
        ("--zone", host.zone.to_owned()),
        ("--audit-log", text(&audit_log)),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    if host.delayed {
        arguments.push("--delayed-update".to_owned());
    }
    updater.run(&arguments).await?;
    let party = format!("host-{}", host.name);
    let spec = Spec {
        name: party.clone(),
        program: updater.program.clone(),
        arguments: vec![
            "run".to_owned(),
            "--root".to_owned(),
            text(&root),
            "--clock".to_owned(),
            text(&folder.clock()),
            "--clock-party".to_owned(),
            party,
        ],
        log: folder.log(host.name),
        open_files: host.open_files,
    };
    let updater = Process::keep_running(spec, stepper)?;
    Ok(RunningHost { host, folder: root, audit_log, updater })
}
