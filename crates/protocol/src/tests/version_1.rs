//! The messages of protocol version 1: their bytes are checked in under `fixtures/v1` and are never edited.
//! A build that cannot read them, or writes others, has broken the hosts in the field.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use crate::{Code, EnrollReply, EnrollRequest, ErrorReply, SyncReply, SyncRequest};
use proptest::prelude::*;
use watchpost_core::connection::{ConnectionCheck, Occasion, Verdict};
use watchpost_core::facts::Measurements;
use watchpost_core::id::SensorId;
use watchpost_core::identity::{Pin, Role, Standing};
use watchpost_core::sync::{
    AskedReply, Desired, DetectionProof, RefusedUpdater, Report, ServiceState, TargetRef, UpdateProgress, UpdaterReport,
};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

const AT: Timestamp = Timestamp::from_millis(1_767_571_200_000);

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/v1/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// Both directions: what is written is the fixture, what the fixture reads as is the value.
fn check<M: Debug + PartialEq>(name: &str, written: &[u8], read: impl Fn(&[u8]) -> M, value: &M) {
    assert_eq!(hex::encode(written), hex::encode(fixture(name)), "{name} is written otherwise");
    assert_eq!(read(&fixture(name)), *value, "{name} is read otherwise");
}

fn check_report(name: &str, report: &Report) {
    check(
        name,
        &SyncRequest::encode(report, &Measurements::default()),
        |bytes| SyncRequest::from_bytes(bytes).unwrap().report,
        report,
    );
}

#[test]
fn enrolment() {
    let request = EnrollRequest {
        enrolment_id: "01KE6V5B8000000000000000AB".into(),
        secret: [7; 32],
        host_id: "4c4c4544-0051".into(),
        name: "DC1".into(),
        sensor_type: "domainControllerIntegrated".into(),
        domain: Some("lab.test".into()),
        site: Some("Berlin".into()),
        zone: None,
        delayed: true,
        domain_controllers: vec!["dc1.lab.test".into(), "dc2.lab.test".into()],
        version: Some(Version::new(2, 254, 1, 0)),
        operating_system: "Debian 13".into(),
    };
    check("enroll_request", &request.to_bytes(), |bytes| EnrollRequest::from_bytes(bytes).unwrap(), &request);
    assert!(!format!("{request:?}").contains("7, 7"), "the secret is printed");
    let reply = EnrollReply {
        sensor_id: SensorId::from_parts(AT, 7),
        server_time: AT,
        come_back_after: Duration::from_secs(60),
    };
    check("enroll_reply", &reply.to_bytes(), |bytes| EnrollReply::from_bytes(bytes).unwrap(), &reply);
}

#[test]
fn check_ins_of_every_step() {
    let version = Version::new(2, 255, 1, 0);
    let quiet = Report { service: ServiceState::Running, ..Report::default() };
    check_report("sync_request_idle", &quiet);
    let preparing = UpdateProgress::Preparing { version, percent: 40 };
    check_report(
        "sync_request_preparing",
        &Report { service: ServiceState::Disabled, update: preparing, ..Report::default() },
    );
    let awaiting = UpdateProgress::AwaitingClearance { version, switched_at: AT };
    check_report(
        "sync_request_awaiting",
        &Report {
            version: Some(version),
            service: ServiceState::Starting,
            update: awaiting,
            bad_versions: BTreeSet::from([Version::new(2, 254, 9, 9), Version::new(2, 254, 10, 1)]),
            proof: Some(DetectionProof {
                generation: 3,
                version,
                detected_at: AT,
                rules_loaded: 6,
                rules_failed: 1,
                engines: std::collections::BTreeMap::new(),
            }),
            generation: 3,
            settings_generation: 2,
            pulled_configuration: true,
            conditions: BTreeSet::from(["someNetworkTrafficNotAnalyzed".into()]),
            alert_count: 300,
            operating_system: "Debian 13".into(),
            ..Report::default()
        },
    );
    // Added later: a message without it is one of a host that says nothing of it.
    let keys = Report { server_keys: (1..=4).map(|n| [n; 32].into()).collect(), ..quiet.clone() };
    let bytes = SyncRequest::encode(&keys, &Measurements::default());
    assert_eq!(SyncRequest::from_bytes(&bytes).unwrap().report, keys);
    let check = ConnectionCheck::new(Verdict::NoAnswer, AT, Occasion::Trouble, "no answer");
    let checked = Report { connection: Some(check), ..quiet.clone() };
    let bytes = SyncRequest::encode(&checked, &Measurements::default());
    assert_eq!(SyncRequest::from_bytes(&bytes).unwrap().report, checked);
    let at = bytes.windows(8).position(|eight| eight == b"noAnswer").unwrap();
    let newer = [&bytes[..at], b"newWords", &bytes[at + 8..]].concat();
    assert_eq!(SyncRequest::from_bytes(&newer).unwrap().report, quiet, "a word of a newer host");
    let too_many = Report { server_keys: (1..=5).map(|n| [n; 32].into()).collect(), ..quiet.clone() };
    let refused = SyncRequest::from_bytes(&SyncRequest::encode(&too_many, &Measurements::default()));
    assert!(refused.unwrap_err().to_string().contains("serverKeys"));
    let failed = UpdateProgress::Failed { version, reverted: true, reason: "it did not get ready".into(), at: AT };
    check_report("sync_request_failed", &Report { update: failed, ..Report::default() });
    let asking = Report { asked: Some(version), ..quiet.clone() };
    let bytes = SyncRequest::encode(&asking, &Measurements::default());
    assert_eq!(SyncRequest::from_bytes(&bytes).unwrap().report, asking);
    let refused = RefusedUpdater { version, reason: "it was started\n3 times".into() };
    let updater = UpdaterReport { version: Some(version), refused: Some(refused) };
    let bytes = SyncRequest::encode(&Report { updater: updater.clone(), ..quiet }, &Measurements::default());
    let refused = RefusedUpdater { version, reason: "it was started 3 times".into() };
    let read = SyncRequest::from_bytes(&bytes).unwrap().report.updater;
    assert_eq!(read, UpdaterReport { refused: Some(refused), ..updater }, "a line stays one");
}

