//! Reads folders of rule files and builds the engine from them.
//!
//! What cannot be loaded is refused and counted, never left out in silence: a release must not count as whole while a
//! part of it does nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, digest};
use rsigma_parser::{CorrelationRule, FilterRule, FilterRuleTarget, SigmaRule, parse_sigma_yaml};

use super::correlation::{Book, Watched};
use super::index::Index;
use super::{Rule, Sigma};
use crate::engine::RuleSet;

/// The largest rule file that is read, in bytes.
const RULE_FILE_LIMIT: u64 = 256 * 1024;
/// The most rule files that are read of one folder.
const RULE_FILES_LIMIT: usize = 10_000;

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
        Self::load_all(&[folder.to_owned()])
    }

    /// Loads every `*.yml` of all `folders`: the rules of the release first, then those of rule packages, whose files
    /// are named after the number of their folder, so that none can pass for a file of the release.
    ///
    /// # Errors
    /// When a folder cannot be listed or holds absurdly many files.
    pub fn load_all(folders: &[PathBuf]) -> Result<Self, RulesError> {
        let mut loading = Loading::default();
        let mut hash = Context::new(&SHA256);
        for (source, folder) in folders.iter().enumerate() {
            for name in rule_files(folder)? {
                let path = folder.join(&name);
                let name = if source == 0 { name } else { format!("package-{source}/{name}") };
                match read_rule_file(&path) {
                    Ok(text) => {
                        // Lengths first, so that moving a byte from one file to the next is another set.
                        for part in [name.as_bytes(), text.as_bytes()] {
                            hash.update(&(part.len() as u64).to_be_bytes());
                            hash.update(part);
                        }
                        loading.read(source, &name, &text);
                    }
                    Err(error) => loading.set.refuse(&name, &error),
                }
            }
        }
        loading.set.sha256 = hex::encode(hash.finish());
        Ok(loading.finish())
    }
}

/// Where a part of a rule file came from.
#[derive(Clone)]
struct Origin {
    source: usize,
    file: String,
    /// SHA-256 of the file.
    digest: String,
}

/// Why a rule is not taken.
enum Untaken {
    /// The release has it: a package is built for many releases.
    Superseded,
    /// It is broken: why.
    Refused(String),
}

impl From<String> for Untaken {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// Rules on their way into an engine.
#[derive(Default)]
struct Loading {
    set: RuleSet,
    engine: rsigma_eval::Engine,
    /// Detection rules, in the order of the engine's.
    rules: Vec<(String, Option<String>, Origin)>,
    correlations: Vec<(CorrelationRule, Origin)>,
    filters: Vec<(FilterRule, Origin)>,
    /// Where each rule id came from.
    ids: BTreeMap<String, Origin>,
}

impl Loading {
    fn read(&mut self, source: usize, name: &str, text: &str) {
        let collection = match parse_sigma_yaml(text) {
            Ok(collection) => collection,
            Err(error) => return self.set.refuse(name, &error),
        };
        for error in &collection.errors {
            self.set.refuse(name, error);
        }
        let from = Origin { source, file: name.to_owned(), digest: hex::encode(digest(&SHA256, text.as_bytes())) };
        for rule in &collection.rules {
            match self.add_rule(rule, &from) {
                Ok(()) => self.set.loaded = self.set.loaded.saturating_add(1),
                Err(why) => self.leave_out(name, why),
            }
        }
        self.correlations.extend(collection.correlations.into_iter().map(|rule| (rule, from.clone())));
        self.filters.extend(collection.filters.into_iter().map(|rule| (rule, from.clone())));
    }

    /// A rule that is not taken is counted.
    fn leave_out(&mut self, file: &str, why: Untaken) {
        match why {
            Untaken::Superseded => self.set.superseded = self.set.superseded.saturating_add(1),
            Untaken::Refused(why) => self.set.refuse(file, &why),
        }
    }

    fn claim(&mut self, id: Option<&String>, from: &Origin) -> Result<String, Untaken> {
        let id = id.ok_or_else(|| "the rule has no id".to_owned())?;
        match self.ids.get(id) {
            Some(first) if first.source == 0 && from.source > 0 => return Err(Untaken::Superseded),
            Some(first) => return Err(format!("the rule id {id} is already used in {}", first.file).into()),
            None => {}
        }
        self.ids.insert(id.clone(), from.clone());
        Ok(id.clone())
    }

    fn add_rule(&mut self, rule: &SigmaRule, from: &Origin) -> Result<(), Untaken> {
        let id = self.claim(rule.id.as_ref(), from)?;
        if let Err(error) = self.engine.add_rule(rule) {
            self.ids.remove(&id);
            return Err(error.to_string().into());
        }
        self.rules.push((id, rule.name.clone(), from.clone()));
        Ok(())
    }

