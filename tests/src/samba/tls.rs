//! A certificate that names the domain controller: the one that Samba makes by itself names nobody.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::SERVER;

/// Writes `ca.pem`, `server.pem` and `server-key.pem`, and `other-ca.pem` of an authority that signed nothing.
pub(super) fn make(dir: &Path) -> anyhow::Result<()> {
    let (ca, ca_key) = authority("lab authority")?;
    let (other, _) = authority("another authority")?;
    let certificate = |params: &CertificateParams, key: &KeyPair| params.self_signed(key).map(|made| made.pem());
    std::fs::write(dir.join("ca.pem"), certificate(&ca, &ca_key)?)?;
    let other_key = KeyPair::generate()?;
    std::fs::write(dir.join("other-ca.pem"), certificate(&other, &other_key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![SERVER.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, SERVER);
    let signed = params.signed_by(&key, &Issuer::new(ca, ca_key))?;
    std::fs::write(dir.join("server.pem"), signed.pem())?;
    let path = dir.join("server-key.pem");
    std::fs::write(&path, key.serialize_pem())?;
    // Samba refuses a key that anybody else could read.
    Ok(std::fs::set_permissions(&path, Permissions::from_mode(0o600))?)
}

fn authority(name: &str) -> anyhow::Result<(CertificateParams, KeyPair)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, name);
    Ok((params, KeyPair::generate()?))
}
