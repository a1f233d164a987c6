//! Rules are told apart by generator and signature number, and read no further than for that.
//!
//! Lines are taken as Suricata takes them: which of them are comments, and which go on in the next.

use std::collections::HashSet;
use std::ops::Range;

/// The generator of rules that do not name one.
const GENERATOR: u32 = 1;

/// One rule: where it stands in its text, and the lines that it takes up.
struct Rule<'t> {
    place: Range<usize>,
    text: &'t [u8],
}

/// The rules in a text, without comments and empty lines.
fn rules(text: &[u8]) -> impl Iterator<Item = Rule<'_>> {
    let mut begin = 0;
    let mut rest = text.split_inclusive(|byte| *byte == b'\n');
    std::iter::from_fn(move || {
        loop {
            let line = rest.next()?;
            let from = begin;
            begin += line.len();
            if matches!(line.first(), None | Some(b'\n' | b'\r' | b' ' | b'#' | b';')) {
                continue;
            }
            let mut last = line;
            while last.trim_ascii_end().ends_with(b"\\")
                && let Some(next) = rest.next()
            {
                begin += next.len();
                last = next;
            }
            return Some(Rule { place: from..begin, text: text.get(from..begin).unwrap_or_default() });
        }
    })
}

/// The signature number of a rule of the usual generator.
fn number(rule: &[u8]) -> Option<u32> {
    let from = rule.iter().position(|byte| *byte == b'(')?;
    let (mut number, mut generator) = (None, GENERATOR);
    let (mut is_quoted, mut is_escaped) = (false, false);
    let options = rule.get(from + 1..)?.split(|byte| {
        let was_escaped = is_escaped;
        is_escaped = *byte == b'\\' && !was_escaped;
        match byte {
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b';' if !was_escaped => return !is_quoted,
            _ => {}
        }
        false
    });
    for option in options {
        let Some((name, value)) =
            option.iter().position(|byte| *byte == b':').and_then(|at| option.split_at_checked(at))
        else {
            continue;
        };
        let value = value.get(1..).and_then(|value| std::str::from_utf8(value.trim_ascii()).ok());
        let value = || value.and_then(|value| value.parse::<u32>().ok());
        // A name may come after the end of a line that goes on.
        let name = name.trim_ascii_start().strip_prefix(b"\\").unwrap_or(name).trim_ascii();
        if name.eq_ignore_ascii_case(b"sid") {
            number = value();
        } else if name.eq_ignore_ascii_case(b"gid") {
            generator = value()?;
        }
    }
    number.filter(|_| generator == GENERATOR)
}

/// The signature numbers that were met.
#[derive(Debug, Default)]
pub(super) struct Known(HashSet<u32>);

impl Known {
    /// Remembers every rule of a text.
    pub(super) fn learn(&mut self, text: &[u8]) {
        self.0.extend(rules(text).filter_map(|rule| number(rule.text)));
    }

    /// Makes comments of the rules that are known already, without moving a line; says of how many.
    pub(super) fn silence(&self, text: &mut [u8]) -> u32 {
        let is_known = |rule: &Rule<'_>| number(rule.text).is_some_and(|number| self.0.contains(&number));
        let places: Vec<Range<usize>> = rules(text).filter(is_known).map(|rule| rule.place).collect();
        for place in &places {
            for byte in text.get_mut(place.clone()).unwrap_or_default().iter_mut().filter(|byte| **byte != b'\n') {
                *byte = b'#';
            }
        }
        u32::try_from(places.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_whatever_stands_around_it() {
        for (rule, expected) in [
            ("alert tcp any any -> any any (msg:\"x\"; sid:7; rev:1;)", Some(7)),
            ("alert tcp any any -> any any (msg:\"a; sid:8;\"; SID : 9 ;)", Some(9)),
            ("alert tcp any any -> any any (msg:\"a \\\" sid:8; \\;\"; sid:9;)", Some(9)),
            ("alert tcp any any -> any any (msg:\"x\"; gid:1; sid:7;)", Some(7)),
            ("alert tcp any any -> any any (msg:\"x\"; gid:2; sid:7;)", None),
            ("alert tcp any any -> any any (msg:\"x\"; \\\n sid:7;)", Some(7)),
            ("alert tcp any any -> any any (msg:\"x\"; sid:x;)", None),
            ("no rule", None),
        ] {
            assert_eq!(number(rule.as_bytes()), expected, "{rule}");
        }
    }

    #[test]
    fn what_is_known_becomes_a_comment_of_the_same_lines() {
        let mut known = Known::default();
        known.learn(b"#alert a (sid:3;)\nalert a (sid:1;)\n alert a (sid:4;)\nalert a (sid:2;)");
        let mut text =
            b"alert b (sid:2; \\\n rev:9;)\n# sid:1\nalert b (sid:3;)\nalert b (sid:1;)\nalert b (sid:4;)\n".to_vec();
        assert_eq!(known.silence(&mut text), 2);
        let lines: Vec<&str> = std::str::from_utf8(&text).unwrap().lines().collect();
        assert!([0, 1, 4].iter().all(|line| lines[*line].bytes().all(|byte| byte == b'#')), "{lines:?}");
        assert_eq!([lines[2], lines[3], lines[5]], ["# sid:1", "alert b (sid:3;)", "alert b (sid:4;)"]);
    }
}
