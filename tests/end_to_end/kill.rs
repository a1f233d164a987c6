//! The short form of `cargo xtask scenario kill9`.

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_at_random_instants_leave_every_host_on_a_correct_running_version() {
    let evidence = watchpost_tests::kill::campaign(20, 20_261_121).await.unwrap();
    assert_eq!(evidence["kills"], 20);
}
