//! Correlation rules: how often, how many different, which together and in which order, within a span of event time.
//!
//! Compiles and judges with rsigma; keeps the windows itself, because they must be bounded, survive a restart and feed
//! correlations of correlations. Reads no clock: an event's own time drives every window.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use rsigma_eval::correlation::{WindowDecision, apply_window_open, compile_correlation};
use rsigma_eval::{CompiledCorrelation, Event, EventValue, GroupKey, WindowState};
use rsigma_parser::{ConditionOperator, CorrelationRule, CorrelationType, WindowMode};
use serde::{Deserialize, Serialize};

use super::super::Match;

/// The most groups that are counted at a time, over all rules; the ones that were quiet longest are forgotten first.
const GROUPS: usize = 10_000;
/// The most hits that are kept at a time, over all groups.
const HITS: usize = 50_000;
/// The most hits that are kept of one group; a rule that asks for more is refused.
const HITS_OF_GROUP: usize = 1_000;
/// The longest text that is kept of a value that is counted or grouped by; of a longer one, its hash.
const VALUE_LIMIT: usize = 64;
/// How many correlations may rest on one another.
const DEPTH: usize = 8;

/// A correlation rule, and where it came from.
pub(super) struct Watched {
    pub(super) id: String,
    pub(super) file: String,
    /// Over the texts of its file and of those it refers to: what was counted under another wording does not count.
    pub(super) fingerprint: String,
    compiled: CompiledCorrelation,
}

impl Watched {
    pub(super) fn compile(rule: &CorrelationRule, file: &str) -> Result<Self, String> {
        let id = rule.id.clone().ok_or("the rule has no id")?;
        let mut compiled = compile_correlation(rule).map_err(|error| error.to_string())?;
        if compiled.rule_refs.is_empty() {
            return Err("the correlation refers to no rule".to_owned());
        }
        if compiled.correlation_type == CorrelationType::Temporal
            && compiled.extended_expr.is_none()
            && compiled.condition.predicates == [(ConditionOperator::Gte, 1.0)]
        {
            // What rsigma takes for a missing condition; Sigma means that all of the rules must have matched.
            #[expect(clippy::cast_precision_loss, reason = "a handful of rules")]
            let all = compiled.rule_refs.iter().collect::<BTreeSet<_>>().len() as f64;
            compiled.condition.predicates = vec![(ConditionOperator::Gte, all)];
        }
        let is_counted = matches!(
            compiled.correlation_type,
            CorrelationType::EventCount | CorrelationType::ValueCount | CorrelationType::ValuePercentile
        );
        #[expect(clippy::cast_precision_loss, reason = "the limit is small")]
        let is_beyond = |(operator, threshold): &(ConditionOperator, f64)| {
            matches!(operator, ConditionOperator::Gt | ConditionOperator::Gte | ConditionOperator::Eq)
                && *threshold > HITS_OF_GROUP as f64
        };
        if is_counted && compiled.condition.predicates.iter().any(is_beyond) {
            return Err(format!("it counts beyond {HITS_OF_GROUP}, the most that this sensor keeps of one group"));
        }
        if compiled.correlation_type == CorrelationType::ValueCount && compiled.condition.field.is_none() {
            return Err("value_count names no field to count".to_owned());
        }
        Ok(Self { id, file: file.to_owned(), fingerprint: String::new(), compiled })
    }

    pub(super) fn refs(&self) -> &[String] {
        &self.compiled.rule_refs
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.compiled.name.as_deref()
    }

    pub(super) fn generates(&self) -> bool {
        self.compiled.generate
    }

    fn span(&self) -> i64 {
        millis(self.compiled.timespan_secs)
    }

    /// How long a group is left alone after its alert: whoever goes on is reported again after that.
    fn quiet(&self) -> i64 {
        self.compiled.suppress_secs.map_or_else(|| self.span(), millis)
    }
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000).min(i64::MAX / 4)
}

/// What one group has seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    window: WindowState,
    /// The time of its latest event.
    last: i64,
    /// The time of the event that completed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fired: Option<i64>,
}

/// What all groups of one rule have seen, as it is kept on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    fingerprint: String,
    groups: Vec<(GroupKey, Group)>,
}

/// What is kept on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    version: u32,
    correlations: BTreeMap<String, Kept>,
}

/// The form of [`State`].
const STATE_VERSION: u32 = 1;

/// All correlation rules and their windows.
#[derive(Default)]
pub(super) struct Book {
    watched: Vec<Watched>,
    by_ref: HashMap<String, Vec<usize>>,
    groups: HashMap<(usize, GroupKey), Group>,
    hits: usize,
    is_changed: bool,
}

