//! A disk that is really full, on the host and on the server: a typed reason, what ran still runs, nothing is lost.

use serde_json::Value;
use watchpost_tests::demo::{runs, version_on_disk, word};
use watchpost_tests::site::{Ballast, Site, has_own_mounts};

const A: &str = "2.254.1.0";
const B: &str = "2.255.1.0";
const C: &str = "2.256.1.0";

/// Room for three versions, a download and the updater's reserve.
const HOST_MIB: u32 = 256;
const SERVER_MIB: u32 = 96;

async fn site_on_release_a() -> Site {
    let mut site = Site::found(SERVER_MIB, HOST_MIB).await.unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    site.bring_up_host().unwrap();
    site.until("sensors/DC01", "release A", runs(A)).await.unwrap();
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_disk_is_full_keeps_what_it_runs_says_why_and_updates_once_there_is_room() {
    let name = "full_disk::a_host_whose_disk_is_full_keeps_what_it_runs_says_why_and_updates_once_there_is_room";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let site = site_on_release_a().await;
    let (pid, root) = (site.sensor_pid().unwrap(), site.host());
    let ballast = Ballast::fill(&root).unwrap();
    site.publish(&site.release(B).unwrap()).unwrap();
    let failed = |rollout: &Value| rollout["failed"] == 1;
    let rollout = site.until(&format!("rollouts/{B}"), "the failure of release B", failed).await.unwrap();
    let events = rollout["events"].as_array().unwrap();
    let reason = events.iter().map(|event| word(event, "reason")).find(|reason| !reason.is_empty());
    assert!(reason.unwrap_or_default().contains("not enough disk"), "{rollout}");
    assert_eq!(version_on_disk(&root).unwrap(), A);
    assert_eq!(site.sensor_pid(), Some(pid), "the sensor was restarted");

    // What happens meanwhile is not lost: the alert is raised as soon as it can be kept.
    let before = site.get("sensors/DC01").await.unwrap()["alertCount"].as_u64().unwrap();
    site.append_event("during").unwrap();
    drop(ballast);
    let more = |sensor: &Value| sensor["alertCount"].as_u64() == Some(before + 1);
    site.until("sensors/DC01", "the alert", more).await.unwrap();

    // With room again, the next release finds its way.
    site.publish(&site.release(C).unwrap()).unwrap();
    site.until("sensors/DC01", "release C", runs(C)).await.unwrap();
    assert_eq!(version_on_disk(&root).unwrap(), C);
}

/// What publishing `version` sends after its package.
fn publication(site: &Site, version: &str) -> Vec<u8> {
    let files = std::fs::read_dir(site.path("author/metadata")).unwrap().map(Result::unwrap);
    let metadata: serde_json::Map<_, _> = files
        .map(|file| {
            let text = std::fs::read_to_string(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), text.into())
        })
        .collect();
    let target = format!("watchpost-sensor-{version}.cab");
    serde_json::json!({ "metadata": metadata, "target": target }).to_string().into()
}

/// Lets things happen at the host until the server cannot keep one of them; says how many happened, and how many
/// alerts the server has then. A check-in is smaller than the token
/// that was refused: in one run of twelve, four to nine of them still fit into the room that the database's log has left.
async fn tell_until_refused(site: &Site, before: u64) -> (u64, u64) {
    const AT_MOST: u64 = 50;
    let is_refused = || site.host_log().contains("could not save the check-in");
    for happened in 1..=AT_MOST {
        site.append_event(&format!("during{happened}")).unwrap();
        let told = |sensor: &Value| is_refused() || sensor["alertCount"].as_u64() == Some(before + happened);
        let sensor = site.until("sensors/DC01", "a word of what happened", told).await.unwrap();
        if is_refused() {
            return (happened, sensor["alertCount"].as_u64().unwrap());
        }
    }
    panic!("never refused: {}", site.host_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_says_so_and_loses_nothing() {
    let name = "full_disk::a_server_whose_disk_is_full_says_so_and_loses_nothing";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let site = site_on_release_a().await;
    let package = site.release(B).unwrap();
    let audited = site.get("audit").await.unwrap()["value"].as_array().unwrap().len();
    let before = site.get("sensors/DC01").await.unwrap()["alertCount"].as_u64().unwrap();
    let (status, answer) = site.post("packages", std::fs::read(&package).unwrap()).await.unwrap();
    assert_eq!(status, 201, "{answer}");
    let ballast = Ballast::fill(site.path("server").as_ref()).unwrap();

    // People are told what is wrong, by a word of its own.
    let attempts = [("packages", std::fs::read(&package).unwrap()), ("releases", publication(&site, B))];
    for (path, body) in attempts {
        let (status, answer) = site.post(path, body).await.unwrap();
        assert_eq!((status, word(&answer, "code")), (507, "diskFull"), "{path}: {answer}");
    }
    let pages = async {
        // The log of the database may have some room left: it is used up first.
        loop {
            let token = br#"{"displayName":"x","role":"viewer"}"#.to_vec();
            let (status, answer) = site.post("tokens", token).await.unwrap();
            if status != 201 {
                return (status, word(&answer, "code").to_owned());
            }
        }
    };
    assert_eq!(pages.await, (507, "diskFull".to_owned()));
    let made = site.get("tokens").await.unwrap()["value"].as_array().unwrap().len();

    // A host that has something to tell is asked to come again, and goes on detecting.
    let (taken, kept) = tell_until_refused(&site, before).await;
    let sensor = site.get("sensors/DC01").await.unwrap();
    assert_eq!((word(&sensor, "version"), sensor["alertCount"].as_u64()), (A, Some(kept)), "{sensor}");

    drop(ballast);
    let more = |sensor: &Value| sensor["alertCount"].as_u64() == Some(before + taken);
    site.until("sensors/DC01", "the alert", more).await.unwrap();
    assert_eq!(site.get("tokens").await.unwrap()["value"].as_array().unwrap().len(), made);
    assert!(site.get("audit").await.unwrap()["value"].as_array().unwrap().len() >= audited);
    site.publish(&package).unwrap();
    site.until("sensors/DC01", "release B", runs(B)).await.unwrap();
}
