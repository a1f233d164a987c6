//! Rules about Rust source: length, opening words, and what may not be left in it.

use super::Finding;
use super::tree::{File, Tree};

/// A product file that is longer holds more than one noun.
const LONGEST_FILE_LINES: usize = 500;

/// A longer function does not fit on a screen.
const LONGEST_FUNCTION_LINES: usize = 70;

/// What a file is for fits in this many lines, or the file is for too much.
const LONGEST_OPENING_LINES: usize = 10;

pub(super) fn files_are_short(tree: &Tree) -> Vec<Finding> {
    let long = |file: &File| {
        let lines = file.product_lines().count();
        let what = format!("{lines} lines, {LONGEST_FILE_LINES} are the most: give one of its nouns a file of its own");
        (lines > LONGEST_FILE_LINES).then(|| Finding::new(&file.path, 0, what))
    };
    tree.product().filter_map(long).collect()
}

/// Counts as clippy does: lines of code between the braces. Clippy sees less behind `cfg`; this sees all.
pub(super) fn functions_are_short(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.product() {
        let mut open: Option<(usize, String, usize)> = None;
        for (number, line) in file.product_lines() {
            let indent = line.len() - line.trim_start().len();
            match &mut open {
                None if opens_function(line) => {
                    open = Some((number, format!("{}}}", " ".repeat(indent)), 0));
                }
                None => {}
                Some((start, end, lines)) if line == end.as_str() => {
                    if *lines > LONGEST_FUNCTION_LINES {
                        let what = format!("a function of {lines} lines, {LONGEST_FUNCTION_LINES} are the most");
                        findings.push(Finding::new(&file.path, *start, what));
                    }
                    open = None;
                }
                Some((_, _, lines)) if is_code(line) => *lines += 1,
                Some(_) => {}
            }
        }
    }
    findings
}

/// Whether a function with a body on lines of its own begins here (rustfmt puts the closing brace at its indent).
fn opens_function(line: &str) -> bool {
    let Some((before, _)) = line.split_once("fn ") else { return false };
    let is_head = before.split_whitespace().all(|word| {
        matches!(word, "pub" | "pub(crate)" | "pub(super)" | "async" | "const" | "extern") || word.starts_with("pub(in")
    });
    is_head && !line.ends_with(';') && !line.ends_with('}')
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

pub(super) fn files_say_what_they_are_for(tree: &Tree) -> Vec<Finding> {
    let mute = |file: &File| {
        let opening = file.text.lines().take_while(|line| line.starts_with("//!")).count();
        let what = match opening {
            0 => "open the file with `//!`: what it is for, and what it promises never to do".to_owned(),
            1..=LONGEST_OPENING_LINES => return None,
            _ => format!("{opening} lines of `//!`, {LONGEST_OPENING_LINES} are the most: the rest belongs in docs/"),
        };
        Some(Finding::new(&file.path, 1, what))
    };
    tree.product().filter_map(mute).collect()
}

pub(super) fn nothing_is_allowed_silently(tree: &Tree) -> Vec<Finding> {
    let rust = tree.files.iter().filter(|file| file.path.ends_with(".rs"));
    lines_that(rust, |line| line.starts_with("#[allow(") || line.starts_with("#![allow("))
        .map(|(file, line)| Finding::new(file, line, "write `#[expect(lint, reason = \"…\")]`: it ends with its cause"))
        .collect()
}

pub(super) fn nothing_is_left_open(tree: &Tree) -> Vec<Finding> {
    let open = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME"), concat!("TO", "DO")];
    let rust = tree.files.iter().filter(|file| file.path.ends_with(".rs"));
    lines_that(rust, |line| open.iter().any(|word| line.contains(word)))
        .map(|(file, line)| Finding::new(file, line, "finish it, or file an issue and leave it out"))
        .collect()
}

pub(super) fn ignored_tests_say_why_and_since_when(tree: &Tree) -> Vec<Finding> {
    let rust = tree.files.iter().filter(|file| file.path.ends_with(".rs"));
    lines_that(rust, |line| line.starts_with("#[ignore") && !has_date(line))
        .map(|(file, line)| Finding::new(file, line, "say why and since when: `#[ignore = \"2026-01-31: …\"]`"))
        .collect()
}

fn has_date(line: &str) -> bool {
    let shape = |window: &[u8]| {
        window.iter().enumerate().all(|(i, byte)| if i == 4 || i == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
    };
    line.as_bytes().windows(10).any(shape)
}

fn lines_that<'a>(
    files: impl Iterator<Item = &'a File>,
    is_meant: impl Fn(&str) -> bool,
) -> impl Iterator<Item = (&'a str, usize)> {
    files.flat_map(move |file| {
        let lines = (1..).zip(file.text.lines()).filter(|(_, line)| is_meant(line.trim_start()));
        lines.map(|(number, _)| (file.path.as_str(), number)).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/core/src/a.rs";

    fn findings(rule: fn(&Tree) -> Vec<Finding>, text: &str) -> usize {
        rule(&Tree::of(&[(PATH, text)])).len()
    }

    #[test]
    fn the_500th_line_is_the_last_and_tests_do_not_count() {
        let lines = |n: usize| "// a\n".repeat(n);
        assert_eq!(findings(files_are_short, &lines(500)), 0);
        assert_eq!(findings(files_are_short, &lines(501)), 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(490), lines(300));
        assert_eq!(findings(files_are_short, &tested), 0);
    }

    #[test]
    fn the_70th_line_of_code_is_the_last() {
        let function = |n: usize| {
            format!(
                "impl A {{\n    pub async fn a(\n        x: u8,\n    ) {{\n{}\n        // b\n    }}\n}}\n",
                "        a();\n".repeat(n - 2)
            )
        };
        assert_eq!(findings(functions_are_short, &function(70)), 0);
        assert_eq!(findings(functions_are_short, &function(71)), 1);
        assert_eq!(findings(functions_are_short, "trait A {\n    fn a();\n}\n"), 0);
    }

    #[test]
    fn a_file_opens_with_what_it_is_for() {
        assert_eq!(findings(files_say_what_they_are_for, "//! A.\nfn a() {}\n"), 0);
        assert_eq!(findings(files_say_what_they_are_for, "fn a() {}\n"), 1);
        assert_eq!(findings(files_say_what_they_are_for, &"//! A\n".repeat(10)), 0);
        assert_eq!(findings(files_say_what_they_are_for, &"//! A\n".repeat(11)), 1);
    }

    #[test]
    fn silent_and_open_ends_are_found() {
        assert_eq!(findings(nothing_is_allowed_silently, "#[expect(dead_code, reason = \"x\")]\nfn a() {}\n"), 0);
        assert_eq!(findings(nothing_is_allowed_silently, "    #[allow(dead_code)]\n    fn a() {}\n"), 1);
        assert_eq!(findings(nothing_is_left_open, concat!("fn a() { todo", "!() }\n")), 1);
    }

    #[test]
    fn an_ignored_test_carries_a_date() {
        assert_eq!(findings(ignored_tests_say_why_and_since_when, "#[ignore]\n"), 1);
        assert_eq!(findings(ignored_tests_say_why_and_since_when, "#[ignore = \"slow\"]\n"), 1);
        assert_eq!(findings(ignored_tests_say_why_and_since_when, "#[ignore = \"2026-11-21: needs a lab\"]\n"), 0);
    }
}
