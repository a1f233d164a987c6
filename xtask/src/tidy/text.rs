//! Rules about all text: paths of somebody's machine, dead links, assets that nobody can read.

use std::path::Path;

use super::Finding;
use super::tree::{File, Tree};

/// First folders under which only somebody's own machine has anything.
const OWN_FOLDERS: &[&str] = &["home", "root", "work", "Users"];

/// A longer line in an asset was written by a tool.
const LONGEST_ASSET_LINE: usize = 300;

/// An asset of more lines does more than one thing.
const LONGEST_ASSET_LINES: usize = 400;

/// All scripts of the portal together: more would be an application beside the server.
const LONGEST_SCRIPTS_LINES: usize = 600;

pub(super) fn no_absolute_home_or_work_paths(tree: &Tree) -> Vec<Finding> {
    each_line(tree, |line| OWN_FOLDERS.iter().any(|folder| has_path_below(line, folder)))
}

/// The absolute paths that give this machine away: where the tree stands, and the home folder.
pub(super) fn this_machine(root: &Path) -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    [root.to_string_lossy().into_owned(), home].into_iter().filter(|path| path.matches('/').count() > 1).collect()
}

pub(super) fn no_paths_of_this_machine(tree: &Tree, paths: &[String]) -> Vec<Finding> {
    each_line(tree, |line| paths.iter().any(|path| line.contains(path)))
}

fn each_line(tree: &Tree, is_bad: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (number, _) in (1..).zip(file.text.lines()).filter(|(_, line)| is_bad(line)) {
            findings.push(Finding::new(&file.path, number, "an absolute path of somebody's machine"));
        }
    }
    findings
}

/// Whether `line` holds an absolute path to something in `/folder/`.
fn has_path_below(line: &str, folder: &str) -> bool {
    let start = format!("/{folder}/");
    line.match_indices(&start).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + start.len()..).and_then(|text| text.chars().next());
        let is_absolute = !before.is_some_and(|c| c.is_alphanumeric() || "/._-}>*)~$".contains(c));
        is_absolute && after.is_some_and(|c| c.is_alphanumeric() || c == '.')
    })
}

/// Every relative link of a document leads to a file or folder of the tree.
pub(super) fn links_lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if !leads_somewhere(tree, file, target) {
                    findings.push(Finding::new(&file.path, number, format!("the link to “{target}” leads nowhere")));
                }
            }
        }
    }
    findings
}

fn leads_somewhere(tree: &Tree, file: &File, target: &str) -> bool {
    let target = target.split('#').next().unwrap_or_default();
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let mut path: Vec<&str> = file.path.split('/').collect();
    path.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    tree.paths.contains(&path.join("/"))
}

/// What the browser gets is what somebody wrote: short lines, short files, a first line that says what it is for.
pub(super) fn assets_are_readable(tree: &Tree) -> Vec<Finding> {
    let is_asset =
        |file: &&File| file.path.contains("/assets/") && (file.path.ends_with(".js") || file.path.ends_with(".css"));
    let mut findings = Vec::new();
    let mut script_lines = 0;
    for file in tree.files.iter().filter(is_asset) {
        let lines = file.text.lines().count();
        script_lines += if file.path.ends_with(".js") { lines } else { 0 };
        if lines > LONGEST_ASSET_LINES {
            let what = format!("{lines} lines, {LONGEST_ASSET_LINES} are the most for an asset");
            findings.push(Finding::new(&file.path, 0, what));
        }
        if !file.text.starts_with("//") && !file.text.starts_with("/*") {
            findings.push(Finding::new(&file.path, 1, "open the asset with a comment: what it is for"));
        }
        let long = (1..).zip(file.text.lines()).find(|(_, line)| line.chars().count() > LONGEST_ASSET_LINE);
        if let Some((number, _)) = long {
            let what = format!("a line of more than {LONGEST_ASSET_LINE} characters: assets are not minified");
            findings.push(Finding::new(&file.path, number, what));
        }
    }
    if script_lines > LONGEST_SCRIPTS_LINES {
        let what = format!("{script_lines} lines of script in all, {LONGEST_SCRIPTS_LINES} are the most");
        findings.push(Finding::new("crates/server/src/portal/assets", 0, what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spelled in parts, so that this file keeps its own rule.
    fn below(folder: &str, rest: &str) -> String {
        format!("/{folder}/{rest}")
    }

    #[test]
    fn absolute_paths_of_a_machine_are_found() {
        for folder in OWN_FOLDERS {
            assert!(has_path_below(&format!("open \"{}\"", below(folder, "ada/x")), folder), "{folder}");
        }
    }

    #[test]
    fn paths_that_only_look_alike_are_left_alone() {
        for line in ["/v1/root/1.json", "a framework/work/x", "$HOME/work/x", "/root is a user", "R/root/x", "~/work/x"]
        {
            assert!(!OWN_FOLDERS.iter().any(|folder| has_path_below(line, folder)), "{line}");
        }
    }

    #[test]
    fn the_place_of_the_tree_is_found() {
        let tree = Tree::of(&[("README.md", "cd /srv/ada/watchpost\n"), ("GLOSSARY.md", "/srv\n")]);
        let found = no_paths_of_this_machine(&tree, &["/srv/ada/watchpost".to_owned()]);
        assert_eq!(found, [Finding::new("README.md", 1, "an absolute path of somebody's machine")]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](adr/0001.md) [b](../README.md#x) [c](https://example.org) [d](adr) [e](nowhere.md)\n";
        let files = [("docs/a.md", text), ("docs/adr/0001.md", ""), ("README.md", ""), ("docs/adr", "")];
        let found = links_lead_somewhere(&Tree::of(&files));
        assert_eq!(found, [Finding::new("docs/a.md", 1, "the link to “nowhere.md” leads nowhere")]);
    }

    #[test]
    fn an_unreadable_asset_is_found() {
        let long = format!("// live rows\n{}\n", "x".repeat(301));
        let files = [("crates/server/src/portal/assets/js/a.js", long.as_str()), ("a/assets/b.css", ".a {}\n")];
        let lines: Vec<_> = assets_are_readable(&Tree::of(&files)).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 1]);
        let many = "// a\n".repeat(301);
        let files = [("a/assets/a.js", many.as_str()), ("a/assets/b.js", many.as_str())];
        assert_eq!(assets_are_readable(&Tree::of(&files)).len(), 1);
    }
}
