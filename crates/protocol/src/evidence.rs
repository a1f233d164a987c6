//! Evidence on its way up: one batch, and how far the server has taken the stream it belongs to.

use prost::Message as _;
use watchpost_core::evidence::{Batch, MAX_BATCH_BYTES, MAX_BATCH_ITEMS};

use crate::PROTOCOL_VERSION;
use crate::error::WireError;
use crate::fields::{count, decode, from_json, word};
use crate::limits::{REPLY_BYTES, REQUEST_BYTES};
use crate::wire;

/// One batch. Safe to lose and to repeat: what the server has already taken changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRequest {
    /// What is sent.
    pub batch: Batch,
}

impl EvidenceRequest {
    /// The bytes of a batch that is already in its JSON form: the updater passes it on and never reads it.
    #[must_use]
    pub fn encode(batch: Vec<u8>) -> Vec<u8> {
        wire::EvidenceRequest { protocol_version: PROTOCOL_VERSION, batch }.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message, break a limit, or speak another protocol version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::EvidenceRequest = decode("the evidence", bytes, REQUEST_BYTES)?;
        if raw.protocol_version != PROTOCOL_VERSION {
            return Err(WireError::Version { found: raw.protocol_version });
        }
        let batch: Batch = from_json("batch", &raw.batch, MAX_BATCH_BYTES)?;
        word("batch.stream", batch.stream.clone())?;
        count(
            "batch.alerts and batch.devices",
            batch.alerts.len().saturating_add(batch.devices.len()),
            MAX_BATCH_ITEMS,
        )?;
        Ok(Self { batch })
    }
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceReply {
    /// The stream that is meant.
    pub stream: String,
    /// Everything up to this number is durable on the server.
    pub taken_through: u64,
}

impl EvidenceReply {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::EvidenceReply { stream: self.stream.clone(), taken_through: self.taken_through }.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message or break a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::EvidenceReply = decode("the reply to the evidence", bytes, REPLY_BYTES)?;
        Ok(Self { stream: word("stream", raw.stream)?, taken_through: raw.taken_through })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_back_and_one_beyond_its_limits_is_refused() {
        let batch = Batch { stream: "0a1b".to_owned(), through: 7, ..Batch::default() };
        let bytes = EvidenceRequest::encode(serde_json::to_vec(&batch).unwrap());
        assert_eq!(EvidenceRequest::from_bytes(&bytes).unwrap().batch, batch);
        let reply = EvidenceReply { stream: "0a1b".to_owned(), taken_through: 7 };
        assert_eq!(EvidenceReply::from_bytes(&reply.to_bytes()).unwrap(), reply);
        for bad in [b"{".to_vec(), vec![b' '; MAX_BATCH_BYTES + 1], b"{\"stream\":\"../x\"}".to_vec(), Vec::new()] {
            assert!(EvidenceRequest::from_bytes(&EvidenceRequest::encode(bad)).is_err());
        }
        let many = Batch { devices: vec![watchpost_core::evidence::Device::default(); MAX_BATCH_ITEMS + 1], ..batch };
        assert!(EvidenceRequest::from_bytes(&EvidenceRequest::encode(serde_json::to_vec(&many).unwrap())).is_err());
    }
}
