//! Each threshold just before and just after.

use std::time::Duration;

use super::*;
use crate::trust::{Repository, Role};

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const GIB: u64 = 1 << 30;

fn troubles(observed: &Observed) -> Vec<(Trouble, String)> {
    let found = findings(observed, &OwnHealthPolicy::default(), NOW);
    found.into_iter().map(|finding| (finding.trouble, finding.subject)).collect()
}

fn with_disk(free: u64, total: u64) -> bool {
    !troubles(&Observed { disk: Some(Disk { free, total }), ..Observed::default() }).is_empty()
}

#[test]
fn nothing_observed_is_no_trouble() {
    assert_eq!(troubles(&Observed::default()), []);
}

#[test]
fn a_disk_is_low_below_a_tenth_or_below_one_gibibyte() {
    assert!(!with_disk(10 * GIB, 100 * GIB));
    assert!(with_disk(10 * GIB - 1, 100 * GIB));
    assert!(!with_disk(GIB, 5 * GIB));
    assert!(with_disk(GIB - 1, 5 * GIB), "a fifth is free, and less than 1 GiB");
}

#[test]
fn the_room_is_told_in_tenths_of_a_gibibyte() {
    let observed = Observed { disk: Some(Disk { free: GIB / 2 + 7, total: 30 * GIB }), ..Observed::default() };
    let found = findings(&observed, &OwnHealthPolicy::default(), NOW);
    assert_eq!(found[0].reason, "0.5 of 30.0 GiB are free under the data folder");
}

#[test]
fn a_database_that_takes_nothing_is_told() {
    let observed = Observed { database: Some("the disk is full".to_owned()), ..Observed::default() };
    assert_eq!(troubles(&observed), [(Trouble::DatabaseNotWritable, "database".to_owned())]);
}

#[test]
fn expiry_is_told_twenty_one_days_before_and_of_what_is_signed_daily_three() {
    let first = |subject, at| {
        let dated = Dated { subject, at, signers: None };
        troubles(&Observed { expiries: vec![dated], ..Observed::default() }).first().map(|(trouble, _)| *trouble)
    };
    let second = Duration::from_secs(1);
    use Trouble::{CertificateExpired, CertificateToExpire, TrustExpired, TrustToExpire};
    let (by_hand, daily) = ((Repository::Image, Role::Targets), (Repository::Director, Role::Snapshot));
    for (subject, days, soon, over) in [
        (Subject::PortalCertificate, 21, CertificateToExpire, CertificateExpired),
        (Subject::Document(by_hand.0, by_hand.1), 21, TrustToExpire, TrustExpired),
        (Subject::Document(daily.0, daily.1), 3, TrustToExpire, TrustExpired),
    ] {
        assert_eq!(first(subject, NOW + DAY * days), None);
        assert_eq!(first(subject, NOW + DAY * days - second), Some(soon));
        assert_eq!(first(subject, NOW + second), Some(soon));
        assert_eq!(first(subject, NOW), Some(over));
    }
}

#[test]
fn work_that_fails_for_a_minute_is_told_and_a_hiccup_is_not() {
    let since = |span| {
        let failing = Failing { work: "planning", since: NOW - span, reason: "because".to_owned() };
        troubles(&Observed { failing: vec![failing], ..Observed::default() })
    };
    assert_eq!(since(Duration::from_secs(59)), []);
    assert_eq!(since(Duration::from_secs(60)), [(Trouble::WorkFailing, "planning".to_owned())]);
}