    fn finish(mut self) -> Sigma {
        for (filter, from) in std::mem::take(&mut self.filters) {
            match self.add_filter(filter) {
                Ok(()) => self.set.loaded = self.set.loaded.saturating_add(1),
                Err(why) => self.set.refuse(&from.file, &why),
            }
        }
        let (book, silent) = self.correlate();
        let compiled = self.engine.rules().iter().cloned();
        let rules: Vec<Rule> = compiled
            .zip(self.rules)
            .map(|(compiled, (id, name, from))| Rule {
                compiled,
                is_silent: silent.contains(&id),
                is_watched: book.is_watched(&id, name.as_deref()),
                id,
                name,
                file: from.file,
            })
            .collect();
        let index = Index::of(rules.iter().map(|rule| &rule.compiled));
        Sigma { rules, index, book, set: self.set }
    }

    /// Applies a filter to the rules that it names by id, name or title.
    fn add_filter(&mut self, mut filter: FilterRule) -> Result<(), String> {
        if let FilterRuleTarget::Specific(refs) = &mut filter.rules {
            for reference in refs.iter_mut() {
                if let Some((id, _, _)) = self.rules.iter().find(|(_, name, _)| name.as_ref() == Some(reference)) {
                    reference.clone_from(id);
                }
            }
            let titles = self.engine.rules().iter();
            let is_known = titles.clone().any(|rule| {
                refs.iter().any(|reference| rule.id.as_ref() == Some(reference) || rule.title == *reference)
            });
            if !is_known {
                return Err(format!("the filter is for {}, none of which is loaded", refs.join(", ")));
            }
        }
        self.engine.apply_filter(&filter).map_err(|error| error.to_string())
    }

    /// Adds the correlations whose rules are all there, round by round, because some rest on others; a circle never
    /// gets its turn. Also gives the ids of the rules that raise no alerts of their own.
    fn correlate(&mut self) -> (Book, BTreeSet<String>) {
        let mut known: HashMap<String, Origin> = HashMap::new();
        for (id, name, from) in &self.rules {
            for word in std::iter::once(id).chain(name) {
                known.insert(word.clone(), from.clone());
            }
        }
        let mut loaded: Vec<(Watched, Origin)> = Vec::new();
        let mut waiting = std::mem::take(&mut self.correlations);
        loop {
            let (ready, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(rule, _)| rule.rules.iter().all(|word| known.contains_key(word)));
            if ready.is_empty() {
                for (rule, from) in rest {
                    let missing: Vec<&str> =
                        rule.rules.iter().filter(|word| !known.contains_key(*word)).map(String::as_str).collect();
                    self.set.refuse(&from.file, &format!("it refers to {}, which is not loaded", missing.join(", ")));
                }
                break;
            }
            for (rule, from) in ready {
                match self.add_correlation(&rule, &from, &known) {
                    Ok(watched) => {
                        for word in std::iter::once(watched.id.as_str()).chain(watched.name()) {
                            known.insert(word.to_owned(), from.clone());
                        }
                        loaded.push((watched, from));
                        self.set.loaded = self.set.loaded.saturating_add(1);
                    }
                    Err(why) => self.leave_out(&from.file, why),
                }
            }
            waiting = rest;
        }
        let silent = self.silent(&loaded);
        let mut book = Book::default();
        loaded.into_iter().for_each(|(watched, _)| book.add(watched));
        (book, silent)
    }

    fn add_correlation(
        &mut self,
        rule: &CorrelationRule,
        from: &Origin,
        known: &HashMap<String, Origin>,
    ) -> Result<Watched, Untaken> {
        let mut watched = Watched::compile(rule, &from.file)?;
        self.claim(rule.id.as_ref(), from)?;
        let mut hash = Context::new(&SHA256);
        hash.update(from.digest.as_bytes());
        for below in rule.rules.iter().filter_map(|word| known.get(word)) {
            hash.update(below.digest.as_bytes());
        }
        watched.fingerprint = hex::encode(hash.finish());
        Ok(watched)
    }

    /// Rules that a correlation of the same folder refers to and none asks to raise alerts, as Sigma has it. A rule
    /// package cannot silence a rule of the release.
    fn silent(&self, loaded: &[(Watched, Origin)]) -> BTreeSet<String> {
        let mut silent = BTreeSet::new();
        for (id, name, from) in &self.rules {
            let refers =
                |watched: &Watched| watched.refs().iter().any(|word| word == id || name.as_ref() == Some(word));
            let mut own =
                loaded.iter().filter(|(watched, above)| above.source == from.source && refers(watched)).peekable();
            if own.peek().is_some() && !own.any(|(watched, _)| watched.generates()) {
                silent.insert(id.clone());
            }
        }
        silent
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
