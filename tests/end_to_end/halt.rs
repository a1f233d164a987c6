//! The short form of `cargo xtask scenario halt`.

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_lives_and_does_not_detect_touches_two_hosts_and_no_new_one() {
    let evidence = watchpost_tests::halt::play(4).await.unwrap();
    assert_eq!(evidence["state"], "halted");
    assert_eq!(evidence["touched"].as_array().map(Vec::len), Some(2), "{evidence:#}");
    assert_eq!(evidence["neverTouched"], 2);
}
