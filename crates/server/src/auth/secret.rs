//! Secrets that people and programs carry: 256 random bits, shown once, kept as a hash.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest text that is looked at as a secret.
pub const MAX_SECRET_CHARS: usize = 128;

/// A secret text. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes; try again")]
pub struct NoRandomness;

impl Secret {
    /// A fresh one: `prefix` and 43 characters of base64url.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn draw(prefix: &str) -> Result<Self, NoRandomness> {
        Ok(Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()?))))
    }

    /// A secret somebody sent.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let is_plausible =
            !text.is_empty() && text.len() <= MAX_SECRET_CHARS && text.bytes().all(|b| b.is_ascii_graphic());
        is_plausible.then(|| Self(text.to_owned()))
    }

    /// A whole access key, which is longer than any other secret.
    #[must_use]
    pub(crate) fn from_key_text(text: String) -> Option<Self> {
        (text.len() <= 2 * MAX_SECRET_CHARS).then_some(Self(text))
    }

    /// The text, for showing it once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Random bytes of the operating system's quality.
///
/// # Errors
/// When the system gives none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Random bits for a new id.
///
/// # Errors
/// When the system gives none.
pub fn random_bits() -> Result<u128, NoRandomness> {
    random_bytes().map(u128::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_hide_and_have_256_bits() {
        let (a, b) = (Secret::draw("wp_").unwrap(), Secret::draw("wp_").unwrap());
        assert_ne!(a, b);
        assert_eq!(format!("{a:?}"), "…");
        assert_eq!(a.reveal().len(), 3 + 43, "32 bytes are 43 characters of base64");
        assert_eq!(Secret::from_text(a.reveal()), Some(a));
        assert_eq!(Secret::from_text("a b"), None);
        assert_eq!(Secret::from_text(&"a".repeat(129)), None);
    }
}
