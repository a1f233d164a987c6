//! SHA-256 values as the lower-case hex in which the tables keep them.

use std::fmt::Write as _;

/// The hash as 64 hex digits.
pub(crate) fn to_hex(hash: &[u8; 32]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash of 64 hex digits, or `None` for any other text.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_back() {
        let mut hash = [0; 32];
        hash[0] = 0xab;
        hash[31] = 0x01;
        let text = to_hex(&hash);
        assert_eq!(text.len(), 64);
        assert!(text.starts_with("ab00") && text.ends_with("01"));
        assert_eq!(from_hex(&text), Some(hash));
        assert_eq!(from_hex("+b"), None);
        assert_eq!(from_hex(&"+1".repeat(32)), None);
    }
}