/// Something that a correlation may refer to and that has just happened.
struct Happened<'s> {
    id: &'s str,
    name: Option<&'s str>,
}

impl Book {
    pub(super) fn add(&mut self, watched: Watched) {
        let number = self.watched.len();
        for reference in watched.refs() {
            let numbers = self.by_ref.entry(reference.clone()).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
        self.watched.push(watched);
    }

    pub(super) fn is_watched(&self, id: &str, name: Option<&str>) -> bool {
        self.by_ref.contains_key(id) || name.is_some_and(|name| self.by_ref.contains_key(name))
    }

    /// Counts that the rule `id` matched `event` at `at` (milliseconds), and says what this completed.
    pub(super) fn count(&mut self, event: &impl Event, at: i64, id: &str, name: Option<&str>) -> Vec<Match> {
        let mut completed = Vec::new();
        for number in self.watching(&Happened { id, name }) {
            let Some(watched) = self.watched.get(number) else { continue };
            let refs: Vec<&str> = std::iter::once(id).chain(name).collect();
            let key = GroupKey::extract(event, &watched.compiled.group_by, &refs);
            let Some(key) = shortened(key) else { continue };
            let values = watched.compiled.condition.field.as_deref().unwrap_or_default();
            let Some(hit) = Hit::of(watched, event, values, &refs) else { continue };
            self.take(number, key, at, &hit, &mut completed, 0);
        }
        self.keep_within_limits(at);
        completed
    }

    fn watching(&self, happened: &Happened<'_>) -> Vec<usize> {
        let named = happened.name.and_then(|name| self.by_ref.get(name)).into_iter().flatten();
        let mut numbers: Vec<usize> =
            self.by_ref.get(happened.id).into_iter().flatten().chain(named).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn take(&mut self, number: usize, key: GroupKey, at: i64, hit: &Hit, completed: &mut Vec<Match>, depth: usize) {
        let Some(watched) = self.watched.get(number) else { return };
        let kind = watched.compiled.correlation_type;
        let fresh = || Group { window: WindowState::new_for(kind), last: at, fired: None };
        let group = self.groups.entry((number, key.clone())).or_insert_with(fresh);
        let is_quiet = group.fired.is_some_and(|fired| at.abs_diff(fired) < watched.quiet().unsigned_abs());
        if is_quiet {
            return;
        }
        self.is_changed = true;
        let before = size(&group.window);
        let Some(value) = group.push(watched, at, hit) else {
            self.hits = self.hits.saturating_sub(before).saturating_add(size(&group.window));
            return;
        };
        group.window.clear();
        group.fired = Some(at);
        self.hits = self.hits.saturating_sub(before);
        let pairs = key.to_pairs(&watched.compiled.group_by);
        let (id, name) = (watched.id.clone(), watched.compiled.name.clone());
        completed.push(watched.as_match(&pairs, value));
        if depth >= DEPTH {
            return;
        }
        for above in self.watching(&Happened { id: &id, name: name.as_deref() }) {
            let Some(watched) = self.watched.get(above) else { continue };
            let key = GroupKey::from_pairs(&pairs, &watched.compiled.group_by);
            let Some(hit) = Hit::of_correlation(watched, &pairs, &id, name.as_deref()) else { continue };
            if key.0.iter().all(Option::is_some) {
                self.take(above, key, at, &hit, completed, depth.saturating_add(1));
            }
        }
    }

    fn keep_within_limits(&mut self, at: i64) {
        if self.groups.len() <= GROUPS && self.hits <= HITS {
            return;
        }
        let watched = &self.watched;
        self.groups.retain(|(number, _), group| {
            watched
                .get(*number)
                .is_some_and(|watched| at.saturating_sub(group.last) <= watched.span().max(watched.quiet()))
        });
        self.hits = self.groups.values().map(|group| size(&group.window)).sum();
        // Down to nine tenths, so that this is not done for every event.
        let (groups, hits) = (GROUPS / 10 * 9, HITS / 10 * 9);
        if self.groups.len() <= groups && self.hits <= hits {
            return;
        }
        let mut oldest: Vec<(i64, usize, GroupKey)> =
            self.groups.iter().map(|((number, key), group)| (group.last, *number, key.clone())).collect();
        oldest.sort_by(|a, b| (a.0, a.1, &a.2.0).cmp(&(b.0, b.1, &b.2.0)));
        for (_, number, key) in oldest {
            if self.groups.len() <= groups && self.hits <= hits {
                break;
            }
            if let Some(gone) = self.groups.remove(&(number, key)) {
                self.hits = self.hits.saturating_sub(size(&gone.window));
            }
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(super) fn settled(&mut self) {
        self.is_changed = false;
    }

    /// Everything that was counted.
    pub(super) fn state(&self) -> Vec<u8> {
        let mut correlations: BTreeMap<String, Kept> = BTreeMap::new();
        for ((number, key), group) in &self.groups {
            let Some(watched) = self.watched.get(*number) else { continue };
            let kept = correlations.entry(watched.id.clone()).or_default();
            kept.fingerprint.clone_from(&watched.fingerprint);
            kept.groups.push((key.clone(), group.clone()));
        }
        for kept in correlations.values_mut() {
            kept.groups.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0));
        }
        serde_json::to_vec(&State { version: STATE_VERSION, correlations }).unwrap_or_default()
    }

    /// Goes on from what was counted before, for rules that are the same as then.
    pub(super) fn restore(&mut self, state: &[u8]) {
        let Ok(mut state) = serde_json::from_slice::<State>(state) else { return };
        if state.version != STATE_VERSION {
            return;
        }
        for (number, watched) in self.watched.iter().enumerate() {
            let Some(kept) = state.correlations.remove(&watched.id) else { continue };
            if kept.fingerprint != watched.fingerprint {
                continue;
            }
            let form = std::mem::discriminant(&WindowState::new_for(watched.compiled.correlation_type));
            for (key, group) in kept.groups {
                if std::mem::discriminant(&group.window) == form && key.0.len() == watched.compiled.group_by.len() {
                    self.groups.insert((number, key), group);
                }
            }
        }
        // Whatever was counted since it was last made durable is still to be made durable.
        self.is_changed = true;
        self.hits = self.groups.values().map(|group| size(&group.window)).sum();
        let latest = self.groups.values().map(|group| group.last).max().unwrap_or_default();
        self.keep_within_limits(latest);
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.groups.len(), self.hits)
    }
}

impl Watched {
    fn as_match(&self, pairs: &[(String, String)], value: f64) -> Match {
        Match {
            rule_id: self.id.clone(),
            rule_title: self.compiled.title.clone(),
            level: self.compiled.level.map_or("medium", |level| level.as_str()).to_owned(),
            rule_file: self.file.clone(),
            correlation: Some(super::super::Correlation { group: pairs.iter().cloned().collect(), value }),
        }
    }
}

/// What one event adds to a window.
enum Hit {
    Event,
    Value(String),
    Number(f64),
    /// The word under which the correlation refers to the rule.
    Rule(String),
}

impl Hit {
    fn of(watched: &Watched, event: &impl Event, fields: &[String], refs: &[&str]) -> Option<Self> {
        match watched.compiled.correlation_type {
            CorrelationType::EventCount => Some(Self::Event),
            CorrelationType::ValueCount => {
                let values: Option<Vec<String>> =
                    fields.iter().map(|field| event.get_field(field).and_then(|value| plain(&value))).collect();
                Some(Self::Value(short(&values?.join("\u{1f}"))))
            }
            CorrelationType::Temporal | CorrelationType::TemporalOrdered => Self::of_rule(watched, refs),
            CorrelationType::ValueSum
            | CorrelationType::ValueAvg
            | CorrelationType::ValuePercentile
            | CorrelationType::ValueMedian => event.get_field(fields.first()?)?.as_f64().map(Self::Number),
        }
    }

