//! Bad values: each is refused with the name of the field and, where there is one, of the limit.

use crate::{Code, EnrollReply, EnrollRequest, ErrorReply, SyncReply, SyncRequest, WireError, limits, wire};
use prost::Message as _;
use watchpost_core::facts::Measurements;
use watchpost_core::sync::{Report, UpdateProgress};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

/// A report that is taken, as protobuf.
fn report() -> wire::Report {
    wire::SyncRequest::decode(SyncRequest::encode(&Report::default(), &Measurements::default()).as_slice())
        .unwrap()
        .report
        .unwrap()
}

fn read(report: wire::Report) -> Result<SyncRequest, WireError> {
    let raw = wire::SyncRequest { protocol_version: 1, report: Some(report), measurements: Vec::new() };
    SyncRequest::from_bytes(&raw.encode_to_vec())
}

fn enrolment() -> wire::EnrollRequest {
    wire::EnrollRequest {
        protocol_version: 1,
        enrolment_id: "e".into(),
        secret: vec![1; 32],
        host_id: "h".into(),
        name: "n".into(),
        sensor_type: "adfsIntegrated".into(),
        ..Default::default()
    }
}

fn enroll(raw: &wire::EnrollRequest) -> Result<EnrollRequest, WireError> {
    EnrollRequest::from_bytes(&raw.encode_to_vec())
}

fn reply() -> wire::SyncReply {
    wire::SyncReply {
        asked: None,
        server_time_ms: 1,
        come_back_after_ms: 1,
        desired: Some(wire::Desired::default()),
        standing: None,
        learn_server_keys: false,
    }
}

/// Checks that the refusal names the field.
fn names<T: std::fmt::Debug>(result: Result<T, WireError>, field: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.contains(field), "“{text}” does not name {field}");
}

#[test]
fn a_report_out_of_bounds_is_refused() {
    assert!(read(report()).is_ok());
    names(read(wire::Report { service: 0, ..report() }), "service is missing");
    names(read(wire::Report { service: 99, ..report() }), "service holds a value");
    names(read(wire::Report { update: None, ..report() }), "update is missing");
    names(read(wire::Report { version: "2.x".into(), ..report() }), "version");
    names(read(wire::Report { conditions: vec!["a".into(); limits::CONDITIONS + 1], ..report() }), "the limit is 64");
    names(read(wire::Report { conditions: vec!["two words".into()], ..report() }), "conditions");
    names(read(wire::Report { bad_versions: vec!["1.1.1.1".into(); 257], ..report() }), "badVersions has 257");
    names(read(wire::Report { operating_system: "x".repeat(1025), ..report() }), "operatingSystem has 1025");
    names(read(wire::Report { operating_system: "\u{1b}[31m".into(), ..report() }), "operatingSystem");
    let preparing = wire::Update::Preparing(wire::Preparing { version: "1.1.1.1".into(), percent: 101 });
    names(read(wire::Report { update: Some(preparing), ..report() }), "0 to 100");
    let failed = wire::Failed { version: "1.1.1.1".into(), at_ms: -1, ..Default::default() };
    names(read(wire::Report { update: Some(wire::Update::Failed(failed)), ..report() }), "update.at");
}

#[test]
fn an_enrolment_out_of_bounds_is_refused() {
    assert!(enroll(&enrolment()).is_ok());
    names(enroll(&wire::EnrollRequest { secret: vec![1; 31], ..enrolment() }), "secret");
    names(enroll(&wire::EnrollRequest { enrolment_id: String::new(), ..enrolment() }), "enrolmentId is missing");
    names(enroll(&wire::EnrollRequest { name: "n".repeat(257), ..enrolment() }), "name has 257, the limit is 256");
    names(enroll(&wire::EnrollRequest { sensor_type: "a/b".into(), ..enrolment() }), "sensorType");
    names(enroll(&wire::EnrollRequest { domain_controllers: vec!["d".into(); 65], ..enrolment() }), "has 65");
    let newer = enroll(&wire::EnrollRequest { protocol_version: 2, ..enrolment() }).unwrap_err();
    assert_eq!(newer.code(), Code::ProtocolUnsupported);
    assert_eq!(
        enroll(&wire::EnrollRequest { name: String::new(), ..enrolment() }).unwrap_err().code(),
        Code::Malformed
    );
}

#[test]
fn an_answer_out_of_bounds_is_refused() {
    let read = |raw: wire::SyncReply| SyncReply::from_bytes(&raw.encode_to_vec());
    assert!(read(reply()).is_ok());
    names(read(wire::SyncReply { desired: None, ..reply() }), "desired is missing");
    names(read(wire::SyncReply { come_back_after_ms: 86_400_001, ..reply() }), "comeBackAfter");
    names(read(wire::SyncReply { server_time_ms: i64::MAX, ..reply() }), "serverTime");
    let desired = |desired| wire::SyncReply { desired: Some(desired), ..reply() };
    let version = || String::from("2.255.1.0");
    names(read(desired(wire::Desired { version: version(), ..Default::default() })), "desired.target is missing");
    let target = |name: &str, sha256: &str, length| {
        let target = wire::TargetRef { name: name.into(), sha256: sha256.into(), length };
        desired(wire::Desired { version: version(), target: Some(target), ..Default::default() })
    };
    let hash = "0a".repeat(32);
    assert!(read(target("x.cab", &hash, 1)).is_ok());
    names(read(target("../x.cab", &hash, 1)), "target.name");
    names(read(target("x.cab", &hash.to_uppercase(), 1)), "target.sha256");
    names(read(target("x.cab", &hash, u64::MAX)), "target.length");
    names(EnrollReply::from_bytes(&wire::EnrollReply::default().encode_to_vec()), "sensorId");
    names(ErrorReply::from_bytes(&[]), "code is missing");
    names(SyncReply::from_bytes(&vec![0; limits::REPLY_BYTES + 1]), "the limit is 65536");
}

#[test]
fn a_long_reason_never_keeps_a_host_from_checking_in() {
    let reason = format!("line\n{}", "é".repeat(5000));
    let update = UpdateProgress::Failed {
        version: Version::new(1, 0, 0, 0),
        reverted: false,
        reason,
        at: Timestamp::from_millis(1),
    };
    let bytes = SyncRequest::encode(&Report { update, ..Report::default() }, &Measurements::default());
    let read = SyncRequest::from_bytes(&bytes).unwrap();
    let UpdateProgress::Failed { reason, .. } = read.report.update else { panic!("another step") };
    assert!(reason.starts_with("line é") && reason.chars().count() == limits::TEXT_CHARS);
    let refusal = ErrorReply::new(Code::Internal, "x".repeat(5000));
    assert_eq!(ErrorReply::from_bytes(&refusal.to_bytes()).unwrap().message.len(), limits::TEXT_CHARS);
}
