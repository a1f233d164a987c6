//! The protobuf form. Numbers are never used twice; a field that goes keeps its number reserved in a comment.
//!
//! Only `PROTOCOL_VERSION` 1 exists; its bytes are checked in under `fixtures/` and never edited.

#![expect(missing_docs, reason = "fields say what the typed forms beside them document")]

/// See [`crate::EnrollRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct EnrollRequest {
    #[prost(uint32, tag = "1")]
    pub protocol_version: u32,
    #[prost(string, tag = "2")]
    pub enrolment_id: String,
    #[prost(bytes = "vec", tag = "3")]
    pub secret: Vec<u8>,
    #[prost(string, tag = "4")]
    pub host_id: String,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(string, tag = "6")]
    pub sensor_type: String,
    #[prost(string, tag = "7")]
    pub domain: String,
    #[prost(string, tag = "8")]
    pub site: String,
    #[prost(string, tag = "9")]
    pub zone: String,
    #[prost(bool, tag = "10")]
    pub delayed: bool,
    #[prost(string, tag = "11")]
    pub version: String,
    #[prost(string, tag = "12")]
    pub operating_system: String,
    #[prost(string, repeated, tag = "13")]
    pub domain_controllers: Vec<String>,
}

/// See [`crate::EnrollReply`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct EnrollReply {
    #[prost(string, tag = "1")]
    pub sensor_id: String,
    #[prost(int64, tag = "2")]
    pub server_time_ms: i64,
    #[prost(uint64, tag = "3")]
    pub come_back_after_ms: u64,
}

/// See [`crate::SyncRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SyncRequest {
    #[prost(uint32, tag = "1")]
    pub protocol_version: u32,
    #[prost(message, optional, tag = "2")]
    pub report: Option<Report>,
    /// JSON; empty: nothing measured.
    #[prost(bytes = "vec", tag = "3")]
    pub measurements: Vec<u8>,
}

/// See [`watchpost_core::sync::Report`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(enumeration = "ServiceState", tag = "2")]
    pub service: i32,
    #[prost(oneof = "Update", tags = "3, 4, 5, 6, 70, 71")]
    pub update: Option<Update>,
    #[prost(string, repeated, tag = "7")]
    pub bad_versions: Vec<String>,
    #[prost(message, optional, tag = "8")]
    pub proof: Option<DetectionProof>,
    #[prost(uint64, tag = "9")]
    pub generation: u64,
    #[prost(uint64, tag = "10")]
    pub settings_generation: u64,
    #[prost(bool, tag = "11")]
    pub pulled_configuration: bool,
    #[prost(string, repeated, tag = "12")]
    pub conditions: Vec<String>,
    #[prost(uint64, tag = "13")]
    pub alert_count: u64,
    #[prost(string, tag = "14")]
    pub operating_system: String,
    /// JSON; empty: nothing observed.
    #[prost(bytes = "vec", tag = "15")]
    pub facts: Vec<u8>,
    /// JSON; empty: no rule package was ever tried.
    #[prost(bytes = "vec", tag = "16")]
    pub rules: Vec<u8>,
    /// Each 32 bytes; none: a host that says nothing of it.
    #[prost(bytes = "vec", repeated, tag = "90")]
    pub server_keys: Vec<Vec<u8>>,
    /// JSON; empty: there was no reason to look.
    #[prost(bytes = "vec", tag = "91")]
    pub connection: Vec<u8>,
    /// Empty: nobody on the host asks for anything.
    #[prost(string, tag = "80")]
    pub asked: String,
    /// Empty: the installed updater runs.
    #[prost(string, tag = "92")]
    pub updater_version: String,
    #[prost(message, optional, tag = "93")]
    pub refused_updater: Option<RefusedUpdater>,
}

/// See [`watchpost_core::sync::RefusedUpdater`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct RefusedUpdater {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// See [`watchpost_core::sync::ServiceState`]. Zero means that nobody said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ServiceState {
    Unspecified = 0,
    Running = 1,
    Starting = 2,
    Disabled = 3,
    Stopped = 4,
}

/// See [`watchpost_core::sync::UpdateProgress`]. Idle is said, so that an unknown step is not taken for it.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Update {
    #[prost(message, tag = "3")]
    Idle(Idle),
    #[prost(message, tag = "4")]
    Preparing(Preparing),
    #[prost(message, tag = "5")]
    AwaitingClearance(AwaitingClearance),
    #[prost(message, tag = "6")]
    Failed(Failed),
    #[prost(message, tag = "70")]
    Staged(ForVersion),
    #[prost(message, tag = "71")]
    Restarting(ForVersion),
}

/// A step that is about a version and nothing else.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ForVersion {
    #[prost(string, tag = "1")]
    pub version: String,
}

