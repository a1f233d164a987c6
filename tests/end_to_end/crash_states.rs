//! The short form of `cargo xtask scenario crash-states`.

/// Disks of each path that are recovered from.
const STATES: usize = 300;
/// As many as there have to be in all (safety 6.2).
const THERE_ARE: u64 = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_recovers_from_whatever_a_power_cut_leaves_on_its_disk() {
    let evidence = watchpost_tests::crash_states::campaign(Some(STATES), 1).await.unwrap();
    println!("{evidence:#}");
    assert!(evidence["distinctStates"].as_u64() >= Some(THERE_ARE), "{evidence}");
    assert_eq!(evidence["paths"].as_object().map(serde_json::Map::len), Some(6), "{evidence}");
}
