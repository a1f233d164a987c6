//! The shipped units under a real systemd: control plane, launcher, updater and sensor, from the first installation over an
//! update of the sensor and of the updater to a kill and a stop; and what the sensor's user can write there.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use watchpost_tests::tools;

/// Far longer than it takes: systemd is ended then.
const PATIENCE: &str = "300";

#[test]
fn the_units_install_update_and_survive_under_systemd() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let updater = tools::binary("watchpost-updater")?;
    let programs = updater.parent().context("the programs lie in no folder")?;
    let mut boot = Command::new("timeout");
    boot.args(["--kill-after=5", PATIENCE, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]);
    boot.args(["--net", "--cgroup", "sh"]).arg(tools::checkout().join("tests/end_to_end/systemd/boot.sh"));
    boot.arg(folder.path()).arg(programs).arg(tools::checkout()).stdin(Stdio::null());
    // It is ended by a signal when what it has booted powers off.
    let ended = boot.output().context("timeout and unshare: apt-get install coreutils util-linux")?;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let (told, log) = (read("told"), read("log"));
    let words: BTreeMap<&str, &str> = told.lines().filter_map(|line| line.split_once('=')).collect();
    let said = || {
        let last: Vec<&str> = log.lines().rev().take(40).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let booting = String::from_utf8_lossy(&ended.stderr).into_owned();
        format!(
            "{told}\nIt needs root, overlayfs and: apt-get install systemd iproute2\n{booting}\n{}",
            last.join("\n")
        )
    };
    for (word, value) in [
        ("watchpost", "active"),
        ("watchpost-updater", "active"),
        ("watchpost-sensor", "active"),
        ("guard", "cgroup v1"),
        ("unpacking", "Landlock fully, system calls fully, limits fully enforced"),
        ("user", "watchpost-sensor"),
        // CAP_NET_RAW, number 13.
        ("rights", "0000000000002000"),
        ("updater", "watchpost-updater-2.255.1.0"),
        ("survives", "sensor"),
        ("end", "reached"),
    ] {
        assert_eq!(words.get(word).copied(), Some(value), "{word}: {}", said());
    }
    let writes: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("writes=")).collect();
    assert_eq!(writes, ["/var/lib/watchpost/state/x"], "the sensor's user writes elsewhere: {}", said());
    Ok(())
}
