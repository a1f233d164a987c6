//! The gateway's own certificate: self-signed, known to hosts by the hash of its public key alone.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use watchpost_core::time::Timestamp;

use super::GatewayError;

/// How long it is valid by its own dates. Hosts judge the key and no date; the dates are for other tools.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How far its first day lies back, for tools on machines whose clocks differ.
const BACKDATED: Duration = Duration::from_secs(48 * 60 * 60);
/// The latest `now` a certificate is dated by: 2200-01-01. A machine's clock may say anything.
const LATEST: Timestamp = Timestamp::from_millis(7_258_118_400_000);

/// A certificate and its private key, both DER.
#[derive(Clone)]
pub struct GatewayCertificate {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for GatewayCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayCertificate").field("key", &"…").finish_non_exhaustive()
    }
}

impl GatewayCertificate {
    /// A fresh P-256 key with a self-signed certificate, dated by `now`.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn generate(now: Timestamp) -> Result<Self, GatewayError> {
        let now = now.clamp(Timestamp::from_millis(0), LATEST);
        let date = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + at.since(Timestamp::from_millis(0));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(GatewayError::Generate)?;
        let mut params = rcgen::CertificateParams::default();
        params.not_before = date(now - BACKDATED);
        params.not_after = date(now + VALIDITY);
        params.distinguished_name.push(rcgen::DnType::CommonName, "watchpost gateway");
        let certificate = params.self_signed(&key).map_err(GatewayError::Generate)?;
        Ok(Self { certificate: certificate.der().to_vec(), key: key.serialize_der() })
    }

    /// What was kept on disk: the certificate's DER and the key's PKCS #8 DER. Checked when the gateway starts.
    #[must_use]
    pub fn from_der(certificate: Vec<u8>, key: Vec<u8>) -> Self {
        Self { certificate, key }
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The private key, PKCS #8 DER. A secret.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo: the second part of an access key.
    ///
    /// # Errors
    /// When the bytes are no certificate.
    pub fn key_hash(&self) -> Result<[u8; 32], GatewayError> {
        let der = CertificateDer::from(self.certificate.as_slice());
        let spki = ParsedCertificate::try_from(&der).map_err(GatewayError::Certificate)?.subject_public_key_info();
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &spki).as_ref());
        Ok(hash)
    }

    /// As TLS takes it; fails if the two do not belong together.
    pub(crate) fn certified(&self) -> Result<CertifiedKey, GatewayError> {
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        let signer =
            rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.into()).map_err(GatewayError::Certificate)?;
        let certified = CertifiedKey::new(vec![self.certificate.clone().into()], signer);
        certified.keys_match().map_err(GatewayError::Certificate)?;
        Ok(certified)
    }
}
