//! Rule files become one rules file, and a line of it becomes a line of its source again.
//!
//! The file in force is only ever replaced as a whole (Suricata read a file that was written in place to two thirds).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::canary;
use super::control::FailedRule;
use super::signature::Known;
use super::told::clipped;
use crate::host::disk::read_limited;

/// The largest rule file that is read, in bytes.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;
/// The most bytes of all rules.
const TOTAL_LIMIT: usize = 128 * 1024 * 1024;
/// The most rule files.
const FILES_LIMIT: usize = 1_000;
/// Characters of a refused rule that a complaint shows.
const SHOWN: usize = 100;
/// How rules are called that are part of the program.
const BUILT_IN: &str = "canary.rules";

/// Where the rules are: folders with `*.rules` files.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RuleSources {
    /// Of the release. A release may have none.
    pub release: Option<PathBuf>,
    /// Of the rule package in effect.
    pub package: Option<PathBuf>,
}

/// Why rules cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder or file cannot be read.
    #[error("the rules in {path} cannot be read; the release or rule package has to be installed again")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More than any sensor can load.
    #[error(
        "there are more than {FILES_LIMIT} rule files or {TOTAL_LIMIT} bytes of rules; build a smaller rule package"
    )]
    TooMany,
    /// The rules file cannot be written.
    #[error("the rules file {path} cannot be written; check the free space")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// All rules as one text, and where each line came from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Gathered {
    text: Vec<u8>,
    lines: usize,
    /// The first line (from 1) of each source.
    sources: Vec<(usize, String)>,
    superseded: u32,
}

impl Gathered {
    /// Reads everything there is, the canary's rule first. A rule of the package that the release has too is left out:
    /// Suricata would refuse it, and the release has been proved with its own.
    ///
    /// # Errors
    /// When something that should be there cannot be read.
    pub fn read(sources: &RuleSources) -> Result<Self, SourceError> {
        let mut gathered = Self::default();
        let mut known = Known::default();
        known.learn(canary::RULE.as_bytes());
        gathered.push(BUILT_IN.to_owned(), canary::RULE.as_bytes());
        for (label, folder, is_first) in [("release", &sources.release, true), ("package", &sources.package, false)] {
            let Some(folder) = folder else { continue };
            for name in rule_files(folder)? {
                let path = folder.join(&name);
                let missing = || io::Error::from(io::ErrorKind::NotFound);
                let text = read_limited(&path, FILE_LIMIT).and_then(|text| text.ok_or_else(missing));
                let mut text = text.map_err(|source| SourceError::Read { path, source })?;
                if is_first {
                    known.learn(&text);
                } else {
                    gathered.superseded = gathered.superseded.saturating_add(known.silence(&mut text));
                }
                gathered.push(format!("{label}/{name}"), &text);
                if gathered.text.len() > TOTAL_LIMIT || gathered.sources.len() > FILES_LIMIT {
                    return Err(SourceError::TooMany);
                }
            }
        }
        Ok(gathered)
    }

    fn push(&mut self, label: String, text: &[u8]) {
        self.sources.push((self.lines + 1, label));
        self.text.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            self.text.push(b'\n');
        }
        let ends = text.iter().filter(|byte| **byte == b'\n').count();
        self.lines += ends + usize::from(!text.ends_with(b"\n"));
    }

    /// The one text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Rules of the package that were left out because the release has them.
    #[must_use]
    pub fn superseded(&self) -> u32 {
        self.superseded
    }

    /// SHA-256 (hex) over all of it.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.text))
    }

    /// A line of the one file as file and line of its source.
    #[must_use]
    pub fn origin(&self, line: usize) -> String {
        let source = self.sources.iter().rev().find(|(first, _)| *first <= line);
        source.map_or_else(|| format!("line {line}"), |(first, label)| format!("{label}:{}", line - first + 1))
    }

    /// A refused rule in one line for a person. `reason` is what the engine's check said, if it did.
    #[must_use]
    pub fn complaint(&self, failed: &FailedRule, reason: Option<&str>) -> String {
        let rule: String = failed.rule.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        let reason = reason.unwrap_or("refused");
        clipped(&format!("{}: {reason} in: {rule}", self.origin(failed.line)))
    }
}

