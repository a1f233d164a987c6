//! The log is written, rotated, cut and lost under the tail's eyes; no line may be missed or repeated.

use std::fs;
use std::io::Write as _;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    tail: Tail,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tail = Tail::new(folder.path().join("audit.json"), None);
        Self { folder, tail }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.log(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rotate(&self, to: &str) {
        fs::rename(self.log("audit.json"), self.log(to)).unwrap();
    }

    /// Sets modification times apart, as they are between real rotations.
    fn age(&self, name: &str, seconds: u64) {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().append(true).open(self.log(name)).unwrap().set_modified(at).unwrap();
    }

    /// Polls until quiet for longer than the grace after a rotation.
    fn texts(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..4 * GRACE_POLLS {
            texts.extend(self.tail.poll().unwrap().lines.into_iter().map(|line| match line.text {
                Some(text) => String::from_utf8_lossy(&text).into_owned(),
                None => "(too long)".to_owned(),
            }));
        }
        texts
    }

    /// A new tail from where this one is, as after a restart.
    fn restart(&mut self) {
        let place = self.tail.place();
        let text = serde_json::to_string(&place).unwrap();
        self.tail = Tail::new(self.log("audit.json"), serde_json::from_str(&text).unwrap());
    }
}

#[test]
fn a_log_that_is_missing_appears_and_grows() {
    let mut bench = Bench::new();
    assert!(bench.texts().is_empty());
    assert!(bench.tail.poll().unwrap().caught_up);
    bench.append("audit.json", "one\n");
    bench.append("audit.json", "two\r\n\n  \nthr");
    assert_eq!(bench.texts(), ["one", "two"]);
    bench.append("audit.json", "ee\n");
    assert_eq!(bench.texts(), ["three"]);
}

#[test]
fn a_restart_goes_on_where_it_was_even_in_the_middle_of_a_line() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\ntw");
    assert_eq!(bench.texts(), ["one"]);
    bench.restart();
    bench.append("audit.json", "o\nthree\n");
    assert_eq!(bench.texts(), ["two", "three"]);
    bench.restart();
    assert!(bench.texts().is_empty());
}

#[test]
fn rotation_by_rename_loses_nothing_while_watching() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\n");
    assert_eq!(bench.texts(), ["one"]);
    bench.append("audit.json", "two\n");
    bench.rotate("audit.json.1");
    bench.append("audit.json", "three\n");
    // A writer that still has the old file open.
    assert_eq!(bench.tail.poll().unwrap().lines.len(), 1);
    bench.append("audit.json.1", "late\nno end");
    assert_eq!(bench.texts(), ["late", "no end", "three"]);
}

#[test]
fn several_rotations_while_not_watching_lose_nothing() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\n");
    assert_eq!(bench.texts(), ["one"]);
    bench.append("audit.json", "two\n");
    bench.rotate("audit.json.2");
    bench.age("audit.json.2", 1_000);
    bench.append("audit.json", "three\n");
    bench.rotate("audit.json.1");
    bench.age("audit.json.1", 2_000);
    bench.append("audit.json", "four\n");
    bench.append("audit.json.3.gz", "not text");
    bench.append("audit.json2", "another log\n");
    bench.restart();
    assert_eq!(bench.texts(), ["two", "three", "four"]);
}

#[test]
fn truncation_starts_anew_and_gives_other_origins() {
    let mut bench = Bench::new();
    bench.append("audit.json", "same\n");
    let first = bench.tail.poll().unwrap().lines;
    fs::write(bench.log("audit.json"), "").unwrap();
    assert!(bench.tail.poll().unwrap().lines.is_empty());
    bench.append("audit.json", "same\n");
    let second = bench.tail.poll().unwrap().lines;
    assert_eq!(first[0].text, second[0].text);
    assert_ne!(first[0].origin, second[0].origin);
}

#[test]
fn a_log_that_was_cut_and_has_outgrown_the_old_place_is_recognised() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\n");
    assert_eq!(bench.texts(), ["one"]);
    fs::write(bench.log("audit.json"), "uno\ndue\ntre\n").unwrap();
    assert_eq!(bench.texts(), ["uno", "due", "tre"]);
}

#[test]
fn rotation_by_copy_while_not_watching_finishes_the_copy_first() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\n");
    assert_eq!(bench.texts(), ["one"]);
    bench.append("audit.json", "two\n");
    fs::copy(bench.log("audit.json"), bench.log("audit.json.1")).unwrap();
    fs::write(bench.log("audit.json"), "three\n").unwrap();
    bench.restart();
    assert_eq!(bench.texts(), ["two", "three"]);
}

#[test]
fn a_place_that_is_in_no_file_any_more_is_reported_as_a_gap() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\n");
    assert_eq!(bench.texts(), ["one"]);
    let place = bench.tail.place();
    fs::remove_file(bench.log("audit.json")).unwrap();
    bench.append("audit.json", "other\n");
    bench.tail = Tail::new(bench.log("audit.json"), place);
    let polled = bench.tail.poll().unwrap();
    assert!(polled.gap);
    assert_eq!(polled.lines.len(), 1);
}

#[test]
fn an_oversized_line_is_reported_once_and_the_next_one_is_read() {
    let mut bench = Bench::new();
    let long = "x".repeat(3 * AUDIT_LINE_LIMIT);
    bench.append("audit.json", &format!("one\n{long}"));
    assert_eq!(bench.texts(), ["one", "(too long)"]);
    assert!(bench.tail.place().unwrap().in_oversized_line);
    bench.restart();
    bench.append("audit.json", &format!("{long}\ntwo\n"));
    assert_eq!(bench.texts(), ["two"]);
    // The limit itself: a line of exactly that length is kept, one byte more is not.
    let (fits, exceeds) = ("y".repeat(AUDIT_LINE_LIMIT), "z".repeat(AUDIT_LINE_LIMIT + 1));
    bench.append("audit.json", &format!("{fits}\n{exceeds}\nthree\n"));
    assert_eq!(bench.texts(), [fits.as_str(), "(too long)", "three"]);
}

