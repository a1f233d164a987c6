//! The engine for audit events: Sigma detection rules over one JSON event at a time.
//!
//! A rule file that is broken never keeps the others from loading; it is counted, and the control plane sees the count.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use rsigma_eval::event::JsonEvent;
use rsigma_parser::{SigmaRule, parse_sigma_yaml};
use serde_json::Value;

use super::{Engine, Match, RuleSet};

/// The largest rule file that is read, in bytes.
const RULE_FILE_LIMIT: u64 = 256 * 1024;
/// The most rule files that are read.
const RULE_FILES_LIMIT: usize = 10_000;

/// Sigma rules, ready to evaluate.
pub struct Sigma {
    engine: rsigma_eval::Engine,
    rules: RuleSet,
    /// Which file each rule id came from.
    files: BTreeMap<String, String>,
}

/// Why the rules of a release cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The folder cannot be listed.
    #[error("the rules of the release cannot be listed; the release is damaged and has to be installed again")]
    Folder(#[source] std::io::Error),
    /// More files than any release has.
    #[error("the release has more than {RULE_FILES_LIMIT} rule files; build it with fewer")]
    TooMany,
}

impl Sigma {
    /// Loads every `*.yml` in `folder`. Broken files are counted, not fatal.
    ///
    /// # Errors
    /// When the folder cannot be listed or holds absurdly many files.
    pub fn load(folder: &Path) -> Result<Self, RulesError> {
        let mut sigma = Self { engine: rsigma_eval::Engine::new(), rules: RuleSet::default(), files: BTreeMap::new() };
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for name in rule_files(folder)? {
            let text = match read_rule_file(&folder.join(&name)) {
                Ok(text) => text,
                Err(error) => {
                    sigma.rules.refuse(&name, &error);
                    continue;
                }
            };
            // Lengths first, so that moving a byte from one file to the next is another set.
            digest.update(&(name.len() as u64).to_be_bytes());
            digest.update(name.as_bytes());
            digest.update(&(text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
            sigma.load_file(&name, &text);
        }
        sigma.rules.sha256 = hex::encode(digest.finish());
        Ok(sigma)
    }

    fn load_file(&mut self, name: &str, text: &str) {
        let collection = match parse_sigma_yaml(text) {
            Ok(collection) => collection,
            Err(error) => return self.rules.refuse(name, &error),
        };
        for error in &collection.errors {
            self.rules.refuse(name, error);
        }
        // Refused rather than ignored: a release must not count as whole while a part of it does nothing.
        for _ in 0..collection.correlations.len().saturating_add(collection.filters.len()) {
            self.rules.refuse(name, &"correlation and filter rules are not supported by this sensor");
        }
        for rule in &collection.rules {
            match self.load_rule(name, rule) {
                Ok(()) => self.rules.loaded = self.rules.loaded.saturating_add(1),
                Err(why) => self.rules.refuse(name, &why),
            }
        }
    }

    fn load_rule(&mut self, name: &str, rule: &SigmaRule) -> Result<(), String> {
        let id = rule.id.clone().ok_or("the rule has no id")?;
        if let Some(first) = self.files.get(&id) {
            return Err(format!("the rule id {id} is already used in {first}"));
        }
        self.engine.add_rule(rule).map_err(|error| error.to_string())?;
        self.files.insert(id, name.to_owned());
        Ok(())
    }
}

impl Engine for Sigma {
    fn rules(&self) -> &RuleSet {
        &self.rules
    }

    fn evaluate(&self, event: &Value) -> Vec<Match> {
        let found = self.engine.evaluate(&JsonEvent::borrow(event));
        let mut matches: Vec<Match> = found
            .into_iter()
            .filter_map(|result| {
                let header = result.header;
                let rule_id = header.rule_id?;
                let rule_file = self.files.get(&rule_id)?.clone();
                let level = header.level.map_or("medium", |level| level.as_str()).to_owned();
                Some(Match { rule_id, rule_title: header.rule_title, level, rule_file })
            })
            .collect();
        matches.sort_by(|a, b| (&a.rule_file, &a.rule_id).cmp(&(&b.rule_file, &b.rule_id)));
        matches
    }
}

/// Names of the rule files, sorted, so that every host loads them in the same order.
fn rule_files(folder: &Path) -> Result<Vec<String>, RulesError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(RulesError::Folder)? {
        let name = entry.map_err(RulesError::Folder)?.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "yml") {
            names.push(name.to_string_lossy().into_owned());
        }
        if names.len() > RULE_FILES_LIMIT {
            return Err(RulesError::TooMany);
        }
    }
    names.sort();
    Ok(names)
}

