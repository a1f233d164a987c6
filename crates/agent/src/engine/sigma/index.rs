//! Which rules can match an event at all, by what wrote it and by its id.
//!
//! Leaves a rule out only if its condition cannot hold: an event whose kind or id is not plain is given every rule.

use std::collections::{BTreeSet, HashMap};

use rsigma_eval::matcher::{CompiledMatcher, GroupMode};
use rsigma_eval::{CompiledDetection, CompiledDetectionItem, CompiledRule};
use rsigma_parser::{ConditionExpr, LogSource, Quantifier};

use super::event::{AuditEvent, Channel, Kind};
use super::tree::canonical;

/// The most kinds of events whose candidates are remembered.
const REMEMBERED: usize = 4_096;

/// What a field must hold for a rule to match; `None`: anything, also nothing.
type Needs = Option<BTreeSet<String>>;

/// What one rule needs of an event.
struct Outline {
    source: LogSource,
    samba_type: Needs,
    windows_id: Needs,
    /// In the order of [`SAMBA`].
    samba_ids: Vec<Needs>,
}

/// The kinds of Samba's events.
const SAMBA: [Kind; 5] =
    [Kind::Authentication, Kind::Authorization, Kind::PasswordChange, Kind::GroupChange, Kind::DsdbChange];

/// The id of an event, as far as it tells rules apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Id {
    Plain(i64),
    Absent,
    /// Neither a number nor the digits of one: leaves no rule out.
    Odd,
}

/// The outlines of all rules, and what they gave so far.
pub(super) struct Index {
    outlines: Vec<Outline>,
    remembered: HashMap<(Kind, Id), Vec<usize>>,
}

impl Index {
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a CompiledRule>) -> Self {
        Self { outlines: rules.map(outline).collect(), remembered: HashMap::new() }
    }

    /// The numbers of the rules that may match, in their order.
    pub(super) fn candidates(&mut self, event: &AuditEvent<'_>) -> &[usize] {
        let (kind, id) = (event.kind(), id(event));
        if self.remembered.len() >= REMEMBERED && !self.remembered.contains_key(&(kind, id)) {
            self.remembered.clear();
        }
        let outlines = &self.outlines;
        self.remembered.entry((kind, id)).or_insert_with(|| {
            let fitting = outlines.iter().enumerate().filter(|(_, outline)| outline.fits(kind, id));
            fitting.map(|(number, _)| number).collect()
        })
    }
}

fn id(event: &AuditEvent<'_>) -> Id {
    match event.id() {
        None => Id::Absent,
        Some(node) => node.int().map_or(Id::Odd, Id::Plain),
    }
}

impl Outline {
    fn fits(&self, kind: Kind, id: Id) -> bool {
        let needs = match kind {
            Kind::Other => return true,
            Kind::Windows(channel) => {
                if !self.is_of("windows") || !self.is_in(channel) {
                    return false;
                }
                &self.windows_id
            }
            Kind::Authentication
            | Kind::Authorization
            | Kind::PasswordChange
            | Kind::GroupChange
            | Kind::DsdbChange => {
                let word = kind.samba_type().unwrap_or_default().to_lowercase();
                if !self.is_of("samba") || self.samba_type.as_ref().is_some_and(|types| !types.contains(&word)) {
                    return false;
                }
                let number = SAMBA.iter().position(|samba| *samba == kind);
                match number.and_then(|number| self.samba_ids.get(number)) {
                    Some(needs) => needs,
                    None => return true,
                }
            }
        };
        match (needs, id) {
            (None, _) | (_, Id::Odd) => true,
            (Some(_), Id::Absent) => false,
            (Some(values), Id::Plain(id)) => values.contains(&id.to_string()),
        }
    }

    fn is_of(&self, product: &str) -> bool {
        self.source.product.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(product))
    }

    /// Whether a rule for this service looks at that channel. A service without a channel of its own looks at all.
    fn is_in(&self, channel: Channel) -> bool {
        let service = self.source.service.as_deref().unwrap_or_default().to_ascii_lowercase();
        let own = match service.as_str() {
            "security" => Channel::Security,
            "system" => Channel::System,
            "application" => Channel::Application,
            "sysmon" => Channel::Sysmon,
            _ => return true,
        };
        // An event that names no channel of ours may be of any.
        channel == own || channel == Channel::Other
    }
}

fn outline(rule: &CompiledRule) -> Outline {
    let needs = |field: &str| any_of(rule.conditions.iter().map(|condition| of_condition(rule, condition, field)));
    let ids = SAMBA.iter().map(|kind| needs(&format!("{}.eventId", kind.samba_type().unwrap_or_default())));
    Outline {
        source: rule.logsource.clone(),
        samba_type: needs("type"),
        windows_id: needs("EventID"),
        samba_ids: ids.collect(),
    }
}

