//! Documents that name tests: each test they name is there.

use super::Finding;
use super::tree::Tree;

/// Documents whose every claim names its tests, as `path/of/file.rs::name_of_the_test`.
const DOCUMENTS: &[&str] = &["docs/known-failures.md"];

pub(super) fn named_tests_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| DOCUMENTS.contains(&file.path.as_str())) {
        for (number, line) in (1..).zip(file.text.lines()) {
            for (path, name) in line.split('`').filter_map(|word| word.split_once(".rs::")) {
                let path = format!("{path}.rs");
                let is_there = tree.file(&path).is_some_and(|file| file.text.contains(&format!("fn {name}(")));
                if !is_there {
                    findings.push(Finding::new(&file.path, number, format!("{path} has no test “{name}”")));
                }
            }
            let is_a_claim = line.starts_with("| ") && !line.starts_with("| #") && !line.contains("| tests |");
            if is_a_claim && !line.contains(".rs::") {
                findings.push(Finding::new(&file.path, number, "name the test that keeps this out"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_without_a_test_and_a_test_that_is_gone_are_found() {
        let with = |line: &str| {
            let tree = Tree::of(&[("docs/known-failures.md", line), ("crates/a/src/b.rs", "fn it_holds() {}")]);
            named_tests_exist(&tree).len()
        };
        assert_eq!(with("| 1 | it holds | `crates/a/src/b.rs::it_holds` |"), 0);
        assert_eq!(with("| 1 | it holds | `crates/a/src/b.rs::it_held` |"), 1);
        assert_eq!(with("| 1 | it holds | `crates/a/src/c.rs::it_holds` |"), 1);
        assert_eq!(with("| 1 | it holds | see above |"), 1);
        assert_eq!(with("| # | rule | tests |"), 0);
    }
}
