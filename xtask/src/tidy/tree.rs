//! The files of the working tree as text, and which lines of them are product code.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: &[&str] = &["target", ".git", "node_modules"];

/// What is read as text; anything else is no business of these rules.
const TEXT_ENDINGS: &[&str] =
    &["rs", "md", "toml", "json", "jsonl", "yml", "yaml", "html", "css", "js", "svg", "sh", "sql", "service"];

/// A file that is larger is data, not text that somebody wrote.
const LARGEST_TEXT_BYTES: u64 = 1 << 20;

/// One file; the path is relative to the root, with forward slashes.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// All text files, sorted by path.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
    /// Every path there is, text or not, folders too.
    pub(super) paths: Vec<String>,
}

impl Tree {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.paths.sort();
        Ok(tree)
    }

    /// A tree of these files, for the tests of the rules.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let paths = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let files = files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() });
        Self { files: files.collect(), paths }
    }

    /// Rust files of the product and of `xtask`; test files are none.
    pub(super) fn product(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_product() && !self.is_declared_as_test(file))
    }

    /// Whether the module that holds this file says `#[cfg(test)] mod …;` of it.
    fn is_declared_as_test(&self, file: &File) -> bool {
        let folder = file.path.strip_suffix(file.name()).unwrap_or_default();
        let declaration = format!("#[cfg(test)]\nmod {};", file.name().trim_end_matches(".rs"));
        let parents =
            [format!("{folder}mod.rs"), format!("{folder}lib.rs"), format!("{}.rs", folder.trim_end_matches('/'))];
        parents.iter().filter_map(|parent| self.file(parent)).any(|parent| parent.text.contains(&declaration))
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let unreadable = || format!("{} cannot be read", folder.display());
        for entry in fs::read_dir(folder).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().with_context(unreadable)?;
            if kind.is_dir() && !is_skipped(&path, &name) {
                self.paths.push(path.clone());
                self.add_folder(&entry.path(), &path)?;
            } else if kind.is_file() {
                self.add_file(&entry.path(), path)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, file: &Path, path: String) -> Result<()> {
        self.paths.push(path.clone());
        let unreadable = || format!("{} cannot be read", file.display());
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_text = TEXT_ENDINGS.contains(&ending) || path.starts_with(".ci/");
        if !is_text || fs::metadata(file).with_context(unreadable)?.len() > LARGEST_TEXT_BYTES {
            return Ok(());
        }
        let bytes = fs::read(file).with_context(unreadable)?;
        self.files.push(File { path, text: String::from_utf8_lossy(&bytes).into_owned() });
        Ok(())
    }
}

fn is_skipped(path: &str, name: &str) -> bool {
    SKIPPED_FOLDERS.contains(&name) || (path == name && name.starts_with("demo-"))
}

impl File {
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    fn is_product(&self) -> bool {
        let is_source = self.path.contains("/src/") && self.path.ends_with(".rs");
        let is_ours = self.path.starts_with("crates/") || self.path.starts_with("xtask/");
        let is_test = self.name() == "tests.rs" || self.path.contains("/tests/");
        is_source && is_ours && !is_test
    }

    /// The lines with their numbers, up to the module of tests at the end of the file.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let product = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        (1..).zip(product.lines())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_is_what_ships_and_what_checks_it() {
        let tree = Tree::of(&[
            ("crates/core/src/time.rs", ""),
            ("crates/core/src/rollout/tests.rs", ""),
            ("crates/core/tests/scenarios.rs", ""),
            ("crates/core/benches/fleet.rs", ""),
            ("tests/src/main.rs", ""),
            ("xtask/src/main.rs", ""),
        ]);
        let product: Vec<_> = tree.product().map(|file| file.path.as_str()).collect();
        assert_eq!(product, ["crates/core/src/time.rs", "xtask/src/main.rs"]);
    }

    #[test]
    fn a_file_that_its_module_declares_as_test_is_no_product() {
        let tree = Tree::of(&[
            ("crates/core/src/updater/mod.rs", "mod record;\n#[cfg(test)]\nmod property;\n"),
            ("crates/core/src/updater/property.rs", ""),
            ("crates/core/src/updater/record.rs", ""),
        ]);
        assert_eq!(tree.product().count(), 2);
    }

    #[test]
    fn tests_at_the_end_are_not_product_lines() {
        let text = "//! A.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        let file = File { path: "crates/core/src/a.rs".to_owned(), text: text.to_owned() };
        assert_eq!(file.product_lines().count(), 3);
        let text = "//! A.\n#[cfg(test)]\nmod tests;\nfn a() {}\n";
        let file = File { path: "crates/core/src/a.rs".to_owned(), text: text.to_owned() };
        assert_eq!(file.product_lines().count(), 4);
    }
}
