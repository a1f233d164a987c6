//! The question that changes nothing: what time it is there, and whether the server knows who asks.

use prost::Message as _;
use watchpost_core::time::Timestamp;

use crate::error::WireError;
use crate::fields::{decode, instant};
use crate::limits::REPLY_BYTES;
use crate::wire;

/// The answer to a ping, which anybody gets who holds the server's right key against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReply {
    /// The server's time.
    pub server_time: Timestamp,
    /// Whether the certificate that asked belongs to an enrolled sensor.
    pub is_enrolled: bool,
}

impl PingReply {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::PingReply { server_time_ms: self.server_time.millis(), is_enrolled: self.is_enrolled }.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message or name no instant.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::PingReply = decode("the reply to the ping", bytes, REPLY_BYTES)?;
        Ok(Self { server_time: instant("serverTime", raw.server_time_ms)?, is_enrolled: raw.is_enrolled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_reads_back_and_garbage_is_refused() {
        for is_enrolled in [true, false] {
            let reply = PingReply { server_time: Timestamp::from_millis(1_767_571_200_000), is_enrolled };
            assert_eq!(PingReply::from_bytes(&reply.to_bytes()).unwrap(), reply);
        }
        assert!(PingReply::from_bytes(b"HTTP").is_err());
        assert!(PingReply::from_bytes(&vec![0; REPLY_BYTES + 1]).is_err());
    }
}
