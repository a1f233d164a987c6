//! Names of targets: flat and lower-case, so that every client means the same file by them.

use crate::digest::Sha256Hex;

/// Longest target name, in bytes.
pub const MAX_TARGET_NAME: usize = 100;

/// Whether `name` may name a package in a repository.
#[must_use]
pub fn is_target_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    name.len() <= MAX_TARGET_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.strip_suffix(".cab").is_some_and(|stem| !stem.is_empty())
        && name.bytes().all(plain)
}

/// The file of a target in a repository with consistent snapshots.
#[must_use]
pub fn target_file(name: &str, sha256: &Sha256Hex) -> String {
    format!("{sha256}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_lower_case_names_of_cabinets_are_taken() {
        assert!(is_target_name("sensor-2.255.1.0.cab"));
        let long = "a".repeat(MAX_TARGET_NAME) + ".cab";
        for bad in ["", ".cab", "a.zip", "A.cab", "a/b.cab", "..cab", "../a.cab", "a b.cab", "é.cab", long.as_str()] {
            assert!(!is_target_name(bad), "{bad} was taken");
        }
    }
}
