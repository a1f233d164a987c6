//! A major release that needs a restart: staged and said so, restarted for on an order or by the switch, never unasked (E4).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use watchpost_tests::demo::{runs, version_on_disk, word};
use watchpost_tests::site::{Site, has_own_mounts};
use watchpost_tests::tools;

const A: &str = "2.254.1.0";
const B: &str = "2.255.1.0";
const C: &str = "2.256.1.0";
const UNIT: &str = "samba-ad-dc.service";

/// `systemctl` as the host sees it: a test cannot have the machine restarted, so this one writes down what it is asked,
/// and gives the host the name of another boot, as the kernel does after a restart.
fn stand_in_for_systemctl(site: &Site) -> anyhow::Result<()> {
    let (program, asked, boot) = (site.path("systemctl"), site.path("asked"), site.path("boot"));
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = reboot ]; then\n\
         cat /proc/sys/kernel/random/uuid > {boot} && mount --bind {boot} /proc/sys/kernel/random/boot_id || exit 1\n\
         fi\n\
         echo \"$@\" >> {asked}\n"
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mut mount = Command::new("mount");
    tools::run(mount.args(["--bind", &program, "/usr/bin/systemctl"]), "apt-get install systemd mount")?;
    Ok(())
}

fn asked(site: &Site) -> String {
    fs::read_to_string(site.path("asked")).unwrap_or_default()
}

/// Makes a release major, and has it need this restart.
fn needs(restart: &str) -> impl FnOnce(&Path) -> std::io::Result<()> {
    let restart = restart.to_owned();
    move |source: &Path| {
        let path = source.join("release.json");
        let mut release: Value = serde_json::from_slice(&fs::read(&path)?)?;
        release["kind"] = json!("major");
        release["restart"] = json!(restart);
        fs::write(path, release.to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_needs_a_restart_waits_for_leave_and_comes_up_with_the_host() {
    let name = "restart::a_release_that_needs_a_restart_waits_for_leave_and_comes_up_with_the_host";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let mut site = Site::found(96, 256).await.unwrap();
    stand_in_for_systemctl(&site).unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    let log = site.path("audit.jsonl");
    fs::write(&log, "").unwrap();
    let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
    site.set_up_host("DC01", &[&facts[..], &["--watched-unit", UNIT]].concat()).unwrap();
    site.until("sensors/DC01", "release A", runs(A)).await.unwrap();

    // The switch is off: it is staged, says so, and goes on watching.
    let package = site.release_with(B, 64, needs("host")).unwrap();
    site.publish(&package).unwrap();
    let waits = |sensor: &Value| word(sensor, "waitingFor").contains("somebody to allow a restart of the host");
    let staged = site.until("sensors/DC01", "staged", waits).await.unwrap();
    assert_eq!((word(&staged, "version"), &staged["isWatching"]), (A, &json!(true)));
    assert_eq!(word(&staged["report"]["update"], "step"), "staged");
    assert_eq!(asked(&site), "");
    let refused = site.watchpost(&["rollouts", "restart-now", C, "--sensor", "DC01"]).unwrap_err().to_string();
    assert!(refused.contains("there is no rollout of 2.256.1.0"), "{refused}");

    // Somebody orders it: the link is switched, the host goes down, and comes up with the new version.
    site.watchpost(&["rollouts", "restart-now", B, "--sensor", "DC01", "--reason", "agreed"]).unwrap();
    let restarting = |sensor: &Value| word(&sensor["report"]["update"], "step") == "restarting";
    site.until("sensors/DC01", "the restart", restarting).await.unwrap();
    site.until("sensors/DC01", "systemd was asked", |_| asked(&site) == "reboot\n").await.unwrap();
    site.kill_host().unwrap();
    site.kill_sensor().unwrap();
    site.start_host().unwrap();
    site.until("sensors/DC01", "release B", runs(B)).await.unwrap();
    assert_eq!(version_on_disk(&site.host()).unwrap(), B);

    // With the switch on nobody has to order anything; the service that is watched here is restarted, once.
    site.watchpost(&["rollouts", "settings", "--restart-for-major", "on"]).unwrap();
    let package = site.release_with(C, 64, needs("watchedService")).unwrap();
    site.publish(&package).unwrap();
    site.until("sensors/DC01", "release C", runs(C)).await.unwrap();
    assert_eq!(asked(&site), format!("reboot\nrestart -- {UNIT}\n"));
}
