//! Rule packages on a host, as a state machine: fetch, hand to the sensor, judge what its engines answer, keep or put back.
//!
//! Every decision is in the record before anything is done about it, and every wait has a deadline. It never asks whether
//! a package was sent; only what the engines say they have loaded counts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::under_way::{Asked, Errand, Postponed, Stage, doubled};
use super::{
    DesiredRules, RulesFailure, RulesPromise, RulesRecord, RulesReport, RulesSet, RulesTrial, RulesView, Verdict,
    judge_load,
};
use crate::policy::RulesPolicy;
use crate::time::Timestamp;

/// The longest reason that is kept, in characters.
const REASON_CHARS: usize = 300;

/// What the machine hears.
#[derive(Clone, Debug, PartialEq)]
pub enum RulesEvent {
    /// A check-in was answered: what this host should have.
    Desired(Option<DesiredRules>),
    /// The package lies verified in its folder.
    Fetched {
        /// Which one.
        set: RulesSet,
        /// What it promises.
        promise: RulesPromise,
    },
    /// The package could not be had.
    FetchFailed {
        /// Which one.
        build: Timestamp,
        /// Why, in one line.
        reason: String,
        /// Whether trying again soon may help.
        retryable: bool,
    },
    /// The sensor said how it is.
    Heard(RulesView),
    /// The sensor process is gone; the next one has been asked nothing.
    SensorGone,
    /// Time has passed.
    Tick,
}

/// What the machine wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum RulesCommand {
    /// Make the record durable; nothing after it may be done before.
    Persist(Box<RulesRecord>),
    /// Fetch a package, have both repositories vouch for it, and extract it.
    Fetch(DesiredRules),
    /// Stop fetching.
    AbandonFetch,
    /// Write down for the sensor which set it loads when it starts; `None`: the rules of the release alone.
    Point(Option<RulesSet>),
    /// Ask the running sensor to load a set; `None`: the rules of the release alone.
    Load(Option<RulesSet>),
    /// From here on no older package is approved.
    RaiseFloor(RulesSet),
    /// Remove every folder but these.
    CollectGarbage {
        /// What stays.
        keep: Vec<RulesSet>,
    },
}

/// Rule packages on one host.
#[derive(Clone, Debug)]
pub struct RulesMachine {
    record: RulesRecord,
    policy: RulesPolicy,
    /// `None`: no check-in was answered since the start.
    desired: Option<Option<DesiredRules>>,
    errand: Option<Errand>,
    view: Option<RulesView>,
    asked: Option<Asked>,
    postponed: Option<Postponed>,
    is_untidy: bool,
}

/// The machine for what lies on the disk, and what it wants done first. `whole`: the names of the folders that are whole.
#[must_use]
pub fn recover_rules(
    record: Option<RulesRecord>,
    whole: &BTreeSet<String>,
    policy: RulesPolicy,
    now: Timestamp,
) -> (RulesMachine, Vec<RulesCommand>) {
    let (before, mut record) = (record.clone(), record.unwrap_or_default());
    let is_there = |set: &RulesSet| whole.contains(&set.folder());
    record.trial = record.trial.filter(|trial| is_there(&trial.set));
    record.previous = record.previous.filter(is_there);
    if let Some(lost) = record.in_effect.take_if(|set| !is_there(set)) {
        let reason = "its folder is gone or was altered; it is fetched again".to_owned();
        record.failed = Some(RulesFailure { build: lost.build, reason, at: now });
        record.in_effect = record.previous.take();
    }
    let mut commands = Vec::new();
    if before.as_ref() != Some(&record) {
        commands.push(RulesCommand::Persist(Box::new(record.clone())));
    }
    commands.push(RulesCommand::Point(record.in_effect.clone()));
    commands.extend(record.in_effect.clone().map(RulesCommand::RaiseFloor));
    let (desired, errand, view, asked, postponed) = (None, None, None, None, None);
    (RulesMachine { record, policy, desired, errand, view, asked, postponed, is_untidy: true }, commands)
}

