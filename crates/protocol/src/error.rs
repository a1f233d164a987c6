//! What can be wrong with a message, and the reply that says so.

use prost::Message as _;

use crate::code::Code;
use crate::fields::text;
use crate::limits::{REPLY_BYTES, TEXT_CHARS, WORD_CHARS};
use crate::wire;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes are no such message.
    #[error("the message is not the protobuf form that was expected")]
    NotProtobuf(#[source] prost::DecodeError),
    /// A part that is no JSON of its kind.
    #[error("{field} is not the JSON that was expected")]
    NotJson {
        /// Which part.
        field: &'static str,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A text, list or number is larger than its limit.
    #[error("{field} has {found}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        limit: u64,
    },
    /// Something that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value that nothing in this version means.
    #[error("{field} holds a value that this version does not know")]
    Unknown {
        /// Where it stands.
        field: &'static str,
    },
    /// A value in the wrong form.
    #[error("{field} is not {wanted}")]
    Form {
        /// Where it stands.
        field: &'static str,
        /// What should stand there.
        wanted: &'static str,
    },
    /// The other side speaks a protocol version that this one does not.
    #[error("protocol version {found} is not spoken here; this build speaks version {}", crate::PROTOCOL_VERSION)]
    Version {
        /// The version it speaks.
        found: u32,
    },
}

impl WireError {
    /// The code by which a gateway tells it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Version { .. } => Code::ProtocolUnsupported,
            Self::NotProtobuf(_)
            | Self::NotJson { .. }
            | Self::TooLarge { .. }
            | Self::Missing(_)
            | Self::Unknown { .. }
            | Self::Form { .. } => Code::Malformed,
        }
    }
}

/// A refusal, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// The stable word; a [`Code`] unless the server is newer than this build.
    pub code: String,
    /// Why and what to do, for a person.
    pub message: String,
}

impl ErrorReply {
    /// A refusal by `code`.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code: code.word().to_owned(), message: message.into() }
    }

    /// The code, if this build knows it.
    #[must_use]
    pub fn known_code(&self) -> Option<Code> {
        Code::from_word(&self.code)
    }

    /// Its bytes. A message beyond the limit is cut, so that a refusal never fails for its length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let message = self.message.chars().take(TEXT_CHARS).collect();
        wire::ErrorReply { code: self.code.clone(), message }.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message or break a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::ErrorReply = crate::fields::decode("the error reply", bytes, REPLY_BYTES)?;
        let code = text("code", raw.code, WORD_CHARS)?;
        if code.is_empty() {
            return Err(WireError::Missing("code"));
        }
        Ok(Self { code, message: text("message", raw.message, TEXT_CHARS)? })
    }
}
