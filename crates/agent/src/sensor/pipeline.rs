//! From raw lines to alerts: one queue at the front, one engine, and what could not be analysed counted.
//!
//! The log and the canary enter through the same queue. Nothing here writes to disk.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use watchpost_core::evidence::Sighting;
use watchpost_core::time::Timestamp;

use super::alert::{EventSummary, Raised, raise};
use super::line::{Origin, RawLine};
use super::trace::Glimpses;
use crate::engine::Engine;
use crate::engine::sigma::event::AuditEvent;

/// What became of a batch of lines.
#[derive(Debug, Default)]
pub struct Analysed {
    /// The alerts, canaries included.
    pub raised: Vec<Raised>,
    /// How many lines could not be analysed: too long, not JSON, or beyond the engine.
    pub not_analysed: u64,
    /// How many lines of the log there were.
    pub events: u64,
    /// Devices that logons came from, as far as they are worth a note.
    pub sightings: Vec<Sighting>,
}

/// The queue and the engine behind it.
pub struct Pipeline {
    queue: VecDeque<RawLine>,
    engine: Box<dyn Engine>,
    glimpses: Glimpses,
}

impl Pipeline {
    /// A pipeline with nothing in it.
    #[must_use]
    pub fn new(engine: Box<dyn Engine>) -> Self {
        Self { queue: VecDeque::new(), engine, glimpses: Glimpses::default() }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// What the engine has counted is durable.
    pub fn settled(&mut self) {
        self.engine.settled();
    }

    /// Puts another engine in between two events; it goes on from what this one has counted.
    pub fn replace(&mut self, mut engine: Box<dyn Engine>) {
        engine.restore(&self.engine.state());
        self.engine = engine;
    }

    /// The front: lines of the log and canaries alike.
    pub fn push(&mut self, line: RawLine) {
        self.queue.push_back(line);
    }

    /// Takes everything through the engine.
    pub fn drain(&mut self, now: Timestamp) -> Analysed {
        let mut analysed = Analysed::default();
        while let Some(line) = self.queue.pop_front() {
            analysed.events = analysed.events.saturating_add(u64::from(matches!(line.origin, Origin::Log { .. })));
            if self.analyse(&line, now, &mut analysed).is_none() {
                analysed.not_analysed = analysed.not_analysed.saturating_add(1);
            }
        }
        analysed
    }

    fn analyse(&mut self, line: &RawLine, now: Timestamp, analysed: &mut Analysed) -> Option<()> {
        let event = AuditEvent::parse(line.text.as_deref()?)?;
        // A canary must leave no trace: it is in no log, so no replay would repeat it.
        let counts = matches!(line.origin, Origin::Log { .. });
        // The engine is foreign code: an event that breaks it must not make the sensor start and die for ever.
        let matches = catch_unwind(AssertUnwindSafe(|| self.engine.evaluate(&event, counts))).ok()?;
        if counts {
            self.glimpses.note(&event, now, &mut analysed.sightings);
        }
        if !matches.is_empty() {
            let summary = EventSummary::of(&event);
            analysed.raised.extend(matches.into_iter().map(|rule| raise(rule, line, &summary, now)));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sigma::Sigma;
    use crate::engine::{Match, RuleSet};
    use crate::sensor::canary::{self, Verdict};
    use crate::sensor::line::Origin;
    use std::path::Path;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn rules() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/rules")
    }

    fn verdicts(rules: &Path, line: RawLine) -> Vec<Verdict> {
        let mut pipeline = Pipeline::new(Box::new(Sigma::load(rules).unwrap()));
        pipeline.push(line);
        let mut verdicts: Vec<_> = pipeline.drain(NOW).raised.iter().map(canary::judge).collect();
        verdicts.sort_by_key(|verdict| !matches!(verdict, Verdict::Proof(_)));
        verdicts
    }

    #[test]
    fn the_canary_comes_out_as_proof_and_its_other_match_as_nothing() {
        assert_eq!(verdicts(&rules(), canary::line(7, NOW)), [Verdict::Proof(7), Verdict::Echo]);
    }

    #[test]
    fn without_its_rule_or_with_one_that_misses_it_there_is_no_proof() {
        let release = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(rules()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), release.path().join(entry.file_name())).unwrap();
        }
        let canary = release.path().join(canary::RULE_FILE);
        let text = std::fs::read_to_string(&canary).unwrap();
        std::fs::write(&canary, text.replace("watchpost-canary-'", "another-canary-'")).unwrap();
        assert_eq!(verdicts(release.path(), canary::line(7, NOW)), [Verdict::Echo]);
        std::fs::remove_file(&canary).unwrap();
        assert_eq!(verdicts(release.path(), canary::line(7, NOW)), [Verdict::Echo]);
    }

    #[test]
    fn a_log_line_that_imitates_the_canary_is_a_real_alert() {
        let forged = RawLine { origin: Origin::Log { epoch: 0, inode: 1, offset: 0 }, ..canary::line(7, NOW) };
        assert_eq!(verdicts(&rules(), forged), [Verdict::Real, Verdict::Real]);
    }

    /// An engine that breaks on every event.
    struct Broken(RuleSet);

    impl Engine for Broken {
        fn rules(&self) -> &RuleSet {
            &self.0
        }

        fn evaluate(&mut self, _: &AuditEvent<'_>, _: bool) -> Vec<Match> {
            panic!("beyond this engine")
        }
    }

    #[test]
    fn what_cannot_be_analysed_is_counted_and_stops_nothing() {
        let mut pipeline = Pipeline::new(Box::new(Sigma::load(&rules()).unwrap()));
        let log = |text: Option<&[u8]>| RawLine {
            origin: Origin::Log { epoch: 0, inode: 1, offset: 0 },
            text: text.map(<[u8]>::to_vec),
        };
        let deep = "[".repeat(5_000);
        for bad in [None, Some(b"{\"type\":".as_slice()), Some(b"[1]"), Some(b"\xff\xfe"), Some(deep.as_bytes())] {
            pipeline.push(log(bad));
        }
        pipeline.push(canary::line(1, NOW));
        let analysed = pipeline.drain(NOW);
        assert_eq!((analysed.not_analysed, analysed.raised.len()), (5, 2));

        let mut broken = Pipeline::new(Box::new(Broken(RuleSet::default())));
        broken.push(log(Some(b"{}")));
        assert_eq!(broken.drain(NOW).not_analysed, 1);
    }
}