/// A reason as it is kept: one line of bounded length.
fn in_short(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS).collect()
}

impl RulesMachine {
    /// The durable record.
    #[must_use]
    pub fn record(&self) -> &RulesRecord {
        &self.record
    }

    /// What this host reports.
    #[must_use]
    pub fn report(&self) -> RulesReport {
        let in_effect = self.record.in_effect.as_ref().map(|set| set.build);
        let fetching = self.errand.as_ref().filter(|errand| !matches!(errand.stage, Stage::Rests(_)));
        let on_trial = self.record.trial.as_ref().filter(|_| self.asked.is_some());
        RulesReport {
            build: self.view.as_ref().map_or(in_effect, |view| view.build),
            loading: on_trial.map(|trial| trial.set.build).or(fetching.map(|errand| errand.order.build)),
            failed: self.record.failed.clone(),
            bad: self.record.bad.keys().copied().collect(),
        }
    }

    /// When something is due although nothing is heard.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        let errand = self.errand.as_ref().map(|errand| match errand.stage {
            Stage::Running => errand.began + self.policy.fetch_deadline,
            Stage::Again(at) | Stage::Rests(at) => at,
        });
        let asked = self.asked.as_ref().filter(|_| self.record.trial.is_some());
        let deadline = asked.map(|asked| asked.at + self.policy.load_deadline);
        errand.into_iter().chain(deadline).chain(self.asks_again_at()).min()
    }

    /// When the sensor is asked the same again. One that is not at it may have been busy when it was asked.
    fn asks_again_at(&self) -> Option<Timestamp> {
        let (asked, view) = (self.asked.as_ref()?, self.view.as_ref()?);
        let is_loading = asked.build.is_some() && view.loading == asked.build;
        let is_under_way = is_loading || view.build == asked.build;
        let longest = self.policy.load_deadline;
        let pause = if is_under_way { longest } else { doubled(self.policy.load_retry, asked.times, longest) };
        Some(asked.last + pause)
    }

    /// Takes an event; gives what is to be done, in order.
    pub fn handle(&mut self, event: RulesEvent, now: Timestamp) -> Vec<RulesCommand> {
        let mut due = Vec::new();
        match event {
            RulesEvent::Desired(desired) => self.desired = Some(desired),
            RulesEvent::Fetched { set, promise } => self.fetched(set, promise, &mut due),
            RulesEvent::FetchFailed { build, reason, retryable } => {
                self.fetch_failed(build, &reason, retryable, now, &mut due);
            }
            RulesEvent::Heard(view) => self.heard(view, &mut due),
            RulesEvent::SensorGone => self.sensor_ended(&mut due),
            RulesEvent::Tick => {}
        }
        self.follow_desired(now, &mut due);
        self.run_errand(now, &mut due);
        self.reconcile(now, &mut due);
        due
    }

    /// The process that was asked may have ended together with the updater: another one that answers tells.
    fn heard(&mut self, view: RulesView, due: &mut Vec<RulesCommand>) {
        let handed = self.record.trial.as_ref().and_then(|trial| trial.handed_to);
        if handed.is_some_and(|run| run != view.run) {
            self.sensor_ended(due);
        }
        self.view = Some(view);
    }

    /// Only this counts against a package on trial; how often the updater ended meanwhile does not.
    fn sensor_ended(&mut self, due: &mut Vec<RulesCommand>) {
        (self.view, self.asked) = (None, None);
        if let Some(trial) = self.record.trial.as_mut().filter(|trial| trial.handed_to.is_some()) {
            (trial.handed_to, trial.ended) = (None, trial.ended.saturating_add(1));
            self.persist(due);
        }
    }

    fn persist(&self, due: &mut Vec<RulesCommand>) {
        due.push(RulesCommand::Persist(Box::new(self.record.clone())));
    }

    /// Compares what should be with the record, and takes the first step from one to the other.
    fn follow_desired(&mut self, now: Timestamp, due: &mut Vec<RulesCommand>) {
        let Some(desired) = self.desired.clone() else { return };
        let is_meant =
            |set: &RulesSet, order: &DesiredRules| set.build == order.build && set.sha256 == order.target.sha256;
        let on_trial = self.record.trial.as_ref().map(|trial| &trial.set);
        if let Some(trial) = on_trial {
            if desired.as_ref().is_some_and(|order| is_meant(trial, order)) {
                return;
            }
            // Not wanted any more, and nothing is wrong with it.
            self.end_trial(due);
        }
        let Some(order) = desired else {
            self.drop_errand(due);
            if self.record.in_effect.is_some() || self.record.failed.is_some() {
                self.record.failed = None;
                self.step_back_to(None, due);
            }
            return;
        };
        self.forget_passing_failure(order.build, due);
        if order.withdrawn.is_some() && order.withdrawn == self.record.failed.as_ref().map(|failure| failure.build) {
            self.record.failed = None;
            self.persist(due);
        }
        let in_effect = self.record.in_effect.as_ref();
        if in_effect.is_some_and(|set| is_meant(set, &order)) {
            self.drop_errand(due);
            return;
        }
        if in_effect.is_some_and(|set| set.build > order.build) {
            // Pulled back: to what this host has had before, if that is no newer than what is wanted, or to none.
            let previous = self.record.previous.clone().filter(|set| set.build <= order.build);
            self.step_back_to(previous, due);
        }
        if self.record.in_effect.as_ref().is_some_and(|set| is_meant(set, &order)) {
            self.drop_errand(due);
        } else if let Some(floor) = self.record.floor.filter(|floor| order.build < *floor) {
            self.drop_errand(due);
            let why =
                format!("it is older than {floor}, which was in effect here: publish what it holds under a newer date");
            self.note_failure(order.build, why, now, due);
        } else if self.record.is_bad(order.build, order.push) {
            self.drop_errand(due);
            if self.record.failed.as_ref().is_none_or(|failure| failure.build != order.build) {
                let why = "it was put back here before; push it to this sensor to try it again".to_owned();
                self.note_failure(order.build, why, now, due);
            }
        } else if self.errand.as_ref().is_none_or(|e| e.order.target != order.target || e.order.push != order.push) {
            self.drop_errand(due);
            let put_off = self.postponed.filter(|p| p.build == order.build && p.push == order.push && now < p.until);
            let stage = put_off.map_or(Stage::Again(now), |put_off| Stage::Rests(put_off.until));
            self.errand = Some(Errand { order, began: now, attempts: 0, stage });
        }
    }

    fn drop_errand(&mut self, due: &mut Vec<RulesCommand>) {
        if self.errand.take().is_some_and(|errand| errand.stage == Stage::Running) {
            due.push(RulesCommand::AbandonFetch);
        }
    }

    /// What was not judged broken, but could not be had, is of the past once another one is wanted.
    fn forget_passing_failure(&mut self, wanted: Timestamp, due: &mut Vec<RulesCommand>) {
        let bad = &self.record.bad;
        let is_passing = |failure: &RulesFailure| failure.build != wanted && !bad.contains_key(&failure.build);
        if self.record.failed.as_ref().is_some_and(is_passing) {
            self.record.failed = None;
            self.persist(due);
        }
    }

    /// Notes a failure once; the same again is nothing to tell.
    fn note_failure(&mut self, build: Timestamp, reason: String, now: Timestamp, due: &mut Vec<RulesCommand>) {
        let reason = in_short(&reason);
        let is_known = self.record.failed.as_ref().is_some_and(|last| last.build == build && last.reason == reason);
        if !is_known {
            self.record.failed = Some(RulesFailure { build, reason, at: now });
            self.persist(due);
        }
    }

    /// What was on trial is left; what is in effect is loaded again if the sensor has anything else.
    fn end_trial(&mut self, due: &mut Vec<RulesCommand>) {
        (self.record.trial, self.asked, self.is_untidy) = (None, None, true);
        self.persist(due);
    }

    fn step_back_to(&mut self, set: Option<RulesSet>, due: &mut Vec<RulesCommand>) {
        (self.record.in_effect, self.record.previous) = (set.clone(), None);
        (self.asked, self.is_untidy) = (None, true);
        self.persist(due);
        due.push(RulesCommand::Point(set));
    }

    /// Sends the errand on its way when it is due, and gives it up for a while when it takes too long.
    fn run_errand(&mut self, now: Timestamp, due: &mut Vec<RulesCommand>) {
        let Some(errand) = &mut self.errand else { return };
        match errand.stage {
            Stage::Running if now >= errand.began + self.policy.fetch_deadline => {
                let build = errand.order.build;
                due.push(RulesCommand::AbandonFetch);
                self.rest(build, "it could not be fetched in time; it is tried again", now, due);
            }
            Stage::Again(at) | Stage::Rests(at) if now >= at => {
                if matches!(errand.stage, Stage::Rests(_)) {
                    (errand.began, errand.attempts) = (now, 0);
                }
                errand.stage = Stage::Running;
                errand.attempts = errand.attempts.saturating_add(1);
                due.push(RulesCommand::Fetch(errand.order.clone()));
            }
            Stage::Running | Stage::Again(_) | Stage::Rests(_) => {}
        }
    }

    fn rest(&mut self, build: Timestamp, reason: &str, now: Timestamp, due: &mut Vec<RulesCommand>) {
        if let Some(errand) = &mut self.errand {
            errand.stage = Stage::Rests(now + self.policy.fetch_again_after);
        }
        self.note_failure(build, reason.to_owned(), now, due);
    }

    fn fetched(&mut self, set: RulesSet, promise: RulesPromise, due: &mut Vec<RulesCommand>) {
        let Some(errand) = self.errand.take_if(|e| e.order.build == set.build && e.order.target.sha256 == set.sha256)
        else {
            return;
        };
        self.record.trial = Some(RulesTrial { set, promise, push: errand.order.push, handed_to: None, ended: 0 });
        self.asked = None;
        self.persist(due);
    }

    fn fetch_failed(
        &mut self,
        build: Timestamp,
        reason: &str,
        retryable: bool,
        now: Timestamp,
        due: &mut Vec<RulesCommand>,
    ) {
        let Some(errand) = self.errand.as_mut().filter(|e| e.order.build == build && e.stage == Stage::Running) else {
            return;
        };
        let again = now + doubled(self.policy.fetch_retry, errand.attempts, self.policy.fetch_retry_longest);
        if retryable && again < errand.began + self.policy.fetch_deadline {
            errand.stage = Stage::Again(again);
        } else {
            self.rest(build, reason, now, due);
        }
    }

    /// Compares what the engines have with what they should have.
    fn reconcile(&mut self, now: Timestamp, due: &mut Vec<RulesCommand>) {
        let Some(view) = self.view.clone() else { return };
        if self.record.trial.is_some() {
            self.judge_trial(&view, now, due);
        }
        // A trial that has just ended leaves something to put back.
        let wanted = self.record.wanted().cloned();
        let build = wanted.as_ref().map(|set| set.build);
        if view.build == build && self.record.trial.is_none() {
            self.asked = None;
            // Not while a package arrives: its folder is there before this machine hears of it.
            let arrives = self.errand.as_ref().is_some_and(|errand| errand.stage == Stage::Running);
            if !arrives && std::mem::take(&mut self.is_untidy) {
                due.push(RulesCommand::CollectGarbage { keep: self.record.kept() });
            }
            return;
        }
        match self.asked.take_if(|asked| asked.build != build) {
            None if self.asks_again_at().is_some_and(|at| now < at) => {}
            Some(_) | None => self.ask(wanted, &view, now, due),
        }
    }

    fn ask(&mut self, set: Option<RulesSet>, view: &RulesView, now: Timestamp, due: &mut Vec<RulesCommand>) {
        if let Some(asked) = &mut self.asked {
            // The same process is asked once more.
            (asked.last, asked.times) = (now, asked.times.saturating_add(1));
            due.push(RulesCommand::Load(set));
            return;
        }
        let (build, before) = (set.as_ref().map(|set| set.build), view.running());
        self.asked = Some(Asked { build, at: now, last: now, times: 1, before });
        if let Some(trial) = self.record.trial.as_mut().filter(|trial| trial.handed_to != Some(view.run)) {
            trial.handed_to = Some(view.run);
            self.persist(due);
        }
        // If it is loading it, an updater that ended meanwhile asked for it.
        if build.is_none() || view.loading != build {
            due.push(RulesCommand::Load(set));
        }
    }

    fn judge_trial(&mut self, view: &RulesView, now: Timestamp, due: &mut Vec<RulesCommand>) {
        let Some(trial) = self.record.trial.clone() else { return };
        let Some(asked) = self.asked.clone() else {
            if trial.ended >= self.policy.load_attempts {
                let why = format!("the sensor ended {} times while it loaded this package", trial.ended);
                self.put_back(&trial, why, now, due);
            }
            return;
        };
        let is_refused = |failure: &&RulesFailure| failure.build == trial.set.build && failure.at >= asked.at;
        if let Some(refusal) = view.refused.as_ref().filter(is_refused) {
            return self.put_back(&trial, refusal.reason.clone(), now, due);
        }
        let is_in = view.build == Some(trial.set.build) && view.loading.is_none();
        let verdict = if is_in { judge_load(trial.promise, &asked.before, view) } else { Verdict::Wait };
        match verdict {
            Verdict::Kept => self.keep(trial, due),
            Verdict::Broken(why) => self.put_back(&trial, why, now, due),
            Verdict::Wait if now >= asked.at + self.policy.load_deadline => {
                let minutes = self.policy.load_deadline.as_secs() / Duration::from_secs(60).as_secs();
                if is_in {
                    let why = format!("an engine that ran before has not run with it for {minutes} minutes");
                    return self.put_back(&trial, why, now, due);
                }
                let why = format!("the engines have not loaded it within {minutes} minutes; it is tried again");
                self.postpone(&trial, why, now, due);
            }
            Verdict::Wait => {}
        }
    }

    fn keep(&mut self, trial: RulesTrial, due: &mut Vec<RulesCommand>) {
        let set = trial.set;
        (self.record.trial, self.postponed) = (None, None);
        self.record.bad.remove(&set.build);
        self.record.failed = self.record.failed.take().filter(|failure| failure.build > set.build);
        self.record.floor = self.record.floor.max(Some(set.build));
        self.record.previous = self.record.in_effect.replace(set.clone());
        (self.asked, self.is_untidy) = (None, true);
        self.persist(due);
        due.push(RulesCommand::Point(Some(set.clone())));
        due.push(RulesCommand::RaiseFloor(set));
    }

    fn put_back(&mut self, trial: &RulesTrial, reason: String, now: Timestamp, due: &mut Vec<RulesCommand>) {
        self.record.remember_bad(trial.set.build, trial.push, self.policy.bad_remembered);
        self.record.failed = Some(RulesFailure { build: trial.set.build, reason: in_short(&reason), at: now });
        self.end_trial(due);
    }

    /// No engine has judged it, so it is not bad: it is put back and tried again later, and ever later.
    fn postpone(&mut self, trial: &RulesTrial, reason: String, now: Timestamp, due: &mut Vec<RulesCommand>) {
        let (build, push) = (trial.set.build, trial.push);
        let before = self.postponed.filter(|postponed| (postponed.build, postponed.push) == (build, push));
        let rounds = before.map_or(0, |postponed| postponed.rounds).saturating_add(1);
        let until = now + doubled(self.policy.load_again_after, rounds, self.policy.load_again_longest);
        self.postponed = Some(Postponed { build, push, rounds, until });
        self.record.failed = Some(RulesFailure { build, reason, at: now });
        self.end_trial(due);
        self.follow_desired(now, due);
    }
}