    /// A correlation below has nothing but its group: what else is asked for is not there.
    fn of_correlation(watched: &Watched, pairs: &[(String, String)], id: &str, name: Option<&str>) -> Option<Self> {
        match watched.compiled.correlation_type {
            CorrelationType::EventCount => Some(Self::Event),
            CorrelationType::Temporal | CorrelationType::TemporalOrdered => {
                Self::of_rule(watched, &std::iter::once(id).chain(name).collect::<Vec<_>>())
            }
            CorrelationType::ValueCount => {
                let fields = watched.compiled.condition.field.as_deref().unwrap_or_default();
                let value = |field: &String| pairs.iter().find(|(key, _)| key == field).map(|(_, value)| value.clone());
                let values: Option<Vec<String>> = fields.iter().map(value).collect();
                Some(Self::Value(short(&values?.join("\u{1f}"))))
            }
            CorrelationType::ValueSum
            | CorrelationType::ValueAvg
            | CorrelationType::ValuePercentile
            | CorrelationType::ValueMedian => None,
        }
    }

    fn of_rule(watched: &Watched, refs: &[&str]) -> Option<Self> {
        let found = watched.refs().iter().find(|reference| refs.contains(&reference.as_str()))?;
        Some(Self::Rule(found.clone()))
    }
}

impl Group {
    /// Adds a hit; the value that completed the rule, if it did.
    fn push(&mut self, watched: &Watched, at: i64, hit: &Hit) -> Option<f64> {
        let compiled = &watched.compiled;
        let span = watched.span();
        // Hits from far ahead were dated by a clock that has been set right since; they must not wait for it.
        retain(&mut self.window, |hit| hit <= at.saturating_add(span));
        let (mode, gap) = (compiled.window_mode, compiled.gap_secs.map(|gap| millis(gap).unsigned_abs()));
        let opened = apply_window_open(&mut self.window, at, span.unsigned_abs(), mode, gap);
        if opened == WindowDecision::Discard {
            return None;
        }
        if mode == WindowMode::Sliding {
            retain(&mut self.window, |hit| hit >= at.saturating_sub(span));
        }
        self.last = self.last.max(at);
        match hit {
            Hit::Event => self.window.push_event_count(at),
            Hit::Value(value) => {
                self.forget_value(value, mode);
                self.window.push_value_count(at, value.clone());
            }
            Hit::Number(number) => self.window.push_numeric(at, *number),
            Hit::Rule(reference) => self.window.push_temporal(at, reference),
        }
        bound(&mut self.window);
        let judge = |kind| {
            self.window.check_condition(&compiled.condition, kind, &compiled.rule_refs, compiled.extended_expr.as_ref())
        };
        match (compiled.correlation_type, &self.window) {
            (CorrelationType::TemporalOrdered, WindowState::Temporal { rule_hits }) => {
                let is_held = compiled.extended_expr.is_none() || judge(CorrelationType::Temporal).is_some();
                #[expect(clippy::cast_precision_loss, reason = "a handful of rules")]
                (is_held && in_order(&compiled.rule_refs, rule_hits)).then_some(compiled.rule_refs.len() as f64)
            }
            (kind, _) => judge(kind),
        }
    }

