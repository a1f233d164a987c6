//! The path of a file inside a package: relative, plain ASCII, and the same on every file system.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Longest path, in bytes. A CAB allows 255; a host adds its own prefix.
pub const MAX_PATH: usize = 200;
/// Most folders above a file.
pub const MAX_DEPTH: usize = 8;

/// Names that are devices on Windows, whatever their extension.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A path that a package may contain, with `/` between its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackagePath(String);

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, or an empty name between two separators.
    #[error("“{0}” has an empty name in it")]
    Empty(String),
    /// Too long or too deep.
    #[error("“{0}” is longer than {MAX_PATH} bytes or deeper than {MAX_DEPTH} folders")]
    TooLong(String),
    /// Starts at a root, a drive or a share.
    #[error("“{0}” is not relative: it starts at a root, a drive or a share")]
    NotRelative(String),
    /// Leaves its folder.
    #[error("“{0}” has . or .. in it")]
    Traversal(String),
    /// A character that some file system reads differently.
    #[error("“{0}” has a character other than A-Z a-z 0-9 . _ - + in it")]
    Character(String),
    /// A name that Windows changes or takes for a device.
    #[error("“{0}” has a name in it that Windows reserves, or one that ends in a dot")]
    Reserved(String),
    /// The same place as another path for a file system that ignores case, or a folder that is also a file.
    #[error("“{path}” and “{other}” are the same place where case does not count, or one is a folder of the other")]
    Twin {
        /// The later path.
        path: String,
        /// The earlier one.
        other: String,
    },
}

impl PackagePath {
    /// The path with these names between `separator`s.
    ///
    /// # Errors
    /// When it could leave its folder or mean different files on different systems.
    pub fn parse(text: &str, separator: char) -> Result<Self, PathError> {
        let shown = || text.chars().take(MAX_PATH).collect::<String>();
        if text.len() > MAX_PATH || text.split(separator).count() > MAX_DEPTH {
            return Err(PathError::TooLong(shown()));
        }
        let drive = text.as_bytes().get(1) == Some(&b':');
        if text.starts_with(['/', '\\']) || drive {
            return Err(PathError::NotRelative(shown()));
        }
        for name in text.split(separator) {
            check_name(name, &shown)?;
        }
        Ok(Self(text.replace(separator, "/")))
    }

    /// The path with `/` between its names.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as a CAB spells it, with `\`.
    #[must_use]
    pub fn in_cab(&self) -> String {
        self.0.replace('/', "\\")
    }

    /// Its names, the file's own last.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

fn check_name(name: &str, shown: &dyn Fn() -> String) -> Result<(), PathError> {
    match name {
        "" => return Err(PathError::Empty(shown())),
        "." | ".." => return Err(PathError::Traversal(shown())),
        _ => {}
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+')) {
        return Err(PathError::Character(shown()));
    }
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if name.ends_with('.') || RESERVED.contains(&stem.as_str()) {
        return Err(PathError::Reserved(shown()));
    }
    Ok(())
}

/// What lies at one place of the tree, folded to lower case.
struct Place {
    spelling: String,
    is_file: bool,
}

/// Checks that paths can lie beside each other on every file system.
#[derive(Default)]
pub(crate) struct Tree(BTreeMap<String, Place>);

impl Tree {
    /// Adds one file.
    pub(crate) fn add(&mut self, path: &PackagePath) -> Result<(), PathError> {
        let text = path.as_str();
        for (end, _) in text.match_indices('/') {
            self.claim(text.get(..end).unwrap_or_default(), false, text)?;
        }
        self.claim(text, true, text)
    }

    fn claim(&mut self, place: &str, is_file: bool, path: &str) -> Result<(), PathError> {
        let taken = self.0.entry(place.to_ascii_lowercase());
        if let std::collections::btree_map::Entry::Occupied(other) = &taken {
            let other = other.get();
            if is_file || other.is_file || other.spelling != place {
                return Err(PathError::Twin { path: path.to_owned(), other: other.spelling.clone() });
            }
        }
        taken.or_insert_with(|| Place { spelling: place.to_owned(), is_file });
        Ok(())
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PackagePath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, '/')
    }
}

impl Serialize for PackagePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PackagePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_relative_paths_are_taken_in_both_spellings() {
        let path: PackagePath = "rules/sub-1/a_b+c.yml".parse().unwrap();
        assert_eq!(path.in_cab(), "rules\\sub-1\\a_b+c.yml");
        assert_eq!(PackagePath::parse(&path.in_cab(), '\\').unwrap(), path);
        assert_eq!(path.names().collect::<Vec<_>>(), ["rules", "sub-1", "a_b+c.yml"]);
        assert!(".config".parse::<PackagePath>().is_ok());
    }

    #[test]
    fn paths_that_leave_or_change_meaning_are_refused() {
        let long = "a".repeat(MAX_PATH + 1);
        let deep = ["a"; MAX_DEPTH + 1].join("/");
        for (text, variant) in [
            ("", "Empty"),
            ("a//b", "Empty"),
            ("a/", "Empty"),
            ("/etc/passwd", "NotRelative"),
            ("\\\\server\\share", "NotRelative"),
            ("C:/x", "NotRelative"),
            ("c:x", "NotRelative"),
            ("..", "Traversal"),
            ("a/../b", "Traversal"),
            ("./a", "Traversal"),
            ("a\\b", "Character"),
            ("a b", "Character"),
            ("ab:c", "Character"),
            ("é", "Character"),
            ("a\0", "Character"),
            ("nul", "Reserved"),
            ("a/COM1.txt", "Reserved"),
            ("a.", "Reserved"),
            ("...", "Reserved"),
            (&long, "TooLong"),
            (&deep, "TooLong"),
        ] {
            let error = text.parse::<PackagePath>().expect_err(text);
            assert!(format!("{error:?}").starts_with(variant), "{text}: {error:?}");
        }
    }

    #[test]
    fn twins_are_refused() {
        for (first, second) in [("a", "A"), ("a/b", "A/c"), ("a", "a/b"), ("a/b", "a"), ("a", "a")] {
            let mut tree = Tree::default();
            tree.add(&first.parse().unwrap()).unwrap();
            assert!(matches!(tree.add(&second.parse().unwrap()), Err(PathError::Twin { .. })), "{first} {second}");
        }
        let mut tree = Tree::default();
        for path in ["a/b", "a/c", "b"] {
            tree.add(&path.parse().unwrap()).unwrap();
        }
    }
}
