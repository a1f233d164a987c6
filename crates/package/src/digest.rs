//! SHA-256 as a value: 32 bytes, 64 lower-case hex digits in text.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes read at a time while hashing a file.
const CHUNK: usize = 64 * 1024;

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hex([u8; 32]);

/// A text that is not 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not a SHA-256: write 64 lower-case hex digits")]
pub struct DigestParseError(String);

impl Sha256Hex {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A digest that grows.
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256Hex {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        Sha256Hex(bytes)
    }
}

/// Length and digest of everything `reader` yields, reading at most `limit` bytes and one more.
///
/// # Errors
/// When reading fails.
pub fn hash_reader(reader: impl Read, limit: u64) -> io::Result<(u64, Sha256Hex)> {
    let mut reader = reader.take(limit.saturating_add(1));
    let (mut hasher, mut length, mut chunk) = (Hasher::new(), 0_u64, vec![0; CHUNK]);
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => return Ok((length, hasher.finish())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(chunk.get(..read).unwrap_or_default());
        length += read as u64;
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Sha256Hex {
    type Err = DigestParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || DigestParseError(text.chars().take(80).collect());
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| refuse())?;
        Ok(Self(bytes))
    }
}

impl Serialize for Sha256Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_read_and_print_as_lower_case_hex() {
        assert_eq!(Sha256Hex::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse::<Sha256Hex>().unwrap(), Sha256Hex::of(b"abc"));
        for bad in ["", "ba78", &ABC.to_uppercase(), &ABC.replace('b', "g")] {
            assert!(bad.parse::<Sha256Hex>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn hashing_stops_one_byte_after_the_limit() {
        assert_eq!(hash_reader(&b"abc"[..], 3).unwrap(), (3, Sha256Hex::of(b"abc")));
        assert_eq!(hash_reader(&b"abcdef"[..], 3).unwrap().0, 4);
    }
}
