//! One certificate of a host takes the place of another: propose, confirm on a connection of its own, and how all stand.

use prost::Message as _;
use watchpost_core::identity::{Pin, Role, Standing};

use crate::PROTOCOL_VERSION;
use crate::error::WireError;
use crate::fields::{count, decode};
use crate::limits::{CERTIFICATES, REPLY_BYTES, REQUEST_BYTES};
use crate::wire;

/// A host proposes its next certificate, over a connection that one which is accepted has opened. Safe to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposeRequest {
    /// SHA-256 of the certificate's DER.
    pub pin: Pin,
}

impl ProposeRequest {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::ProposeRequest { protocol_version: PROTOCOL_VERSION, pin: self.pin.bytes().to_vec() }.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message, break a limit, or speak another protocol version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::ProposeRequest = decode("the proposal", bytes, REQUEST_BYTES)?;
        if raw.protocol_version != PROTOCOL_VERSION {
            return Err(WireError::Version { found: raw.protocol_version });
        }
        Ok(Self { pin: pin("pin", raw.pin)? })
    }
}

/// A host confirms the certificate that has opened this connection. Safe to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmRequest;

impl ConfirmRequest {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        wire::ConfirmRequest { protocol_version: PROTOCOL_VERSION }.encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message, break a limit, or speak another protocol version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let raw: wire::ConfirmRequest = decode("the confirmation", bytes, REQUEST_BYTES)?;
        if raw.protocol_version == PROTOCOL_VERSION {
            Ok(Self)
        } else {
            Err(WireError::Version { found: raw.protocol_version })
        }
    }
}

/// The answer to both, to a question how they stand, and a part of the answer to a check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingReply(pub Standing);

impl StandingReply {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_wire(&self.0).encode_to_vec()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no such message or break a limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        from_wire(decode("how the certificates stand", bytes, REPLY_BYTES)?).map(Self)
    }
}

pub(crate) fn to_wire(standing: &Standing) -> wire::Standing {
    let one = |(pin, role): &(Pin, Role)| wire::KnownCertificate {
        pin: pin.bytes().to_vec(),
        role: match role {
            Role::Active => wire::CertificateRole::Active,
            Role::Pending => wire::CertificateRole::Pending,
            Role::Retiring => wire::CertificateRole::Retiring,
        }
        .into(),
    };
    wire::Standing { certificates: standing.pins.iter().map(one).collect(), renew: standing.renew }
}

pub(crate) fn from_wire(raw: wire::Standing) -> Result<Standing, WireError> {
    count("certificates", raw.certificates.len(), CERTIFICATES)?;
    let one = |raw: wire::KnownCertificate| {
        let role = match wire::CertificateRole::try_from(raw.role) {
            Ok(wire::CertificateRole::Active) => Role::Active,
            Ok(wire::CertificateRole::Pending) => Role::Pending,
            Ok(wire::CertificateRole::Retiring) => Role::Retiring,
            Ok(wire::CertificateRole::Unspecified) => return Err(WireError::Missing("certificates.role")),
            Err(_) => return Err(WireError::Unknown { field: "certificates.role" }),
        };
        Ok((pin("certificates.pin", raw.pin)?, role))
    };
    Ok(Standing { pins: raw.certificates.into_iter().map(one).collect::<Result<_, _>>()?, renew: raw.renew })
}

fn pin(field: &'static str, bytes: Vec<u8>) -> Result<Pin, WireError> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| WireError::Form { field, wanted: "32 bytes" })?;
    Ok(Pin::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(certificates: usize) -> Standing {
        let role = |n: usize| Role::ALL[n % 3];
        let pins = (0..certificates).map(|n| (Pin::from([u8::try_from(n).unwrap(); 32]), role(n))).collect();
        Standing { pins, renew: true }
    }

    #[test]
    fn every_message_reads_back() {
        let proposal = ProposeRequest { pin: Pin::from([7; 32]) };
        assert_eq!(ProposeRequest::from_bytes(&proposal.to_bytes()).unwrap(), proposal);
        assert_eq!(ConfirmRequest::from_bytes(&ConfirmRequest.to_bytes()).unwrap(), ConfirmRequest);
        for reply in [StandingReply(standing(CERTIFICATES)), StandingReply(Standing::default())] {
            assert_eq!(StandingReply::from_bytes(&reply.to_bytes()).unwrap(), reply);
        }
    }

    #[test]
    fn what_breaks_a_limit_or_speaks_another_version_is_refused_by_name() {
        let names = |error: WireError, field: &str| assert!(error.to_string().contains(field), "{error}");
        names(
            StandingReply::from_bytes(&StandingReply(standing(CERTIFICATES + 1)).to_bytes()).unwrap_err(),
            "certificates",
        );
        let raw = |pin: usize, version| wire::ProposeRequest { protocol_version: version, pin: vec![1; pin] };
        let read = |raw: wire::ProposeRequest| ProposeRequest::from_bytes(&raw.encode_to_vec()).unwrap_err();
        names(read(raw(31, 1)), "pin");
        names(read(raw(33, 1)), "pin");
        assert!(matches!(read(raw(32, 2)), WireError::Version { found: 2 }));
        assert!(matches!(ConfirmRequest::from_bytes(&[]), Err(WireError::Version { found: 0 })));
        let certificate = |role| wire::KnownCertificate { pin: vec![1; 32], role };
        let reply = |role| wire::Standing { certificates: vec![certificate(role)], renew: false }.encode_to_vec();
        names(StandingReply::from_bytes(&reply(0)).unwrap_err(), "certificates.role");
        names(StandingReply::from_bytes(&reply(9)).unwrap_err(), "certificates.role");
    }
}
