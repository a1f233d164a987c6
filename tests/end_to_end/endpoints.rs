//! Which places have to be reached, and what a host found when somebody checked its way there; on real processes.

use std::process::Command;

use serde_json::Value;
use watchpost_tests::demo::word;
use watchpost_tests::site::Site;
use watchpost_tests::tools;

#[tokio::test(flavor = "multi_thread")]
async fn the_list_names_the_gateway_that_hosts_really_call_and_a_check_by_hand_is_shown_with_the_sensor() {
    let mut site = Site::without_small_disks().await.unwrap();
    let listed: Vec<Value> =
        serde_json::from_str(&site.watchpost(&["endpoints", "list", "--output", "json"]).unwrap()).unwrap();
    let of_hosts: Vec<_> = listed.iter().filter(|row| word(row, "from") == "host").collect();
    assert_eq!(of_hosts.len(), 1, "a host reaches one place");
    let gateway = (of_hosts[0]["host"].as_str(), of_hosts[0]["port"].as_u64());
    assert_eq!(gateway, (Some("127.0.0.1"), Some(u64::from(site.gateway_port()))));
    let csv = site.watchpost(&["endpoints", "export"]).unwrap();
    let line = format!("host,outbound,\"127.0.0.1\",{},tcp,", site.gateway_port());
    assert!(csv.starts_with("from,direction,host,port,") && csv.contains(&line), "{csv}");

    site.bring_up_host().unwrap();
    let seen = |sensor: &Value| !sensor["lastSeenDateTime"].is_null();
    let sensor = site.until("sensors/DC01", "a check-in", seen).await.unwrap();
    assert!(sensor["connectionCheck"].is_null(), "there was no reason to look");
    let mut check = Command::new(tools::binary("watchpost-updater").unwrap());
    tools::run(check.args(["check-connection", "--root"]).arg(site.host()), "cargo build").unwrap();
    let told = |sensor: &Value| sensor["connectionCheck"]["occasion"] == "byHand";
    let sensor = site.until("sensors/DC01", "the check by hand", told).await.unwrap();
    // The command lives by the wall's clock, which is behind the one that is stepped here.
    assert!(["ok", "clockWrong"].contains(&word(&sensor["connectionCheck"], "verdict")), "{sensor}");
}
