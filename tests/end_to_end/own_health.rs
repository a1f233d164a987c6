//! The control plane says of itself that its disk is full and its database takes nothing, and that both are over.

use serde_json::Value;
use watchpost_tests::site::{Ballast, Site, has_own_mounts};

/// Room for a control plane, in MiB; always less than it wants to keep free.
const SERVER_MIB: u32 = 24;
/// Room for a host.
const HOST_MIB: u32 = 64;

fn has(status: &Value, trouble: &str) -> bool {
    let troubles = status["ownHealth"]["troubles"].as_array();
    troubles.is_some_and(|all| all.iter().any(|one| one["trouble"] == trouble))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_shows_in_the_servers_own_health_and_goes() -> anyhow::Result<()> {
    if !has_own_mounts("own_health::a_full_disk_shows_in_the_servers_own_health_and_goes")? {
        return Ok(());
    }
    let mut site = Site::found(SERVER_MIB, HOST_MIB).await?;
    // A host, so that time goes on.
    site.bring_up_host()?;
    let status = site.until("status", "a look with a test write", |status| has(status, "diskLow")).await?;
    assert!(!has(&status, "databaseNotWritable"), "{status}");
    let first = status["earliestExpiry"]["name"].as_str().unwrap_or_default();
    assert!(first.starts_with("director repository, "), "{status}");
    let ballast = Ballast::fill(&std::path::PathBuf::from(site.path("server")))?;
    let takes_nothing = |status: &Value| has(status, "databaseNotWritable");
    site.until("status", "the database takes nothing", takes_nothing).await?;
    drop(ballast);
    site.until("status", "the database takes writes again", |status| !has(status, "databaseNotWritable")).await?;
    Ok(())
}