    /// Of equal values only the latest counts, so only that is kept; the first hit also tells when a session began.
    fn forget_value(&mut self, value: &str, mode: WindowMode) {
        if let WindowState::ValueCount { entries } = &mut self.window {
            let mut number = 0_usize;
            entries.retain(|(_, known)| {
                number = number.saturating_add(1);
                known != value || (number == 1 && mode == WindowMode::Session)
            });
        }
    }
}

/// Whether there is a hit of each rule, none before the one of the rule before.
fn in_order(refs: &[String], hits: &HashMap<String, VecDeque<i64>>) -> bool {
    let mut not_before = i64::MIN;
    for reference in refs {
        let earliest = hits.get(reference).and_then(|times| times.iter().filter(|at| **at >= not_before).min());
        match earliest {
            Some(at) => not_before = *at,
            None => return false,
        }
    }
    true
}

fn retain(window: &mut WindowState, keeps: impl Fn(i64) -> bool) {
    match window {
        WindowState::EventCount { timestamps } => timestamps.retain(|at| keeps(*at)),
        WindowState::ValueCount { entries } => entries.retain(|(at, _)| keeps(*at)),
        WindowState::NumericAgg { entries } => entries.retain(|(at, _)| keeps(*at)),
        WindowState::Temporal { rule_hits } => {
            rule_hits.values_mut().for_each(|times| times.retain(|at| keeps(*at)));
            rule_hits.retain(|_, times| !times.is_empty());
        }
    }
}

fn bound(window: &mut WindowState) {
    fn cut<T>(hits: &mut VecDeque<T>) {
        while hits.len() > HITS_OF_GROUP {
            hits.pop_front();
        }
    }
    match window {
        WindowState::EventCount { timestamps } => cut(timestamps),
        WindowState::ValueCount { entries } => cut(entries),
        WindowState::NumericAgg { entries } => cut(entries),
        WindowState::Temporal { rule_hits } => rule_hits.values_mut().for_each(cut),
    }
}

fn size(window: &WindowState) -> usize {
    match window {
        WindowState::EventCount { timestamps } => timestamps.len(),
        WindowState::ValueCount { entries } => entries.len(),
        WindowState::NumericAgg { entries } => entries.len(),
        WindowState::Temporal { rule_hits } => rule_hits.values().map(VecDeque::len).sum(),
    }
}

/// The group of an event that has all of its fields; events that lack one have nothing in common.
fn shortened(key: GroupKey) -> Option<GroupKey> {
    let values: Option<Vec<Option<String>>> =
        key.0.into_iter().map(|value| value.map(|text| Some(short(&text)))).collect();
    values.map(GroupKey)
}

fn short(text: &str) -> String {
    if text.len() <= VALUE_LIMIT {
        return text.to_owned();
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let hash: String = hex::encode(digest).chars().take(32).collect();
    format!("sha256:{hash}")
}

fn plain(value: &EventValue<'_>) -> Option<String> {
    value.as_str().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests;