/// Nothing under way.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Idle {}

/// The package is on its way.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Preparing {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(uint32, tag = "2")]
    pub percent: u32,
}

/// The new version runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AwaitingClearance {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(int64, tag = "2")]
    pub switched_at_ms: i64,
}

/// The attempt ended badly.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failed {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(bool, tag = "2")]
    pub reverted: bool,
    #[prost(string, tag = "3")]
    pub reason: String,
    #[prost(int64, tag = "4")]
    pub at_ms: i64,
}

/// See [`watchpost_core::sync::DetectionProof`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct DetectionProof {
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(int64, tag = "3")]
    pub detected_at_ms: i64,
    #[prost(uint32, tag = "4")]
    pub rules_loaded: u32,
    #[prost(uint32, tag = "5")]
    pub rules_failed: u32,
    /// JSON; empty: `sigma` alone.
    #[prost(bytes = "vec", tag = "6")]
    pub engines: Vec<u8>,
}

/// See [`crate::SyncReply`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SyncReply {
    #[prost(int64, tag = "1")]
    pub server_time_ms: i64,
    #[prost(uint64, tag = "2")]
    pub come_back_after_ms: u64,
    #[prost(message, optional, tag = "3")]
    pub desired: Option<Desired>,
    /// Absent: the certificate that was presented is the only one, and stays.
    #[prost(message, optional, tag = "60")]
    pub standing: Option<Standing>,
    /// The director's metadata names other keys of the server than the host has said to trust.
    #[prost(bool, tag = "90")]
    pub learn_server_keys: bool,
    /// Absent: nothing was asked for, or it is on its way.
    #[prost(message, optional, tag = "80")]
    pub asked: Option<AskedReply>,
}

/// See [`watchpost_core::sync::AskedReply`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct AskedReply {
    #[prost(bool, tag = "1")]
    pub refused: bool,
    #[prost(string, tag = "2")]
    pub why: String,
}

/// See [`watchpost_core::identity::Standing`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Standing {
    #[prost(message, repeated, tag = "1")]
    pub certificates: Vec<KnownCertificate>,
    #[prost(bool, tag = "2")]
    pub renew: bool,
}

/// One certificate, and what it is taken for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KnownCertificate {
    #[prost(bytes = "vec", tag = "1")]
    pub pin: Vec<u8>,
    #[prost(enumeration = "CertificateRole", tag = "2")]
    pub role: i32,
}

/// See [`watchpost_core::identity::Role`]. Zero means that nobody said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CertificateRole {
    Unspecified = 0,
    Active = 1,
    Pending = 2,
    Retiring = 3,
}

/// See [`crate::ProposeRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProposeRequest {
    #[prost(uint32, tag = "1")]
    pub protocol_version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub pin: Vec<u8>,
}

/// See [`crate::ConfirmRequest`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ConfirmRequest {
    #[prost(uint32, tag = "1")]
    pub protocol_version: u32,
}

/// See [`watchpost_core::sync::Desired`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Desired {
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(message, optional, tag = "3")]
    pub target: Option<TargetRef>,
    #[prost(bool, tag = "4")]
    pub cleared: bool,
    #[prost(bool, tag = "5")]
    pub retry: bool,
    #[prost(uint64, tag = "6")]
    pub settings_generation: u64,
    /// JSON; empty: nothing was ever set.
    #[prost(bytes = "vec", tag = "7")]
    pub settings: Vec<u8>,
    /// JSON; empty: the rules of the release alone.
    #[prost(bytes = "vec", tag = "8")]
    pub rules: Vec<u8>,
    #[prost(bool, tag = "9")]
    pub may_restart: bool,
}

/// See [`crate::EvidenceRequest`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct EvidenceRequest {
    #[prost(uint32, tag = "1")]
    pub protocol_version: u32,
    /// JSON.
    #[prost(bytes = "vec", tag = "2")]
    pub batch: Vec<u8>,
}

/// See [`crate::EvidenceReply`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct EvidenceReply {
    #[prost(string, tag = "1")]
    pub stream: String,
    #[prost(uint64, tag = "2")]
    pub taken_through: u64,
}

/// See [`crate::PingReply`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct PingReply {
    #[prost(int64, tag = "1")]
    pub server_time_ms: i64,
    #[prost(bool, tag = "2")]
    pub is_enrolled: bool,
}

/// See [`watchpost_core::sync::TargetRef`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct TargetRef {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub sha256: String,
    #[prost(uint64, tag = "3")]
    pub length: u64,
}

/// See [`crate::ErrorReply`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ErrorReply {
    #[prost(string, tag = "1")]
    pub code: String,
    #[prost(string, tag = "2")]
    pub message: String,
}
