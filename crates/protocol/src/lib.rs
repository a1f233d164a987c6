//! What a sensor host and the gateway say to each other.
//!
//! Messages are protobuf over HTTP/1.1 over mutual TLS 1.3. Each has a typed form here; `wire` holds the bytes' form.
//! Reading never trusts the other side: unknown words, long texts and long lists are refused with the name of the limit.

mod code;
mod enroll;
mod error;
mod evidence;
mod fields;
mod identity;
pub mod limits;
pub mod paths;
mod ping;
mod sync;
#[cfg(test)]
mod tests;
pub mod wire;

pub use code::Code;
pub use enroll::{EnrollReply, EnrollRequest};
pub use error::{ErrorReply, WireError};
pub use evidence::{EvidenceReply, EvidenceRequest};
pub use identity::{ConfirmRequest, ProposeRequest, StandingReply};
pub use ping::PingReply;
pub use sync::{SyncReply, SyncRequest};

/// The version of the protocol this build speaks; it travels in every request.
pub const PROTOCOL_VERSION: u32 = 1;

/// The `Content-Type` of every message, error replies included.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
