//! The chain of trust on real processes: keys change hands, metadata expires, clocks are wrong, and no sensor minds.

use std::time::Duration;

use serde_json::{Value, json};
use watchpost_tests::demo::{runs, version_on_disk, word};
use watchpost_tests::site::{Site, has_own_mounts};

const A: &str = "2.254.1.0";
const B: &str = "2.255.1.0";
const C: &str = "2.256.1.0";
const HOST_MIB: u32 = 256;
const SERVER_MIB: u32 = 96;
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const MINUTE: Duration = Duration::from_secs(60);

fn own(site: &Site) -> [String; 4] {
    ["--keys".to_owned(), site.path("keys"), "--repository".to_owned(), site.path("author")]
}

/// What the trust clock says of one part.
fn part<'a>(clock: &'a Value, name: &str) -> &'a Value {
    clock["value"].as_array().unwrap().iter().find(|part| word(part, "name") == name).unwrap()
}

fn rotate_image(site: &Site, places: &[&str]) {
    let own = own(site);
    let mut words = vec!["release", "rotate-root"];
    words.extend(own.iter().map(String::as_str));
    places.iter().for_each(|place| words.extend(["--replace", place]));
    site.watchpost(&words).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_follows_rotated_roots_of_both_repositories_also_after_two_that_it_missed() {
    let name = "trust::a_host_follows_rotated_roots_of_both_repositories_also_after_two_that_it_missed";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let mut site = Site::found(SERVER_MIB, HOST_MIB).await.unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    site.bring_up_host().unwrap();
    site.until("sensors/DC01", "release A", runs(A)).await.unwrap();

    let rotate = ["trust", "rotate-director-root", "--replace"];
    rotate_image(&site, &["root-1", "online"]);
    site.at_the_console(&[&rotate[..], &["director-root-1"]].concat()).await.unwrap();
    site.publish(&site.release(B).unwrap()).unwrap();
    site.until("sensors/DC01", "release B", runs(B)).await.unwrap();

    // The host is away while both roots change hands twice; what it trusted last is two roots old by then.
    site.kill_host().unwrap();
    for (image, director) in [(["root-2", "online"], "director-online"), (["targets-1", "root-3"], "director-root-2")] {
        rotate_image(&site, &image);
        site.at_the_console(&[&rotate[..], &[director]].concat()).await.unwrap();
    }
    site.publish(&site.release(C).unwrap()).unwrap();
    site.start_host().unwrap();
    site.until("sensors/DC01", "release C", runs(C)).await.unwrap();
    assert_eq!(version_on_disk(&site.host()).unwrap(), C);
    let clock = site.until("trust", "the newest roots", |clock| part(clock, "image repository, root")["version"] == 4);
    let clock = clock.await.unwrap();
    assert_eq!(part(&clock, "director repository, root")["version"], 4, "{clock}");
    assert_eq!(part(&clock, "image repository, root")["threshold"], 3);
    assert_eq!(word(part(&clock, "image repository, root"), "remedy"), "watchpost release rotate-root");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_metadata_stops_updates_and_nothing_else_until_it_is_signed_anew() {
    let name = "trust::expired_metadata_stops_updates_and_nothing_else_until_it_is_signed_anew";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let mut site = Site::found(SERVER_MIB, HOST_MIB).await.unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    site.bring_up_host().unwrap();
    site.until("sensors/DC01", "release A", runs(A)).await.unwrap();

    // The author has signed a year less some seconds ago, and B comes out in these seconds, while the host waits for its
    // ring to open.
    let (status, answer) = site.patch("sensors/DC01", &json!({ "delayedUpdate": true })).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    site.hold(true);
    let (package, own) = (site.release(B).unwrap(), own(&site));
    let resign = [&["release", "resign"], &own.each_ref().map(String::as_str)[..]].concat();
    let ends_at = site.now() + Duration::from_secs(40);
    site.watchpost_at(ends_at - YEAR, &resign).unwrap();
    site.publish(&package).unwrap();
    site.passes(ends_at.since(site.now()) + Duration::from_secs(5)).await;
    site.hold(false);

    // Its turn has come: it watches, checks in and takes settings; the update waits, and says for what.
    let change = json!({ "delayedUpdate": false, "settings": { "description": "while expired" } });
    let (status, answer) = site.patch("sensors/DC01", &change).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let waits = |sensor: &Value| sensor.to_string().contains("trustExpired") && word(sensor, "version") == A;
    let sensor = site.until("sensors/DC01", "why it waits", waits).await.unwrap();
    let is_open = |issues: &Value| issues["value"].as_array().is_some_and(|issues| !issues.is_empty());
    site.until("healthIssues?type=serverTrustExpired&status=open", "the issue", is_open).await.unwrap();
    let clock = site.get("trust").await.unwrap();
    assert_eq!(word(part(&clock, "image repository, timestamp"), "state"), "expired", "{clock}");
    assert_eq!(word(part(&clock, "image repository, timestamp"), "renewedBy"), "releaseAuthor");
    let before = sensor["alertCount"].as_u64().unwrap();
    let pid = site.sensor_pid().unwrap();
    site.append_event("while-expired").unwrap();
    let more = |sensor: &Value| sensor["alertCount"].as_u64() == Some(before + 1);
    site.until("sensors/DC01", "the alert", more).await.unwrap();
    let in_effect = |sensor: &Value| {
        let settings = &sensor["settings"];
        settings["description"] == "while expired" && settings["generation"] == settings["generationInEffect"]
    };
    site.until("sensors/DC01", "the settings in effect", in_effect).await.unwrap();
    site.passes(MINUTE * 40).await;
    let sensor = site.get("sensors/DC01").await.unwrap();
    assert_eq!((word(&sensor, "version"), site.sensor_pid()), (A, Some(pid)), "{sensor}");

    // Signed anew and published, it goes on by itself.
    site.watchpost(&resign).unwrap();
    let repository = site.path("author");
    site.watchpost(&["release", "publish-metadata", "--repository", &repository]).unwrap();
    site.until("sensors/DC01", "release B", runs(B)).await.unwrap();
}

/// Decision 27: a host believes its server's time, from the first word on. Enrolled, installed, checked in, updated.
async fn a_host_is_off_by(offset: &str, test: &str) {
    if !has_own_mounts(test).unwrap() {
        return;
    }
    let mut site = Site::found(SERVER_MIB, HOST_MIB).await.unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    site.hold(true);
    site.bring_up_host_off_by(offset, "DC01").unwrap();
    site.until("sensors/DC01", "release A", runs(A)).await.unwrap();
    site.append_event("while-expired").unwrap();
    site.until("sensors/DC01", "an alert", |sensor| sensor["alertCount"].as_u64() >= Some(1)).await.unwrap();
    site.publish(&site.release(B).unwrap()).unwrap();
    let sensor = site.until("sensors/DC01", "release B", runs(B)).await.unwrap();
    assert_eq!(version_on_disk(&site.host()).unwrap(), B);
    let issues = sensor["openHealthIssues"].as_array().unwrap();
    assert!(issues.iter().any(|issue| issue == "clockSkew"), "nobody is told that the clock is wrong: {sensor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_fifty_years_behind_enrols_checks_in_and_updates() {
    a_host_is_off_by("-50y", "trust::a_host_fifty_years_behind_enrols_checks_in_and_updates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_fifty_years_ahead_enrols_checks_in_and_updates() {
    a_host_is_off_by("+50y", "trust::a_host_fifty_years_ahead_enrols_checks_in_and_updates").await;
}
