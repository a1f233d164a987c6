//! A host that comes again with another key is held in quarantine until somebody has decided; on real processes.

use std::process::Stdio;

use serde_json::Value;
use watchpost_tests::demo::word;
use watchpost_tests::site::Site;

fn clones(site: &Site) -> Vec<Value> {
    let said = site.watchpost(&["clones", "list", "--output", "json"]).unwrap();
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_installed_anew_waits_and_takes_its_own_place_by_one_decision() {
    let mut site = Site::without_small_disks().await.unwrap();
    site.bring_up_host().unwrap();
    let seen = |sensor: &Value| !sensor["lastSeenDateTime"].is_null();
    let before = site.until("sensors/DC01", "a check-in", seen).await.unwrap();
    // The disk was replaced: the machine is the same, its folder and key are gone.
    site.kill_host().unwrap();
    std::fs::rename(site.host(), site.path("host/lost")).unwrap();
    let access_key = site.watchpost(&["access-key", "show", "--output", "table"]).unwrap();
    let refused = site.set_up_with(&access_key, "DC01", &site.host()).unwrap_err().to_string();
    assert!(refused.contains("quarantined, waiting for a decision"), "{refused}");
    assert!(refused.contains("exit status: 3"), "{refused}");
    let waiting = clones(&site);
    assert_eq!(waiting.len(), 1, "asking again makes no second newcomer");
    assert_eq!((word(&waiting[0], "state"), &waiting[0]["enrolled"]["id"]), ("waiting", &before["id"]));
    assert_eq!(waiting[0]["newcomer"]["address"], "127.0.0.1");
    let is_open =
        |sensor: &Value| sensor["openHealthIssues"].as_array().is_some_and(|all| all.contains(&"possibleClone".into()));
    site.until("sensors/DC01", "the issue possibleClone", is_open).await.unwrap();

    // A second run of setup waits, and ends well once it was decided.
    let mut setup = site.setup(&access_key, "DC01", &site.host()).unwrap();
    let mut setup = setup.arg("--wait").stdin(Stdio::null()).spawn().unwrap();
    let fingerprint = word(&waiting[0], "fingerprint");
    site.watchpost(&["clones", "decide", fingerprint, "replace", "--reason", "new disk"]).unwrap();
    assert!(setup.wait().unwrap().success());
    site.start_host().unwrap();
    let since = site.now().to_string();
    let again = |sensor: &Value| *word(sensor, "lastSeenDateTime") > *since;
    let after = site.until("sensors/DC01", "a check-in of the newcomer", again).await.unwrap();
    assert_eq!((&after["id"], &after["createdDateTime"]), (&before["id"], &before["createdDateTime"]));
    assert_eq!(clones(&site).len(), 0);
}