#[test]
fn one_poll_is_bounded() {
    let mut bench = Bench::new();
    bench.append("audit.json", &"0123456789abcde\n".repeat(4 * POLL_BYTES / 16));
    let polled = bench.tail.poll().unwrap();
    assert_eq!((polled.lines.len(), polled.caught_up), (POLL_BYTES / 16, false));
    assert_eq!(bench.texts().len(), 3 * POLL_BYTES / 16);
}

#[test]
fn rotation_by_copy_while_watching_loses_nothing() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\n");
    assert_eq!(bench.texts(), ["one"]);
    for round in 1..4 {
        // Appended since the last look, in part, and cut away before the next.
        bench.append("audit.json", &format!("two{round}\nthr"));
        assert_eq!(bench.tail.poll().unwrap().lines.len(), 1);
        bench.append("audit.json", &format!("ee{round}\n"));
        fs::copy(bench.log("audit.json"), bench.log(&format!("audit.json.{round}"))).unwrap();
        bench.age(&format!("audit.json.{round}"), round * 1_000);
        fs::write(bench.log("audit.json"), "").unwrap();
        bench.append("audit.json", &format!("four{round}\n"));
        assert_eq!(bench.texts(), [format!("three{round}"), format!("four{round}")]);
    }
}

#[test]
fn a_copy_of_what_was_read_is_not_read_again() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\ntwo\n");
    assert_eq!(bench.texts(), ["one", "two"]);
    bench.rotate("audit.json.1");
    bench.age("audit.json.1", 1_000);
    fs::copy(bench.log("audit.json.1"), bench.log("audit.json.backup")).unwrap();
    bench.append("audit.json", "three\n");
    assert_eq!(bench.texts(), ["three"]);
}

#[test]
fn a_log_that_is_replaced_by_a_shorter_or_a_longer_one_is_read_from_its_beginning() {
    for replacement in ["x\n", "a much longer one than the log it takes the place of\nand more\n"] {
        for is_watching in [true, false] {
            let mut bench = Bench::new();
            bench.append("audit.json", "one\ntwo\n");
            assert_eq!(bench.texts(), ["one", "two"]);
            bench.append("next", replacement);
            fs::rename(bench.log("next"), bench.log("audit.json")).unwrap();
            if !is_watching {
                bench.restart();
            }
            assert_eq!(bench.texts(), replacement.lines().collect::<Vec<_>>());
        }
    }
}

#[test]
fn another_file_with_the_inode_of_the_old_one_is_not_taken_for_it() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\ntwo\n");
    assert_eq!(bench.texts(), ["one", "two"]);
    let place = bench.tail.place().unwrap();
    // The same inode with other contents: what a file system makes of a deleted and a created file.
    fs::write(bench.log("audit.json"), "uno\ndue\ntre\n").unwrap();
    bench.restart();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(bench.log("audit.json")).unwrap()), place.inode);
    assert_eq!(bench.texts(), ["uno", "due", "tre"]);
    assert_ne!(bench.tail.place().unwrap().epoch, place.epoch);
}

#[test]
fn a_hole_before_a_line_is_passed_over_and_a_nul_within_one_is_kept() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\n");
    assert_eq!(bench.texts(), ["one"]);
    // Cut under a writer that goes on where it was: a hole of three megabytes, then its next line.
    let log = fs::OpenOptions::new().write(true).open(bench.log("audit.json")).unwrap();
    log.set_len(0).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&log, b"two\nth\0ree\n", 3 * 1024 * 1024).unwrap();
    assert_eq!(bench.texts(), ["two", "th\0ree"]);
    bench.restart();
    assert!(bench.texts().is_empty());
}

#[test]
fn a_line_of_ten_megabytes_costs_itself_only() {
    let mut bench = Bench::new();
    bench.append("audit.json", &format!("one\r\n{}\r\ntwo\r\n", "x".repeat(10 * 1024 * 1024)));
    assert_eq!(bench.texts(), ["one", "(too long)", "two"]);
}

#[test]
fn a_log_that_was_only_opened_before_it_was_cut_is_read_in_its_copy() {
    let mut bench = Bench::new();
    bench.append("audit.json", "one\ntw");
    bench.tail = Tail::new(
        bench.log("audit.json"),
        Some(OpenLog::begin(File::open(bench.log("audit.json")).unwrap(), 0).unwrap().place()),
    );
    bench.append("audit.json", "o\n");
    fs::copy(bench.log("audit.json"), bench.log("audit.json.1")).unwrap();
    fs::write(bench.log("audit.json"), "three\n").unwrap();
    assert_eq!(bench.texts(), ["one", "two", "three"]);
}

#[test]
fn lines_that_end_alike_do_not_hide_that_the_log_was_cut() {
    let mut bench = Bench::new();
    let line = |number: u32| format!("{number:04} {}\n", "x".repeat(600));
    let lines = |numbers: std::ops::Range<u32>| numbers.map(line).collect::<String>();
    bench.append("audit.json", &lines(0..10));
    assert_eq!(bench.texts().len(), 10);
    // As long as before and longer, with the same last bytes at every line's end.
    fs::write(bench.log("audit.json"), lines(10..22)).unwrap();
    let read = bench.texts();
    assert_eq!((read.len(), &read[0][..4], &read[11][..4]), (12, "0010", "0021"));
}
