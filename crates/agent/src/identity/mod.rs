//! Who this host is to the server: a self-signed certificate, known by the SHA-256 of its DER (decision 4).
//!
//! Each certificate with its key is a folder that appears whole, by rename, or not at all, and never changes after that.
//! Which of them is the current one, the next one and the one before is for the [`Keyring`] to know.

mod keyring;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use watchpost_core::identity::Pin;
use watchpost_core::time::Timestamp;

pub use self::keyring::{Held, Keyring};
use crate::host::disk::Disk;
use crate::updater::RecordError;

/// How long a client certificate is valid by its own dates.
const VALIDITY: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
/// How far its first day lies back, for tools on hosts whose clocks differ. The gateway itself judges no dates.
const BACKDATED: Duration = Duration::from_secs(48 * 60 * 60);
/// The latest `now` a certificate is dated by: 2200-01-01. A host's clock may say anything.
const LATEST: Timestamp = Timestamp::from_millis(7_258_118_400_000);
/// The largest file of a slot that is read; a certificate has some 300 bytes.
const FILE_BYTES: u64 = 4096;

/// What the name of a folder ends in until it is complete.
const UNFINISHED: &str = "unfinished";

/// Hexadecimal digits of the pin that an enrolment id has.
const ENROLMENT_ID_DIGITS: usize = 32;

/// A certificate and its private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Why the identity of this host cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file or folder cannot be used.
    #[error("the host's identity at {path} cannot be used; check that the folder belongs to this service and has room")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The slot is there and does not hold a certificate with its key.
    #[error("the host's identity at {path} is damaged: {why}; restore it or run setup again to enrol with another one")]
    Damaged {
        /// The slot.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No key or certificate could be made.
    #[error("no client certificate could be made")]
    Generate(#[source] rcgen::Error),
    /// Which certificate is which could not be made durable.
    #[error("which certificate is the current one could not be made durable; what was before holds")]
    Record(#[from] RecordError),
    /// The host has none.
    #[error("this host has no certificate; run `watchpost-updater setup` first")]
    NotEnrolled,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("pin", &hex::encode(self.pin())).field("key", &"…").finish()
    }
}

impl Identity {
    /// A fresh Ed25519 key with a self-signed certificate, dated by `now`.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn generate(now: Timestamp) -> Result<Self, IdentityError> {
        let now = now.clamp(Timestamp::from_millis(0), LATEST);
        let date = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + at.since(Timestamp::from_millis(0));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(IdentityError::Generate)?;
        let mut params = rcgen::CertificateParams::default();
        params.not_before = date(now - BACKDATED);
        params.not_after = date(now + VALIDITY);
        params.distinguished_name.push(rcgen::DnType::CommonName, "watchpost sensor");
        let certificate = params.self_signed(&key).map_err(IdentityError::Generate)?;
        Ok(Self { certificate: certificate.der().to_vec(), key: key.serialize_der() })
    }

    /// The pin: SHA-256 of the certificate's DER.
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, &self.certificate).as_ref());
        pin
    }

    /// The same, as the rotation names it.
    #[must_use]
    pub fn named(&self) -> Pin {
        Pin::from(self.pin())
    }

    /// The id of this identity's enrolment. It follows from the certificate, so that a setup that is run again after
    /// a lost reply is the same enrolment, and one with another key is another.
    #[must_use]
    pub fn enrolment_id(&self) -> String {
        let id: String = hex::encode(self.pin()).chars().take(ENROLMENT_ID_DIGITS).collect();
        format!("enr-{id}")
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The private key, PKCS #8 DER.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The certificate and its signing key as TLS takes them; fails if they do not belong together.
    pub(crate) fn certified(&self) -> Result<rustls::sign::CertifiedKey, rustls::Error> {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(self.key.clone());
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.into())?;
        let certified = rustls::sign::CertifiedKey::new(vec![self.certificate.clone().into()], signer);
        certified.keys_match()?;
        Ok(certified)
    }
}

/// What a folder holds; `None` if it is not there.
fn read_folder(folder: &Path) -> Result<Option<Identity>, IdentityError> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Io { path: folder.to_owned(), source }),
        Ok(_) => {}
    }
    let identity = Identity { certificate: read_file(folder, "cert.der")?, key: read_file(folder, "key.der")? };
    match identity.certified() {
        Ok(_) => Ok(Some(identity)),
        Err(_) => {
            Err(IdentityError::Damaged { path: folder.to_owned(), why: "certificate and key do not belong together" })
        }
    }
}