#[test]
fn restarts_read_back_and_an_answer_that_says_nothing_of_them_allows_none() {
    let version = Version::new(2, 300, 1, 0);
    for update in [UpdateProgress::Staged { version }, UpdateProgress::Restarting { version }] {
        let report = Report { update, ..Report::default() };
        let bytes = SyncRequest::encode(&report, &Measurements::default());
        assert_eq!(SyncRequest::from_bytes(&bytes).unwrap().report, report);
    }
    let allowed = Desired { may_restart: true, ..Desired::default() };
    let reply = SyncReply {
        server_time: AT,
        come_back_after: Duration::ZERO,
        desired: allowed,
        standing: None,
        learn_server_keys: false,
        asked: None,
    };
    assert_eq!(SyncReply::from_bytes(&reply.to_bytes()).unwrap(), reply);
    assert!(!SyncReply::from_bytes(&fixture("sync_reply")).unwrap().desired.may_restart);
}

#[test]
fn answers_and_refusals() {
    let target =
        TargetRef { name: "watchpost-sensor-2.255.1.0.cab".into(), sha256: "0a".repeat(32), length: 1_048_576 };
    let reply = SyncReply {
        server_time: AT,
        come_back_after: Duration::from_millis(57_500),
        desired: Desired {
            generation: 4,
            version: Some(Version::new(2, 255, 1, 0)),
            target: Some(target),
            cleared: true,
            retry: true,
            settings_generation: 2,
            ..Desired::default()
        },
        standing: None,
        learn_server_keys: false,
        asked: None,
    };
    check("sync_reply", &reply.to_bytes(), |bytes| SyncReply::from_bytes(bytes).unwrap(), &reply);
    let empty = SyncReply {
        server_time: AT,
        come_back_after: Duration::ZERO,
        desired: Desired::default(),
        standing: None,
        learn_server_keys: false,
        asked: None,
    };
    check("sync_reply_nothing", &empty.to_bytes(), |bytes| SyncReply::from_bytes(bytes).unwrap(), &empty);
    // Without the field, all is as before; with it, it reads back.
    let pins = vec![(Pin::from([1; 32]), Role::Retiring), (Pin::from([2; 32]), Role::Active)];
    let rotating = SyncReply { standing: Some(Standing { pins, renew: true }), ..empty.clone() };
    assert_eq!(SyncReply::from_bytes(&rotating.to_bytes()).unwrap(), rotating);
    let learning = SyncReply { learn_server_keys: true, ..rotating.clone() };
    assert_eq!(SyncReply::from_bytes(&learning.to_bytes()).unwrap(), learning);
    let (reason, what) = ("its rollout is halted".to_owned(), "DC2 to be cleared".to_owned());
    for asked in [AskedReply::Refused { reason }, AskedReply::Waits { what }] {
        let answering = SyncReply { asked: Some(asked), ..empty.clone() };
        assert_eq!(SyncReply::from_bytes(&answering.to_bytes()).unwrap(), answering);
    }
    let refusal = ErrorReply::new(Code::AccessKeyUnknown, "the access key is not known here");
    check("error_reply", &refusal.to_bytes(), |bytes| ErrorReply::from_bytes(bytes).unwrap(), &refusal);
    assert_eq!(refusal.known_code(), Some(Code::AccessKeyUnknown));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (EnrollRequest::from_bytes(&bytes), EnrollReply::from_bytes(&bytes), ErrorReply::from_bytes(&bytes));
        let _ = (SyncRequest::from_bytes(&bytes), SyncReply::from_bytes(&bytes));
    }

    #[test]
    fn a_bent_message_is_read_or_refused(at in 0_usize..400, with in any::<u8>()) {
        for name in ["enroll_request", "sync_request_awaiting", "sync_reply"] {
            let mut bytes = fixture(name);
            let place = at % bytes.len();
            bytes[place] = with;
            let _ = (EnrollRequest::from_bytes(&bytes), SyncRequest::from_bytes(&bytes), SyncReply::from_bytes(&bytes));
        }
    }
}