/// What holds if at least one of these does.
fn any_of(alternatives: impl Iterator<Item = Needs>) -> Needs {
    let mut values = BTreeSet::new();
    let mut is_empty = true;
    for needs in alternatives {
        values.extend(needs?);
        is_empty = false;
    }
    (!is_empty).then_some(values)
}

/// What holds if all of these do: any one that says something will do.
fn all_of(mut parts: impl Iterator<Item = Needs>) -> Needs {
    parts.find_map(|needs| needs)
}

fn of_condition(rule: &CompiledRule, condition: &ConditionExpr, field: &str) -> Needs {
    match condition {
        ConditionExpr::And(parts) => all_of(parts.iter().map(|part| of_condition(rule, part, field))),
        ConditionExpr::Or(parts) => any_of(parts.iter().map(|part| of_condition(rule, part, field))),
        ConditionExpr::Not(_) => None,
        ConditionExpr::Identifier(name) => of_detection(rule.detections.get(name)?, field),
        // “0 of” holds without any; “all of” and “1 of” need at least one of those that the pattern selects.
        ConditionExpr::Selector { quantifier: Quantifier::Count(0), .. } => None,
        ConditionExpr::Selector { pattern, .. } => {
            let selected = rule.detections.iter().filter(|(name, _)| pattern.matches_detection_name(name));
            any_of(selected.map(|(_, detection)| of_detection(detection, field)))
        }
    }
}

fn of_detection(detection: &CompiledDetection, field: &str) -> Needs {
    match detection {
        CompiledDetection::AllOf(items) => all_of(items.iter().map(|item| of_item(item, field))),
        CompiledDetection::AnyOf(parts) => any_of(parts.iter().map(|part| of_detection(part, field))),
        CompiledDetection::And(parts) => all_of(parts.iter().map(|part| of_detection(part, field))),
        CompiledDetection::Keywords(_)
        | CompiledDetection::ArrayMatch { .. }
        | CompiledDetection::Conditional { .. } => None,
    }
}

fn of_item(item: &CompiledDetectionItem, field: &str) -> Needs {
    (item.field.as_deref() == Some(field) && item.exists.is_none()).then(|| of_matcher(&item.matcher))?
}

fn of_matcher(matcher: &CompiledMatcher) -> Needs {
    match matcher {
        CompiledMatcher::Exact { value, .. } => of_text(value),
        #[expect(clippy::cast_possible_truncation, reason = "only whole numbers far below the limit come here")]
        CompiledMatcher::NumericEq(number) => {
            let is_plain = number.fract() == 0.0 && (0.0..1.0e15).contains(number);
            is_plain.then(|| BTreeSet::from([(*number as i64).to_string()]))
        }
        CompiledMatcher::AnyOf(children) => any_of(children.iter().map(of_matcher)),
        CompiledMatcher::AllOf(children) => all_of(children.iter().map(of_matcher)),
        CompiledMatcher::CaseInsensitiveGroup { children, mode: GroupMode::Any } => {
            any_of(children.iter().map(of_matcher))
        }
        CompiledMatcher::CaseInsensitiveGroup { children, mode: GroupMode::All } => {
            all_of(children.iter().map(of_matcher))
        }
        CompiledMatcher::Contains { .. }
        | CompiledMatcher::StartsWith { .. }
        | CompiledMatcher::EndsWith { .. }
        | CompiledMatcher::Regex(_)
        | CompiledMatcher::AhoCorasickSet { .. }
        | CompiledMatcher::RegexSetMatch { .. }
        | CompiledMatcher::Cidr(_)
        | CompiledMatcher::NumericGt(_)
        | CompiledMatcher::NumericGte(_)
        | CompiledMatcher::NumericLt(_)
        | CompiledMatcher::NumericLte(_)
        | CompiledMatcher::Exists(_)
        | CompiledMatcher::FieldRef { .. }
        | CompiledMatcher::Null
        | CompiledMatcher::BoolEq(_)
        | CompiledMatcher::Expand { .. }
        | CompiledMatcher::TimestampPart { .. }
        | CompiledMatcher::Not(_) => None,
    }
}

/// A text, if it is one that only itself equals: letters of ASCII, or a number in its shortest form.
fn of_text(value: &str) -> Needs {
    let is_number = value.parse::<f64>().is_ok();
    let is_plain = value.is_ascii() && (!is_number || canonical(value).is_some());
    is_plain.then(|| BTreeSet::from([value.to_ascii_lowercase()]))
}
