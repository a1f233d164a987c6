//! TLS 1.3 to a server that is known by the hash of its public key, and by nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme,
};

use watchpost_core::server_keys::ServerKeys;

use super::TransportError;
use crate::identity::Identity;

/// The keys of the server that are trusted at this moment; whoever opens a connection looks.
pub(super) type Trusted = Arc<Mutex<ServerKeys>>;

/// The TLS settings of a host: the keys of its server, one client certificate, no resumption (decision 4).
pub(super) fn config(trusted: &Trusted, identity: &Identity) -> Result<ClientConfig, TransportError> {
    let certified: CertifiedKey = identity.certified().map_err(TransportError::Identity)?;
    let client: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
    let provider: Arc<CryptoProvider> = Arc::new(provider::default_provider());
    let verifier =
        PinnedServer { trusted: Arc::clone(trusted), algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TransportError::Identity)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(client);
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Longest name of an issuer that is repeated, in characters.
const MAX_ISSUER: usize = 100;

/// A certificate that is not the server's, made by somebody other than who presents it.
#[derive(Debug, thiserror::Error)]
#[error("the certificate was made by {issuer}")]
pub(super) struct MadeByOthers {
    /// As the certificate says; nothing about it is verified.
    pub(super) issuer: String,
}

/// A gateway signs its certificate itself. One that an authority signed comes from something that opens TLS on the way.
fn not_pinned(end_entity: &CertificateDer<'_>) -> CertificateError {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(end_entity) else {
        return CertificateError::ApplicationVerificationFailure;
    };
    if certificate.issuer() == certificate.subject() {
        return CertificateError::ApplicationVerificationFailure;
    }
    let issuer = certificate.issuer().to_string();
    let issuer = issuer.chars().filter(|c| !c.is_control()).take(MAX_ISSUER).collect();
    CertificateError::Other(OtherError(Arc::new(MadeByOthers { issuer })))
}

/// Trusts the public keys that the access key, and after it the director, named. Names, issuers and dates of its certificate say nothing.
#[derive(Debug)]
struct PinnedServer {
    trusted: Trusted,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let presented = digest(&SHA256, &key);
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_trusted = trusted.iter().any(|key| verify_slices_are_equal(presented.as_ref(), key.bytes()).is_ok());
        if is_trusted { Ok(ServerCertVerified::assertion()) } else { Err(not_pinned(end_entity).into()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
