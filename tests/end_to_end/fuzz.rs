//! The short form of `cargo xtask scenario fuzz`.

/// So many seconds for all targets together.
const SECONDS: u64 = 40;

#[test]
fn no_mutated_package_message_record_or_metadata_makes_anything_panic() {
    let evidence = watchpost_tests::fuzz::campaign(SECONDS, 1).unwrap();
    let targets = evidence["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 4, "{evidence}");
    assert!(targets.iter().all(|target| target["inputs"].as_u64() > Some(100)), "{evidence}");
}
