//! Rules about names, and about the documents that list them.

use super::Finding;
use super::tree::Tree;

/// Names that say nothing of what is inside.
const BANNED: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc"];

/// A product file is named after one noun of the product.
pub(super) fn banned_file_names(tree: &Tree) -> Vec<Finding> {
    let named = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.strip_suffix(".rs").unwrap_or(name);
        BANNED.contains(&stem).then(|| {
            Finding::new(path, 0, format!("“{stem}” says nothing: name it after the one noun that it is about"))
        })
    };
    tree.paths.iter().filter(|path| path.contains("/src/")).filter_map(|path| named(path)).collect()
}

/// `ARCHITECTURE.md` names every crate.
pub(super) fn every_crate_is_on_the_map(tree: &Tree) -> Vec<Finding> {
    let map = tree.file("ARCHITECTURE.md").map_or("", |file| file.text.as_str());
    let unnamed = crate_manifests(tree).filter_map(|path| path.strip_suffix("/Cargo.toml")).filter(|folder| {
        let name = folder.strip_prefix("crates/").unwrap_or(folder);
        !map.contains(&format!("`{name}`")) && !map.contains(folder)
    });
    unnamed.map(|folder| Finding::new("ARCHITECTURE.md", 0, format!("`{folder}` is missing on the code map"))).collect()
}

/// Every crate takes the lints of the workspace.
pub(super) fn every_crate_takes_the_lints(tree: &Tree) -> Vec<Finding> {
    let without = crate_manifests(tree)
        .filter(|path| !tree.file(path).is_some_and(|file| file.text.contains("[lints]\nworkspace = true")));
    without.map(|path| Finding::new(path, 0, "add `[lints]` with `workspace = true`")).collect()
}

fn crate_manifests(tree: &Tree) -> impl Iterator<Item = &str> {
    let is_crate = |path: &&str| path.starts_with("crates/") && path.split('/').count() == 3;
    tree.paths.iter().map(String::as_str).filter(|path| path.ends_with("/Cargo.toml")).filter(is_crate)
}

/// The type that `GLOSSARY.md` names in the last column of a row exists.
pub(super) fn glossary_types_exist(tree: &Tree) -> Vec<Finding> {
    let Some(glossary) = tree.file("GLOSSARY.md") else { return Vec::new() };
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(glossary.text.lines()) {
        let last = line.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let is_row = line.starts_with('|') && !line.contains("---");
        for word in last.split('`').skip(1).step_by(2).filter(|_| is_row) {
            let noun = word.rsplit("::").next().unwrap_or(word);
            if !is_defined(tree, noun) {
                findings.push(Finding::new(&glossary.path, number, format!("there is no type `{word}` in the crates")));
            }
        }
    }
    findings
}

fn is_defined(tree: &Tree, noun: &str) -> bool {
    let ids = format!("    {noun}, \"");
    let kinds = ["struct", "enum", "trait", "type", "const", "fn", "mod"];
    tree.product().any(|file| {
        file.text.lines().any(|line| line.starts_with(&ids))
            || kinds.iter().any(|kind| {
                let wanted = format!("{kind} {noun}");
                file.text.match_indices(&wanted).any(|(at, _)| {
                    let after = file.text.get(at + wanted.len()..).and_then(|rest| rest.chars().next());
                    !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
                })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_found() {
        let tree = Tree::of(&[("crates/core/src/utils.rs", ""), ("crates/core/src/site.rs", ""), ("docs/misc", "")]);
        let found = banned_file_names(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].file, "crates/core/src/utils.rs");
    }

    #[test]
    fn a_crate_that_the_map_forgets_is_found() {
        let files = [
            ("ARCHITECTURE.md", "| `core` | decides |"),
            ("crates/core/Cargo.toml", ""),
            ("crates/new/Cargo.toml", ""),
        ];
        let found = every_crate_is_on_the_map(&Tree::of(&files));
        assert_eq!(found, [Finding::new("ARCHITECTURE.md", 0, "`crates/new` is missing on the code map")]);
    }

    #[test]
    fn a_crate_without_lints_is_found() {
        let files = [("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"), ("crates/b/Cargo.toml", "[package]\n")];
        let found = every_crate_takes_the_lints(&Tree::of(&files));
        assert_eq!(found.iter().map(|f| f.file.as_str()).collect::<Vec<_>>(), ["crates/b/Cargo.toml"]);
    }

    #[test]
    fn a_glossary_row_without_its_type_is_found() {
        let glossary = "| term | is | type |\n| --- | --- | --- |\n| sensor | a `thing` | `id::SensorId` |\n| ring | x | `Ring` |\n";
        let source = "typed_id! {\n    SensorId, \"sen\";\n}\nstruct Rings;\n";
        let found = glossary_types_exist(&Tree::of(&[("GLOSSARY.md", glossary), ("crates/core/src/id.rs", source)]));
        assert_eq!(found, [Finding::new("GLOSSARY.md", 4, "there is no type `Ring` in the crates")]);
    }
}
