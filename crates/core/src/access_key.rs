//! The access key: what one paste tells a host. `secret.hash(server key).hash(director root)` (decision 25).
//!
//! The secret admits, the two hashes are whom the host may trust. Nothing here prints the secret but `Display` of the key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of the secret.
pub const SECRET_BYTES: usize = 32;

/// The longest text that is looked at as an access key: its three parts are 43, 64 and 64 characters.
const TEXT_CHARS: usize = 256;

/// The part of an access key that admits. Its `Debug` hides it; whoever compares it compares hashes in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessSecret([u8; SECRET_BYTES]);

impl AccessSecret {
    /// A secret of these bytes, drawn by the caller.
    #[must_use]
    pub const fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for sending or hashing.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The text form, base64url without padding.
    #[must_use]
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for AccessSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a host is given to enrol with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Admits a host once per enrolment.
    pub secret: AccessSecret,
    /// SHA-256 of the gateway certificate's SubjectPublicKeyInfo: the only server the host talks to.
    pub server_key: [u8; 32],
    /// SHA-256 of the director's `1.root.json`: where trust in its choices starts.
    pub director_root: [u8; 32],
}

/// A text that is not an access key. It does not repeat the text, which may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access key's {part} is not {wanted}; copy the whole key again, it has three parts joined by dots")]
pub struct AccessKeyParseError {
    part: &'static str,
    wanted: &'static str,
}

impl fmt::Display for AccessKey {
    /// The whole key, secret included: for showing it once to the person who hands it to hosts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.secret.reveal(), hex::encode(self.server_key), hex::encode(self.director_root))
    }
}

impl FromStr for AccessKey {
    type Err = AccessKeyParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let whole = AccessKeyParseError { part: "text", wanted: "three parts" };
        if text.len() > TEXT_CHARS {
            return Err(whole);
        }
        let mut parts = text.split('.');
        let (Some(secret), Some(server), Some(root), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(whole);
        };
        let secret = URL_SAFE_NO_PAD.decode(secret).ok().and_then(|bytes| bytes.try_into().ok());
        let wanted = "43 characters of base64url";
        Ok(Self {
            secret: AccessSecret(secret.ok_or(AccessKeyParseError { part: "first part", wanted })?),
            server_key: hash("second part", server)?,
            director_root: hash("third part", root)?,
        })
    }
}

fn hash(part: &'static str, text: &str) -> Result<[u8; 32], AccessKeyParseError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| AccessKeyParseError { part, wanted: "64 hexadecimal digits" })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AccessKey {
        AccessKey { secret: AccessSecret::new([0xfb; 32]), server_key: [1; 32], director_root: [0xab; 32] }
    }

    #[test]
    fn a_key_prints_its_three_parts_and_reads_back() {
        let text = key().to_string();
        // 32 bytes of 0xfb are 10 groups of “-_v7” and two bytes “-_s”.
        assert_eq!(text, format!("{}-_s.{}.{}", "-_v7".repeat(10), "01".repeat(32), "ab".repeat(32)));
        assert_eq!(format!(" {text}\n").parse::<AccessKey>().unwrap(), key());
    }

    #[test]
    fn the_secret_stays_out_of_debug_and_of_errors() {
        assert!(!format!("{:?}", key()).contains("251"));
        assert!(format!("{:?}", key()).contains("secret: …"));
        let broken = format!("{}.zz", key().secret.reveal());
        let error = broken.parse::<AccessKey>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&key().secret.reveal()));
    }

    #[test]
    fn what_is_not_three_parts_of_the_right_length_is_refused() {
        let (good, hash) = (key().secret.reveal(), "01".repeat(32));
        for bad in [
            String::new(),
            good.clone(),
            format!("{good}.{hash}"),
            format!("{good}.{hash}.{hash}.{hash}"),
            format!("{good}=.{hash}.{hash}"),
            format!("{}.{hash}.{hash}", &good[1..]),
            format!("{good}.{}.{hash}", &hash[2..]),
            format!("{good}.{hash}.{}", "zz".repeat(32)),
            "x".repeat(100_000),
        ] {
            assert!(bad.parse::<AccessKey>().is_err(), "{bad} was taken");
        }
    }
}
