//! The short form of `cargo xtask scenario guard`.

use watchpost_tests::guard;
use watchpost_tests::site::has_own_mounts;

/// How long each load lasts, in seconds: one sample may fall short of the reserve.
const SECONDS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_host_keeps_its_reserve_and_gets_the_sensors_memory_back() -> anyhow::Result<()> {
    if !has_own_mounts("guard::a_busy_host_keeps_its_reserve_and_gets_the_sensors_memory_back")? {
        return Ok(());
    }
    let found = guard::play(SECONDS).await?;
    assert_eq!(found["busy"]["guard"]["means"], "cgroupV1");
    Ok(())
}
