//! Which files of captured packets go when the disk budget is used up: the oldest, never one that is being written.
//!
//! The engine names a file `alert.1.pcap.1767571200`: a series, and the second in which it was begun.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// One file of captured packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFile {
    /// Its name within the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// Whether `name` is a file of captured packets, and not something that a person has put beside them.
#[must_use]
pub fn is_capture(name: &str) -> bool {
    !name.starts_with('.') && name.split('.').any(|part| part == "pcap")
}

/// The series that a file belongs to, and when it was begun as far as its name tells.
#[must_use]
pub fn series(name: &str) -> (&str, Option<Timestamp>) {
    let bare = name.strip_suffix(".lz4").unwrap_or(name);
    match bare.rsplit_once('.') {
        Some((series, second)) if !second.is_empty() && second.bytes().all(|b| b.is_ascii_digit()) => {
            let millis = second.parse::<i64>().ok().and_then(|second| second.checked_mul(1_000));
            (series, millis.map(Timestamp::from_millis))
        }
        Some(_) | None => (bare, None),
    }
}

/// The files to delete so that the rest fits `budget`: by the instant of their last packet, oldest first.
#[must_use]
pub fn surplus(files: &[CaptureFile], budget: u64) -> Vec<String> {
    let mut written: BTreeMap<&str, (Option<Timestamp>, Timestamp, &str)> = BTreeMap::new();
    for file in files {
        let (series, begun) = series(&file.name);
        let place = (begun, file.modified, file.name.as_str());
        written.entry(series).and_modify(|newest| *newest = place.max(*newest)).or_insert(place);
    }
    let is_written = |file: &CaptureFile| written.values().any(|(_, _, name)| *name == file.name);
    let mut oldest_first: Vec<&CaptureFile> = files.iter().filter(|file| !is_written(file)).collect();
    oldest_first.sort_by_key(|file| (file.modified, file.name.as_str()));
    let mut total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
    let mut doomed = Vec::new();
    for file in oldest_first {
        if total <= budget {
            break;
        }
        total = total.saturating_sub(file.bytes);
        doomed.push(file.name.clone());
    }
    doomed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64, modified: i64) -> CaptureFile {
        CaptureFile { name: name.to_owned(), bytes, modified: Timestamp::from_millis(modified * 1_000) }
    }

    #[test]
    fn names_tell_series_and_beginning() {
        let begun = Some(Timestamp::from_millis(1_767_571_200_000));
        assert_eq!(series("alert.1.pcap.1767571200"), ("alert.1.pcap", begun));
        assert_eq!(series("alert.1.pcap.1767571200.lz4"), ("alert.1.pcap", begun));
        assert_eq!(series("alert.pcap"), ("alert.pcap", None));
        assert!(is_capture("alert.%n.pcap.1767571200") && !is_capture("notes.txt") && !is_capture(".alert.pcap.1"));
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let files = [file("a.pcap.30", 10, 40), file("a.pcap.10", 10, 20), file("a.pcap.20", 10, 30)];
        assert!(surplus(&files, 30).is_empty());
        assert_eq!(surplus(&files, 29), ["a.pcap.10"]);
        assert_eq!(surplus(&files, 10), ["a.pcap.10", "a.pcap.20"]);
    }

    #[test]
    fn what_is_being_written_stays_whatever_the_budget() {
        // The newest file of a quiet thread is older than all of a busy one, and still open.
        let files = [file("a.1.pcap.10", 10, 11), file("a.2.pcap.20", 10, 30), file("a.2.pcap.30", 10, 40)];
        assert_eq!(surplus(&files, 0), ["a.2.pcap.20"]);
    }
}
