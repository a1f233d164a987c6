//! Signing keys: Ed25519, kept as PKCS#8 in PEM files that only their owner reads.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::digest::Sha256Hex;
use crate::durable;

/// Largest key file, in bytes.
const MAX_KEY_FILE: u64 = 4_096;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No randomness, or the library refuses.
    #[error("no key can be made on this machine")]
    Make,
    /// The file cannot be read or written.
    #[error("the key file {path} cannot be read or written")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no Ed25519 key.
    #[error("{0} is no Ed25519 private key in PKCS#8 PEM form")]
    Form(PathBuf),
}

/// A key that signs metadata.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the machine yields no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Ed25519KeyPair::generate().map(Self::from_pair).map_err(|_| KeyError::Make)
    }

    fn from_pair(pair: Ed25519KeyPair) -> Self {
        // Four plain ASCII strings in the order that canonical JSON sorts them.
        let public = hex::encode(pair.public_key().as_ref());
        let canonical = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
        Self { pair, id: Sha256Hex::of(canonical.as_bytes()).to_string() }
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When it cannot be read or is no such key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let bytes = durable::read_limited(path, MAX_KEY_FILE).map_err(failed)?;
        let bytes = bytes.ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))?;
        let form = || KeyError::Form(path.to_owned());
        let text = String::from_utf8(bytes).map_err(|_| form())?;
        let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or_else(form)?;
        let body: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| form())?;
        Ed25519KeyPair::from_pkcs8(&der).map(Self::from_pair).map_err(|_| form())
    }

    /// Writes the key to a file that must not exist yet.
    ///
    /// # Errors
    /// When it exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let der = self.pair.to_pkcs8v1().map_err(|_| KeyError::Make)?;
        let body = STANDARD.encode(der.as_ref());
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(format!("{BEGIN}\n{body}\n{END}\n").as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        path.parent().map_or(Ok(()), durable::sync_dir).map_err(failed)
    }

    /// Its id in metadata: the digest of its canonical public form.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its public form in metadata.
    pub(super) fn public(&self) -> Value {
        let public = hex::encode(self.pair.public_key().as_ref());
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } })
    }

    /// Its signature of `bytes`, as metadata carries it.
    pub(super) fn sign(&self, bytes: &[u8]) -> Value {
        json!({ "keyid": self.id, "sig": hex::encode(self.pair.sign(bytes).as_ref()) })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).field("pair", &format_args!("…")).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_kept_for_its_owner_alone_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root-1.pem");
        let key = SigningKey::generate().unwrap();
        key.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = SigningKey::load(&path).unwrap();
        assert_eq!((again.id(), again.sign(b"x")), (key.id(), key.sign(b"x")));
        assert!(matches!(key.save(&path), Err(KeyError::File { .. })));
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(SigningKey::load(&path), Err(KeyError::Form(_))));
        assert!(matches!(SigningKey::load(&dir.path().join("none")), Err(KeyError::File { .. })));
    }

    #[test]
    fn the_id_is_the_one_every_client_computes_and_debug_tells_no_secret() {
        let key = SigningKey::generate().unwrap();
        let parsed: sigstore_tuf::Key = serde_json::from_value(key.public()).unwrap();
        assert_eq!(parsed.key_id().unwrap(), key.id());
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ id: {:?}, pair: … }}", key.id()));
    }
}
