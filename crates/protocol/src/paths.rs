//! The addresses on the gateway, and which file names may stand in them.

use crate::limits::TARGET_NAME_CHARS;

/// Enrolment.
pub const ENROLL: &str = "/v1/enroll";
/// Check-in.
pub const SYNC: &str = "/v1/sync";
/// What time it is, and whether the server knows who asks.
pub const PING: &str = "/v1/ping";
/// Evidence: alerts and devices.
pub const EVIDENCE: &str = "/v1/evidence";
/// How the certificates of the host stand.
pub const IDENTITY: &str = "/v1/identity";
/// A host proposes its next certificate.
pub const PROPOSE: &str = "/v1/identity/propose";
/// A host confirms the certificate that it presents.
pub const CONFIRM: &str = "/v1/identity/confirm";
/// Metadata of the image repository; a file name follows.
pub const IMAGE_METADATA: &str = "/v1/image/metadata/";
/// Metadata of the director repository; a file name follows.
pub const DIRECTOR_METADATA: &str = "/v1/director/metadata/";
/// Packages; `<sha256>.<name>` follows.
pub const TARGETS: &str = "/v1/targets/";

/// Whether `name` is a flat lower-case file name: `[a-z0-9][a-z0-9._-]*`, no two dots in a row, no dot at the end.
///
/// What is not cannot leave its folder, name a drive, or be a case-folded twin.
#[must_use]
pub fn is_flat_name(name: &str) -> bool {
    let starts_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    starts_plain
        && name.len() <= TARGET_NAME_CHARS
        && name.chars().all(plain)
        && !name.contains("..")
        && !name.ends_with('.')
}

/// Whether `text` is a SHA-256 in lower-case hex.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Splits `<sha256>.<name>`, the name of a file in a repository with consistent snapshots.
#[must_use]
pub fn split_target(file: &str) -> Option<(&str, &str)> {
    let (sha256, name) = file.split_once('.')?;
    (is_sha256(sha256) && is_flat_name(name)).then_some((sha256, name))
}

/// Whether `file` is a TUF metadata file as the repositories publish them: `timestamp.json`, `7.root.json`, …
#[must_use]
pub fn is_metadata_name(file: &str) -> bool {
    is_flat_name(file) && file.ends_with(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flat_lower_case_names_are_served() {
        for good in ["watchpost-sensor-2.255.1.0.cab", "timestamp.json", "1.root.json", "a_b"] {
            assert!(is_flat_name(good), "{good}");
        }
        for bad in
            ["", ".", "..", ".hidden", "a/b", "a\\b", "../x", "a..b", "%2e%2e", "A.cab", "c:x", "x.", "a b", "ä", "a\0"]
        {
            assert!(!is_flat_name(bad), "{bad} was taken");
        }
        assert!(!is_flat_name(&"a".repeat(TARGET_NAME_CHARS + 1)));
        assert!(is_metadata_name("12.targets.json") && !is_metadata_name("12.targets.cab"));
    }

    #[test]
    fn a_target_is_named_by_hash_and_name() {
        let hash = "0a".repeat(32);
        assert_eq!(split_target(&format!("{hash}.x.cab")), Some((hash.as_str(), "x.cab")));
        for bad in [hash.clone(), format!("{hash}."), format!("{}.x.cab", hash.to_uppercase()), "1.x.cab".to_owned()] {
            assert_eq!(split_target(&bad), None);
        }
    }
}
