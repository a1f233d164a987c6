//! The descriptions in `tests/mutants`: what is replaced by what, in which file, and what should find it.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Where they lie.
const FOLDER: &str = "tests/mutants";
/// How their names end.
const ENDING: &str = ".mutant";

/// One fault.
pub(super) struct Mutant {
    pub(super) name: String,
    /// The file that it is put into.
    pub(super) file: String,
    pub(super) proof: Proof,
    before: String,
    after: String,
}

/// What should find it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// Tests of one crate, by words in their names.
    Tests { package: &'static str, target: Vec<String>, filters: Vec<String> },
    /// A programme of the `tests` crate.
    Programme { name: &'static str, options: Vec<String> },
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tests { package, target, filters } => {
                write!(f, "{package} {} {}", target.join(" "), filters.join(" "))
            }
            Self::Programme { name, options } => write!(f, "{name} {}", options.join(" ")),
        }
    }
}

impl Proof {
    /// Reads `core rollout`, `core-scenarios NAME`, `package trust`, `agent NAME`, `crash-states` or `simulation`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let kind = words.next().context("nothing is named that should find it")?;
        let lib = || vec!["--lib".to_owned()];
        let options = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Ok(match kind.as_str() {
            "core" => Self::Tests { package: "watchpost-core", target: lib(), filters: words.collect() },
            "package" => Self::Tests { package: "watchpost-package", target: lib(), filters: words.collect() },
            "agent" => Self::Tests { package: "watchpost-agent", target: lib(), filters: words.collect() },
            "core-scenarios" => {
                let target = options("--test scenarios");
                Self::Tests { package: "watchpost-core", target, filters: Vec::new() }
            }
            "crash-states" => Self::Programme { name: "crash-states", options: options("--states 300") },
            "simulation" => Self::Programme { name: "simulation", options: options("--sensors 20 --seeds 60") },
            other => bail!("“{other}” is nothing that could find it"),
        })
    }
}

impl Mutant {
    fn parse(name: &str, text: &str) -> Result<Self> {
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.map(str::to_owned).with_context(|| format!("{name}: there is no line “{key}: …”"))
        };
        field("why")?;
        let (_, rest) = text.split_once("--- before\n").with_context(|| format!("{name}: no “--- before”"))?;
        let (before, after) = rest.split_once("\n--- after\n").with_context(|| format!("{name}: no “--- after”"))?;
        let (before, after) = (before.to_owned(), after.strip_suffix('\n').unwrap_or(after).to_owned());
        Ok(Self { name: name.to_owned(), file: field("file")?, proof: Proof::parse(&field("test")?)?, before, after })
    }

    /// The file with the fault in it.
    pub(super) fn put_into(&self, text: &str) -> Result<String> {
        let found = text.matches(&self.before).count();
        ensure!(found == 1, "what it replaces stands {found} times in {}: write it anew", self.file);
        Ok(text.replacen(&self.before, &self.after, 1))
    }
}

/// All of them, by name.
pub(super) fn all(root: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in std::fs::read_dir(root.join(FOLDER)).context(FOLDER)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(name) = name.strip_suffix(ENDING) {
            mutants.push(Mutant::parse(name, &std::fs::read_to_string(&path)?)?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}
