//! TLS 1.3 for sensors: any self-signed certificate is let in, if the client proves that it holds the key.
//!
//! Whose it is, is decided per request by its pin, so that a revoked one ends on a live connection and an unknown one
//! gets an answer it can read. Nothing here judges names, issuers or dates (safety: clock skew).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ServerConnection};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig, SignatureScheme,
};

use super::{GatewayCertificate, GatewayError};

/// The largest client certificate that is looked at; ours have some 300 bytes.
const CERTIFICATE_BYTES: usize = 2048;
/// The keys a sensor may have.
const SCHEMES: [SignatureScheme; 2] = [SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256];

/// The pin of a client: SHA-256 of its certificate's DER.
pub(super) type Pin = [u8; 32];

/// The listener's settings. No tickets and no session cache: a resumed session would skip the client's proof.
pub(super) fn config(certificate: &GatewayCertificate) -> Result<ServerConfig, GatewayError> {
    let provider = Arc::new(provider::default_provider());
    let verifier = AnyHeldKey { algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(GatewayError::Certificate)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.certified()?)));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The pin of the client at the other end of a finished handshake.
pub(super) fn pin(connection: &ServerConnection) -> Option<Pin> {
    let certificate = connection.peer_certificates()?.first()?;
    let mut pin = [0; 32];
    pin.copy_from_slice(digest(&SHA256, certificate).as_ref());
    Some(pin)
}

#[derive(Debug)]
struct AnyHeldKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyHeldKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if end_entity.len() > CERTIFICATE_BYTES || !intermediates.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        ParsedCertificate::try_from(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !SCHEMES.contains(&dss.scheme) {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}
