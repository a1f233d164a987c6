//! The server's own key is renewed under a fleet that goes on, on real processes; and who did not learn stops it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use watchpost_tests::demo::word;
use watchpost_tests::site::Site;
use watchpost_tests::tools;

const MINUTE: Duration = Duration::from_secs(60);

fn server_key(site: &Site, words: &[&str]) -> anyhow::Result<Value> {
    let said = site.watchpost(&[&["trust", "server-key"], words, &["--output", "json"]].concat())?;
    Ok(serde_json::from_str(&said)?)
}

/// Waits until a host has checked in once more.
async fn goes_on(site: &Site, name: &str) {
    let since = site.now().to_string();
    let seen = |sensor: &Value| *word(sensor, "lastSeenDateTime") > *since;
    site.until(&format!("sensors/{name}"), "another check-in", seen).await.unwrap();
}

/// The keys of the server that a host has said to trust.
fn trusts(sensor: &Value) -> Vec<&str> {
    sensor["report"]["serverKeys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn verdict(root: &Path) -> (String, Option<i32>) {
    let mut check = Command::new(tools::binary("watchpost-updater").unwrap());
    let output = check.args(["check-connection", "--output", "json", "--root"]).arg(root).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (word(&found, "verdict").to_owned(), output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_key_is_renewed_while_every_host_goes_on() {
    let mut site = Site::without_small_disks().await.unwrap();
    site.bring_up_host().unwrap();
    site.set_up_another("DC02").unwrap();
    for name in ["DC01", "DC02"] {
        goes_on(&site, name).await;
    }
    let old = word(&server_key(&site, &["show"]).unwrap(), "servingSha256").to_owned();
    let old_access_key = site.watchpost(&["access-key", "show", "--output", "table"]).unwrap();

    // One host stands still and learns nothing; the other one does.
    site.freeze_host().unwrap();
    let announced = server_key(&site, &["announce", "--reason", "yearly"]).unwrap();
    let new = word(&announced, "nextSha256").to_owned();
    assert_eq!((word(&announced, "stage"), word(&announced, "servingSha256")), ("announced", old.as_str()));
    let learnt = |sensor: &Value| trusts(sensor).contains(&new.as_str());
    site.until("sensors/DC02", "the next key", learnt).await.unwrap();
    site.hold(true);
    let (code, said) = site.refused(&["trust", "server-key", "switch"]).unwrap();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("1 connected sensors") && said.contains("DC01") && !said.contains("DC02"), "{said}");
    assert_eq!(word(&server_key(&site, &["show"]).unwrap(), "stage"), "announced");
    site.hold(false);

    site.thaw_host().unwrap();
    site.until("server-key", "all are ready", |key| key["waitingCount"] == 0 && key["readyCount"] == 2).await.unwrap();
    let switched = server_key(&site, &["switch"]).unwrap();
    assert_eq!((word(&switched, "stage"), word(&switched, "servingSha256")), ("switched", new.as_str()));
    for (name, root) in [("DC01", site.host()), ("DC02", site.root_of("DC02"))] {
        goes_on(&site, name).await;
        // The command lives by the wall's clock, which is behind the one that is stepped here.
        assert!(["ok", "clockWrong"].contains(&verdict(&root).0.as_str()), "{name} does not believe the server");
    }
    server_key(&site, &["retire"]).unwrap();
    for name in ["DC01", "DC02"] {
        let only = |sensor: &Value| trusts(sensor) == [new.as_str()];
        site.until(&format!("sensors/{name}"), "the old key dropped", only).await.unwrap();
        goes_on(&site, name).await;
    }

    // What was learnt is on the disk, on both sides.
    site.kill_host().unwrap();
    site.at_the_console(&["trust", "rotate-director-root"]).await.unwrap();
    site.start_host().unwrap();
    goes_on(&site, "DC01").await;
    // The access key follows; the old one names a server that is no more.
    let other = tempfile::tempdir().unwrap();
    let refused = site.set_up_with(&old_access_key, "DC03", &other.path().join("host")).unwrap_err().to_string();
    assert!(refused.contains("key is another one"), "{refused}");
    let access_key = site.watchpost(&["access-key", "show", "--output", "table"]).unwrap();
    assert!(access_key.contains(&new) && !access_key.contains(&old), "{access_key}");
    site.set_up_with(&access_key, "DC03", &other.path().join("host")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_away_during_the_whole_overlap_is_shown_and_comes_back_as_itself() {
    let mut site = Site::without_small_disks().await.unwrap();
    site.bring_up_host().unwrap();
    goes_on(&site, "DC01").await;
    let before = site.get("sensors/DC01").await.unwrap();
    site.freeze_host().unwrap();
    server_key(&site, &["announce"]).unwrap();
    // Silent for five minutes is not connected any more, and does not hold the others up.
    site.passes(6 * MINUTE).await;
    server_key(&site, &["switch"]).unwrap();
    let retired = server_key(&site, &["retire"]).unwrap();
    assert_eq!((retired["absentCount"].as_u64(), retired["absent"][0].as_str()), (Some(1), Some("DC01")));
    site.kill_host().unwrap();
    assert_eq!(verdict(&site.host()), ("untrusted".to_owned(), Some(1)));

    let access_key = site.watchpost(&["access-key", "show", "--output", "table"]).unwrap();
    site.set_up_with(&access_key, "DC01", &site.host()).unwrap();
    site.start_host().unwrap();
    goes_on(&site, "DC01").await;
    let sensors = site.get("sensors").await.unwrap();
    assert_eq!(sensors["value"].as_array().map(Vec::len), Some(1));
    assert_eq!(sensors["value"][0]["id"], before["id"]);
    site.until("server-key", "it is ready", |key| key["readyCount"] == 1 && key["absentCount"] == 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_access_key_stops_the_old_one_at_once_and_no_enrolled_host() {
    let mut site = Site::without_small_disks().await.unwrap();
    site.bring_up_host().unwrap();
    goes_on(&site, "DC01").await;
    let old = site.watchpost(&["access-key", "show", "--output", "table"]).unwrap();
    let new = site.watchpost(&["access-key", "regenerate", "--reason", "mailed", "--output", "table"]).unwrap();
    let other = tempfile::tempdir().unwrap();
    let refused = site.set_up_with(&old, "DC02", &other.path().join("host")).unwrap_err().to_string();
    assert!(refused.contains("access_key_unknown") && refused.contains("exit status: 3"), "{refused}");
    site.set_up_with(&new, "DC02", &other.path().join("host")).unwrap();
    goes_on(&site, "DC01").await;
    assert_eq!(site.watchpost(&["access-key", "show", "--output", "table"]).unwrap(), new);
}
