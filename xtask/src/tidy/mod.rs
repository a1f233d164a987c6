//! The rules of the house that the compiler does not know, each a small function from the tree to findings.
//!
//! Rules only read. A finding names the file, the line and what to do.

mod graph;
mod names;
mod proofs;
mod source;
mod text;
mod tree;

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

use tree::Tree;

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    /// 0 when the file as a whole is meant.
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// The rules that need no more than the files.
const FILE_RULES: &[fn(&Tree) -> Vec<Finding>] = &[
    names::banned_file_names,
    names::every_crate_is_on_the_map,
    names::every_crate_takes_the_lints,
    names::glossary_types_exist,
    proofs::named_tests_exist,
    source::files_are_short,
    source::functions_are_short,
    source::files_say_what_they_are_for,
    source::nothing_is_allowed_silently,
    source::nothing_is_left_open,
    source::ignored_tests_say_why_and_since_when,
    text::no_absolute_home_or_work_paths,
    text::links_lead_somewhere,
    text::assets_are_readable,
];

/// Checks every rule and prints what it found.
///
/// # Errors
/// When a rule is broken, or the tree or the dependency graph cannot be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let mut findings: Vec<Finding> = FILE_RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.extend(text::no_paths_of_this_machine(&tree, &text::this_machine(root)));
    findings.extend(graph::check(root)?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("1 rule of the house is broken; CONTRIBUTING.md says which there are"),
        many => bail!("rules of the house are broken at {many} places; CONTRIBUTING.md says which there are"),
    }
}