fn read_rule_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(RULE_FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > RULE_FILE_LIMIT {
        return Err(std::io::Error::other(format!("larger than {RULE_FILE_LIMIT} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn content(part: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content").join(part)
    }

    /// The recording was read by hand; line numbers count from 1. Every other line must raise nothing.
    #[test]
    fn every_rule_fires_on_the_recorded_events_it_should_and_on_no_other() {
        let expected: BTreeMap<&str, &[usize]> = BTreeMap::from([
            ("domain-controller-account-changed.yml", [50, 52, 55].as_slice()),
            ("failed-logon-unknown-account.yml", &[6, 22]),
            ("failed-logon-wrong-password.yml", &[5, 21, 23]),
            ("password-reset.yml", &[11, 17, 25]),
            ("privileged-group-member-added.yml", &[33, 40]),
        ]);
        let sigma = Sigma::load(&content("rules")).unwrap();
        let recorded = std::fs::read_to_string(content("samples/samba-audit.jsonl")).unwrap();
        let mut fired: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, line) in (1..).zip(recorded.lines()) {
            for found in sigma.evaluate(&serde_json::from_str(line).unwrap()) {
                fired.entry(found.rule_file).or_default().push(number);
            }
        }
        let fired: BTreeMap<&str, &[usize]> =
            fired.iter().map(|(file, lines)| (file.as_str(), lines.as_slice())).collect();
        assert_eq!(fired, expected);
    }

    #[test]
    fn the_release_loads_as_many_rules_as_it_announces() {
        let sigma = Sigma::load(&content("rules")).unwrap();
        assert_eq!(sigma.rules().complaints, Vec::<String>::new());
        let release = std::fs::read(content("release/release.json")).unwrap();
        let release = watchpost_core::release::ReleaseManifest::from_slice(&release).unwrap();
        assert_eq!(sigma.rules().loaded, release.rules_expected);
        assert_eq!(sigma.rules().failed, 0);
    }

    const RULE: &str = "title: T\nid: ID\nlogsource:\n  product: samba\ndetection:\n  s:\n    a: 1\n  condition: s\n";

    #[test]
    fn broken_rules_are_counted_and_the_rest_loads() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("a.yml", &RULE.replace("ID", "one"));
        write("b.yml", "title: [");
        write("c.yml", &RULE.replace("condition: s", "condition: nothing"));
        write("d.yml", &RULE.replace("ID", "one"));
        write("e.yml", &RULE.replace("id: ID\n", ""));
        write("f.yml", "- a list\n");
        std::fs::write(folder.path().join("g.yml"), [0xff, 0xfe, 0x00]).unwrap();
        write("h.yml", &" ".repeat(300 * 1024));
        write("notes.txt", "not a rule");
        let sigma = Sigma::load(folder.path()).unwrap();
        assert_eq!((sigma.rules().loaded, sigma.rules().failed), (1, 7), "{:#?}", sigma.rules().complaints);
        assert_eq!(sigma.evaluate(&serde_json::json!({"a": 1})).len(), 1);
        assert!(sigma.evaluate(&serde_json::json!([1, 2])).is_empty());
    }

    #[test]
    fn the_hash_changes_with_names_and_contents() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("a.yml"), RULE).unwrap();
        std::fs::write(two.path().join("b.yml"), RULE).unwrap();
        let hash = |folder: &tempfile::TempDir| Sigma::load(folder.path()).unwrap().rules().sha256.clone();
        assert_eq!(hash(&one), hash(&one));
        assert_ne!(hash(&one), hash(&two));
        assert!(Sigma::load(&one.path().join("missing")).is_err());
    }
}
