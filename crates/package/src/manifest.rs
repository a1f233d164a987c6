//! `manifest.json`, the first entry of every package: what else is in it, byte for byte.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::digest::Sha256Hex;
use crate::path::{PackagePath, PathError, Tree};

/// Name of the manifest inside the package.
pub const MANIFEST: &str = "manifest.json";
/// Name of the release description inside the package.
pub const RELEASE: &str = "release.json";
/// Most files a package may hold, the manifest included.
pub const MAX_FILES: usize = 5_000;
/// Largest manifest, in bytes.
pub const MAX_MANIFEST: u64 = 2 * 1024 * 1024;

/// What may be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Read: `0644`.
    Plain,
    /// Run: `0755`.
    Executable,
}

impl Mode {
    /// The permission bits of the extracted file.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Executable => 0o755,
        }
    }
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it goes.
    pub path: PackagePath,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Hex,
    /// Its permissions.
    pub mode: Mode,
}

/// Everything in a package but the manifest itself, in the order of the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The files, sorted by path.
    pub files: Vec<FileEntry>,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON it should be.
    #[error("manifest.json cannot be read")]
    Syntax(#[source] serde_json::Error),
    /// Not the bytes that the writer makes for these files.
    #[error("the manifest is not spelled as the profile spells it")]
    Spelling,
    /// Too many files, or none.
    #[error("the manifest names {0} files; a package has 1 to {max}", max = MAX_FILES - 1)]
    Count(usize),
    /// Not sorted by path.
    #[error("the manifest is not sorted: {0} is out of order")]
    Order(PackagePath),
    /// Two paths that some file system confuses, or a second manifest.
    #[error("the manifest names files that cannot lie beside each other")]
    Tree(#[source] PathError),
}

impl Manifest {
    /// Reads and validates a manifest.
    ///
    /// # Errors
    /// When it is not exactly this shape and spelling, or its paths cannot lie beside each other.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Syntax)?;
        manifest.validate()?;
        if manifest.to_vec() == bytes { Ok(manifest) } else { Err(ManifestError::Spelling) }
    }

    /// The bytes of `manifest.json`, always the same for the same files.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Checks count, order and paths.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.files.is_empty() || self.files.len() >= MAX_FILES {
            return Err(ManifestError::Count(self.files.len()));
        }
        let mut tree = Tree::default();
        let own = MANIFEST.parse().map_err(ManifestError::Tree)?;
        tree.add(&own).map_err(ManifestError::Tree)?;
        let mut previous: Option<&PackagePath> = None;
        for file in &self.files {
            tree.add(&file.path).map_err(ManifestError::Tree)?;
            if previous.is_some_and(|before| before >= &file.path) {
                return Err(ManifestError::Order(file.path.clone()));
            }
            previous = Some(&file.path);
        }
        Ok(())
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Plain => "0644",
            Self::Executable => "0755",
        })
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "0644" => Ok(Self::Plain),
            "0755" => Ok(Self::Executable),
            other => Err(D::Error::custom(format!("mode “{other}” is neither 0644 nor 0755"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> FileEntry {
        FileEntry { path: path.parse().unwrap(), size: 1, sha256: Sha256Hex::of(b"x"), mode: Mode::Plain }
    }

    fn refused(files: Vec<FileEntry>) -> String {
        format!("{:?}", Manifest { files }.validate().unwrap_err())
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = Manifest { files: vec![entry("bin/a"), entry("release.json")] };
        assert_eq!(Manifest::from_slice(&manifest.to_vec()).unwrap(), manifest);
    }

    #[test]
    fn count_order_twins_and_unknown_fields_are_refused() {
        assert!(refused(Vec::new()).starts_with("Count(0)"));
        assert!(refused(vec![entry("a"); MAX_FILES]).starts_with("Count(5000)"));
        assert!(refused(vec![entry("b"), entry("a")]).starts_with("Order"));
        assert!(refused(vec![entry("A"), entry("a")]).starts_with("Tree"));
        assert!(refused(vec![entry("Manifest.json")]).starts_with("Tree"));
        let text = String::from_utf8(Manifest { files: vec![entry("a")] }.to_vec()).unwrap();
        for (from, to) in [("0644", "4755"), ("\"size\": 1", "\"size\": -1"), ("\"a\"", "\"../a\""), ("size", "sighs")]
        {
            let bad = text.replacen(from, to, 1);
            assert!(matches!(Manifest::from_slice(bad.as_bytes()), Err(ManifestError::Syntax(_))), "{bad}");
        }
        let loose = text.clone() + " ";
        assert!(matches!(Manifest::from_slice(loose.as_bytes()), Err(ManifestError::Spelling)));
    }
}
