//! What `strace` wrote down, as calls: who called what with what, and when it began and ended.
//!
//! Every text is hexadecimal there (`-xx`), so that nothing in a file name or a file can be mistaken for the form.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;

/// One system call that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread that called.
    pub thread: i32,
    /// Its name.
    pub name: String,
    /// What it was given, as written.
    pub arguments: Vec<String>,
    /// What it gave back; negative after an error.
    pub result: i64,
    /// The line on which it began: another call may have ended between that and its own end.
    pub begun: usize,
    /// The line on which it ended.
    pub ended: usize,
}

/// Reads all of it.
///
/// # Errors
/// When a line cannot be understood.
pub fn read(text: &str) -> anyhow::Result<Vec<Call>> {
    let mut open: BTreeMap<i32, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').with_context(|| format!("line {number} has no thread"))?;
        let (thread, rest) = (thread.parse()?, rest.trim_start());
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            open.insert(thread, (number, begin.trim_end().to_owned()));
            continue;
        }
        let (begun, whole) = match rest.strip_prefix("<... ") {
            None => (number, rest.to_owned()),
            Some(end) => {
                let (_, end) = end.split_once(" resumed>").with_context(|| format!("line {number} resumes nothing"))?;
                // A call of a thread that was there before the trace is not known by its beginning.
                let Some((begun, begin)) = open.remove(&thread) else { continue };
                (begun, begin + end)
            }
        };
        calls.extend(parse(thread, &whole, begun, number).with_context(|| format!("line {number}: {whole:.200}"))?);
    }
    Ok(calls)
}

/// `None`: it never came back, because its process ended.
fn parse(thread: i32, whole: &str, begun: usize, ended: usize) -> anyhow::Result<Option<Call>> {
    let (name, rest) = whole.split_once('(').context("no call")?;
    let at = rest.rfind(") ").context("no end")?;
    let (arguments, result) = rest.split_at(at);
    let result = result.trim_start_matches(')').trim_start().strip_prefix('=').context("no result")?.trim_start();
    if result.starts_with('?') {
        return Ok(None);
    }
    let digits: String = result.chars().take_while(|c| *c == '-' || c.is_ascii_alphanumeric()).collect();
    let result = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16)?,
        None => digits.parse()?,
    };
    let arguments = split(arguments);
    Ok(Some(Call { thread, name: name.to_owned(), arguments, result, begun, ended }))
}

/// The arguments, parted by the commas that are in no bracket and no text.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth, mut is_text) = (Vec::new(), String::new(), 0_u32, false);
    for c in text.chars() {
        match c {
            '"' => is_text = !is_text,
            '{' | '[' | '(' if !is_text => depth += 1,
            '}' | ']' | ')' if !is_text => depth = depth.saturating_sub(1),
            ',' if !is_text && depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    if !part.trim().is_empty() {
        parts.push(part.trim().to_owned());
    }
    parts
}

impl Call {
    /// An argument as written; empty if there is none.
    #[must_use]
    pub fn argument(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    /// An argument that is a number, in whichever base it is written.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, at: usize) -> anyhow::Result<u64> {
        let text = self.argument(at);
        let number = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
            (Some(hex), _) => u64::from_str_radix(hex, 16),
            (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
            (None, _) => text.parse(),
        };
        number.with_context(|| format!("{}: “{text}” is no number", self.name))
    }

    /// The number of an open file and the path that it has.
    #[must_use]
    pub fn file(&self, at: usize) -> Option<(i32, PathBuf)> {
        let (number, rest) = self.argument(at).split_once('<')?;
        let number = if number == "AT_FDCWD" { -1 } else { number.parse().ok()? };
        let path = unhex(rest.split('>').next()?)?;
        Some((number, PathBuf::from(String::from_utf8(path).ok()?)))
    }

    /// All texts of an argument, one after the other.
    ///
    /// # Errors
    /// When one was not written down to its end.
    pub fn bytes(&self, at: usize) -> anyhow::Result<Vec<u8>> {
        let text = self.argument(at);
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('"') {
            let (inside, after) = after.split_once('"').context("a text has no end")?;
            anyhow::ensure!(!after.starts_with("..."), "{}: a text was cut off by strace", self.name);
            bytes.extend(unhex(inside).with_context(|| format!("{}: “{inside:.80}” is not hexadecimal", self.name))?);
            rest = after;
        }
        Ok(bytes)
    }

    /// The path that is given relative to the folder in argument `at`, or the path in argument `at` itself.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn path_in(&self, folder: Option<usize>, at: usize) -> anyhow::Result<PathBuf> {
        let name = PathBuf::from(String::from_utf8(self.bytes(at)?)?);
        let below = folder.and_then(|folder| self.file(folder)).map(|(_, path)| path);
        Ok(below.map_or(name.clone(), |below| below.join(name)))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.replace("\\x", "")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_another_one_interrupts_is_put_together() {
        let text = concat!(
            "7 openat(AT_FDCWD</tmp>, \"\\x61\\x2c\", O_WRONLY|O_CREAT, 0600 <unfinished ...>\n",
            "8 fsync(4<\\x2f\\x62>) = 0\n",
            "7 <... openat resumed>) = 3<\\x2f\\x61>\n",
            "7 rename(\"\\x61\", \"\\x62\") = -1 ENOENT (No such file or directory)\n",
            "7 exit_group(0) = ?\n",
            "7 +++ exited with 0 +++\n",
        );
        let calls = read(text).unwrap();
        let names: Vec<_> =
            calls.iter().map(|call| (call.name.as_str(), call.begun, call.ended, call.result)).collect();
        assert_eq!(names, [("fsync", 1, 1, 0), ("openat", 0, 2, 3), ("rename", 3, 3, -1)]);
        assert_eq!(calls[0].file(0), Some((4, PathBuf::from("/b"))));
        assert_eq!((calls[1].bytes(1).unwrap(), calls[1].number(3).unwrap()), (b"a,".to_vec(), 0o600));
    }

    #[test]
    fn a_vector_is_one_text_and_one_that_is_cut_off_is_refused() {
        let read = |text: &str| read(text).unwrap().remove(0);
        let call = read(
            "7 writev(5<\\x2f\\x61>, [{iov_base=\"\\x61\", iov_len=1}, {iov_base=\"\\x62\", iov_len=1}], 2) = 2\n",
        );
        assert_eq!((call.bytes(1).unwrap(), call.arguments.len()), (b"ab".to_vec(), 3));
        assert!(read("7 write(5<\\x2f\\x61>, \"\\x61\"..., 9) = 9\n").bytes(1).is_err());
    }
}