/// Writes a folder that is not there yet, durably and whole.
fn write_folder(path: &Path, identity: &Identity, disk: &Disk) -> io::Result<()> {
    let above = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    DirBuilder::new().recursive(true).mode(0o700).create(above)?;
    fs::set_permissions(above, Permissions::from_mode(0o700))?;
    if path.try_exists()? {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    let unfinished = path.with_extension(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    write_file(&unfinished.join("cert.der"), &identity.certificate)?;
    write_file(&unfinished.join("key.der"), &identity.key)?;
    disk.sync_folder(&unfinished)?;
    // The rename is the marker: a folder under its own name is complete.
    disk.publish(&unfinished, path)?;
    // The name of the folder above must survive a power cut too.
    above.parent().map_or(Ok(()), |above| disk.sync_folder(above))
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read_file(folder: &Path, name: &'static str) -> Result<Vec<u8>, IdentityError> {
    let path = folder.join(name);
    let mut bytes = Vec::new();
    let opened = File::open(&path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes));
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(IdentityError::Damaged { path, why: "the file is missing" })
        }
        Err(source) => Err(IdentityError::Io { path, source }),
        Ok(_) if bytes.len() as u64 > FILE_BYTES => Err(IdentityError::Damaged { path, why: "the file is too large" }),
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    #[test]
    fn cur_is_made_once_and_stays() {
        let root = tempfile::tempdir().unwrap();
        let keyring = Keyring::of_host(root.path());
        assert!(keyring.open().unwrap().is_none());
        let made = keyring.read_or_make(NOW).unwrap();
        assert_eq!(keyring.read_or_make(NOW).unwrap(), made);
        assert_eq!(keyring.open().unwrap().unwrap().slots, watchpost_core::identity::Slots::only(made.named()));
        let other = Identity::generate(NOW).unwrap();
        assert!(other.pin() != made.pin() && other.enrolment_id() != made.enrolment_id());
        assert_eq!(made.enrolment_id().len(), 36);
    }

    #[test]
    fn only_the_service_may_read_the_key() {
        let root = tempfile::tempdir().unwrap();
        Keyring::of_host(root.path()).read_or_make(NOW).unwrap();
        let cur = root.path().join("updater/identity/cur");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cur), mode(&cur.join("key.der")), mode(&cur.join("cert.der"))), (0o700, 0o600, 0o600));
    }

    #[test]
    fn a_crash_before_the_rename_leaves_an_empty_slot() {
        let root = tempfile::tempdir().unwrap();
        let identity = root.path().join("updater/identity");
        fs::create_dir_all(identity.join("cur.unfinished")).unwrap();
        fs::write(identity.join("cur.unfinished/cert.der"), "torn").unwrap();
        let keyring = Keyring::of_host(root.path());
        assert!(keyring.open().unwrap().is_none());
        keyring.read_or_make(NOW).unwrap();
    }

    #[test]
    fn a_damaged_slot_is_told_and_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let keyring = Keyring::of_host(root.path());
        keyring.read_or_make(NOW).unwrap();
        let cur = root.path().join("updater/identity/cur");
        let key = fs::read(cur.join("key.der")).unwrap();
        for damage in [Vec::new(), Identity::generate(NOW).unwrap().key, vec![7; 5000], key[..20].to_vec()] {
            fs::write(cur.join("key.der"), damage).unwrap();
            assert!(matches!(keyring.read_or_make(NOW), Err(IdentityError::Damaged { .. })));
        }
        fs::remove_file(cur.join("key.der")).unwrap();
        assert!(matches!(keyring.read_or_make(NOW), Err(IdentityError::Damaged { .. })));
        fs::write(cur.join("key.der"), key).unwrap();
        keyring.read_or_make(NOW).unwrap();
    }

    #[test]
    fn any_host_clock_makes_a_certificate_and_debug_hides_its_key() {
        for millis in [i64::MIN, 0, NOW.millis(), i64::MAX] {
            let identity = Identity::generate(Timestamp::from_millis(millis)).unwrap();
            identity.certified().unwrap();
            assert!(identity.certificate().len() <= 2048);
            assert!(!format!("{identity:?}").contains(&format!("{:?}", identity.key())));
        }
    }
}
