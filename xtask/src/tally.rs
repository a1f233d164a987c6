//! Adding up what `cargo test` says of each test program.

/// Tests counted over several programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    /// Adds `line` if it is the closing line of a test program
    /// (`test result: ok. 3 passed; 0 failed; 1 ignored; …`); any other line adds nothing.
    pub(crate) fn see(&mut self, line: &str) {
        let Some(rest) = line.trim().strip_prefix("test result: ") else { return };
        let Some((_, counts)) = rest.split_once(". ") else { return };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Adds one check that is no test program of its own.
    pub(crate) fn add_step(&mut self, passed: bool) {
        if passed { self.passed += 1 } else { self.failed += 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up_and_others_do_not() {
        let mut tally = Tally::default();
        tally.see("running 4 tests");
        tally.see("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.10s");
        tally.see("test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s");
        tally.see("test result: what is this");
        assert_eq!(tally, Tally { passed: 13, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_step_counts_as_one() {
        let mut tally = Tally::default();
        tally.add_step(true);
        tally.add_step(false);
        assert_eq!(tally, Tally { passed: 1, failed: 1, ignored: 0 });
    }
}
