//! A real sensor that runs as somebody else, with the right to capture and no other: it is installed, detects and is
//! cleared, and its updater can still end it.

use anyhow::Context as _;
use watchpost_tests::site::{Site, has_own_mounts};

/// Disks of the control plane and of the host, in MiB.
const DISK: u32 = 512;
/// CAP_NET_RAW, number 13.
const RAW_SOCKETS: &str = "0000000000002000";

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_without_rights_watches_and_is_cleared() -> anyhow::Result<()> {
    if !has_own_mounts("least_rights::a_sensor_without_rights_watches_and_is_cleared")? {
        return Ok(());
    }
    let mut site = Site::found(DISK, DISK).await?;
    site.share_clock()?;
    site.publish(&site.release("2.254.1.0")?)?;
    let log = site.path("audit.jsonl");
    std::fs::write(&log, "")?;
    let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--sensor-user", "nobody"];
    site.set_up_host("DC01", &[&facts[..], &["--audit-log", &log]].concat())?;
    let runs = |row: &serde_json::Value, version: &str| {
        row["deploymentStatus"] == "upToDate" && row["serviceStatus"] == "running" && row["version"] == version
    };
    site.until("sensors/DC01", "it is cleared", |row| runs(row, "2.254.1.0")).await?;
    let status = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/status"));
    let pid = site.sensor_pid().context("no sensor runs")?;
    let found = status(pid)?;
    let line =
        |name: &str| found.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert!(!line("Uid:").split_whitespace().any(|uid| uid == "0"), "{found}");
    assert_eq!(
        (line("CapEff:"), line("CapBnd:"), line("NoNewPrivs:")),
        (RAW_SOCKETS.into(), RAW_SOCKETS.into(), "1".into())
    );
    site.publish(&site.release("2.255.1.0")?)?;
    let is_new = |row: &serde_json::Value| runs(row, "2.255.1.0");
    site.until("sensors/DC01", "the next release is cleared", is_new).await?;
    assert!(status(pid).is_err(), "the sensor before has ended");
    Ok(())
}
