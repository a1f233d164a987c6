//! What an update leaves alone: every file of the host outside its own folders, and the service that is watched (E3).

use std::process::{Command, Stdio};

use watchpost_tests::demo::{runs, version_on_disk};
use watchpost_tests::site::{Site, has_own_mounts};

const A: &str = "2.254.1.0";
const B: &str = "2.255.1.0";
/// What Debian leaves when the operating system waits for a restart.
const PENDING: &str = "/run/reboot-required";

#[tokio::test(flavor = "multi_thread")]
async fn a_minor_update_changes_nothing_outside_its_own_folders_and_does_not_mind_a_pending_restart() {
    let name = "untouched::a_minor_update_changes_nothing_outside_its_own_folders_and_does_not_mind_a_pending_restart";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let mut site = Site::found(96, 256).await.unwrap();
    let walls = site.wall_in().unwrap();
    walls.put(PENDING, "*** System restart required ***\n").unwrap();
    let mut watched = Command::new("tail").args(["-f", "/dev/null"]).stdin(Stdio::null()).spawn().unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    site.bring_up_host().unwrap();
    site.until("sensors/DC01", "release A", runs(A)).await.unwrap();
    site.publish(&site.release(B).unwrap()).unwrap();
    site.until("sensors/DC01", "release B", runs(B)).await.unwrap();
    assert_eq!(version_on_disk(&site.host()).unwrap(), B);

    // The sensor, and so the updater that started it, lives inside: it sees the flag. The layer that takes every
    // change of the host's root has the flag and nothing else.
    let root = format!("/proc/{}/root", site.sensor_pid().unwrap());
    assert!(std::path::Path::new(&format!("{root}{PENDING}")).is_file(), "{root} is not the host's own");
    assert_eq!(walls.changed().unwrap().into_iter().collect::<Vec<_>>(), [PENDING]);
    assert!(watched.try_wait().unwrap().is_none(), "the watched service was ended");
    watched.kill().unwrap();
    watched.wait().unwrap();
}