/// Names of the rule files, sorted, so that every host loads them in the same order.
fn rule_files(folder: &Path) -> Result<Vec<String>, SourceError> {
    let broken = |source| SourceError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(broken)? {
        let name = entry.map_err(broken)?.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|extension| extension == "rules") {
            names.push(name);
        }
        if names.len() > FILES_LIMIT {
            return Err(SourceError::TooMany);
        }
    }
    names.sort();
    Ok(names)
}

/// Writes a file beside its place, durably, and readable for the engine.
///
/// # Errors
/// When it cannot be written.
pub fn write_beside(path: &Path, text: &[u8]) -> Result<PathBuf, SourceError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    let beside = PathBuf::from(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().map_err(|source| SourceError::Write { path: beside.clone(), source })?;
    Ok(beside)
}

/// Puts a whole file in the place of another one, durably.
///
/// # Errors
/// When the system refuses.
pub fn replace(beside: &Path, path: &Path) -> Result<(), SourceError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let put = || fs::rename(beside, path).and_then(|()| File::open(folder)?.sync_all());
    put().map_err(|source| SourceError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_traced_back_to_their_files() {
        let (release, package) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(release.path().join("b.rules"), "one\ntwo").unwrap();
        fs::write(release.path().join("a.rules"), "# only a comment\n").unwrap();
        fs::write(release.path().join("notes.txt"), "no rules").unwrap();
        fs::write(package.path().join("a.rules"), "three\n").unwrap();
        let sources =
            RuleSources { release: Some(release.path().to_owned()), package: Some(package.path().to_owned()) };
        let gathered = Gathered::read(&sources).unwrap();
        let text = std::str::from_utf8(gathered.text()).unwrap();
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["# only a comment", "one", "two", "three"]);
        let origins: Vec<String> = (1..=5).map(|line| gathered.origin(line)).collect();
        assert_eq!(
            origins,
            ["canary.rules:1", "release/a.rules:1", "release/b.rules:1", "release/b.rules:2", "package/a.rules:1"]
        );
        let failed = FailedRule { rule: "two".to_owned(), line: 4 };
        assert_eq!(gathered.complaint(&failed, Some("no options")), "release/b.rules:2: no options in: two");
    }

    #[test]
    fn a_rule_of_the_release_is_not_taken_from_the_package_again() {
        let (release, package) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(release.path().join("a.rules"), "alert ip any any -> any any (sid:5; rev:1;)\n").unwrap();
        let text = "alert ip any any -> any any (sid:5; rev:2;)\nalert ip any any -> any any (sid:6;)\n";
        fs::write(package.path().join("a.rules"), text).unwrap();
        let sources =
            RuleSources { release: Some(release.path().to_owned()), package: Some(package.path().to_owned()) };
        let gathered = Gathered::read(&sources).unwrap();
        let text = std::str::from_utf8(gathered.text()).unwrap();
        assert_eq!(gathered.superseded(), 1);
        assert!(text.contains("sid:5; rev:1;") && !text.contains("sid:5; rev:2;") && text.contains("sid:6;"), "{text}");
        assert_eq!(gathered.origin(4), "package/a.rules:2", "no line has moved");
    }

    #[test]
    fn a_folder_that_is_missing_is_said_and_none_is_none() {
        assert_eq!(Gathered::read(&RuleSources::default()).unwrap().text().iter().filter(|b| **b == b'\n').count(), 1);
        let gone = RuleSources { release: Some(PathBuf::from("/nowhere/at/all")), package: None };
        assert!(matches!(Gathered::read(&gone), Err(SourceError::Read { .. })));
    }
}
