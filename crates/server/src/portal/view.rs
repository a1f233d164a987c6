//! What the pages show, as plain values. No page reads the fleet itself; `mapping.rs` fills these.

use super::mark::{Mark, Shape, Tone};
use super::when::When;

/// Why something is as it is, and what would change it.
#[derive(Clone, Debug)]
pub struct Why {
    /// What is explained: `Sensor status`, `Health status`, …
    pub about: &'static str,
    /// Its state.
    pub mark: Mark,
    /// The reason.
    pub because: String,
    /// What would change it; empty where nothing needs to.
    pub changes: String,
}

impl Why {
    /// Whether all is well there, or nothing is known.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        matches!((self.mark.tone, self.mark.shape), (Tone::Ok, _) | (_, Shape::Dashed))
    }
}

/// One row of the grid.
#[derive(Clone, Debug)]
pub struct SensorView {
    /// Id in text.
    pub id: String,
    /// NetBIOS name.
    pub name: String,
    /// Type in words.
    pub kind: &'static str,
    /// FQDN of its domain.
    pub domain: String,
    /// `site / zone`.
    pub place: String,
    /// Where it is on the way to generation 3.
    pub migration: Mark,
    /// The process on its host.
    pub service: Mark,
    /// The sensor as a whole.
    pub status: Mark,
    /// What it runs; empty before the first report.
    pub version: String,
    /// Whether it belongs to the delayed ring.
    pub delayed: bool,
    /// Worst open severity.
    pub health: Mark,
    /// How many health issues are open.
    pub open_issues: usize,
    /// When it was enrolled.
    pub created: When,
    /// When it was last heard of.
    pub last_contact: Option<When>,
    /// What it waits for, in words; empty if for nothing.
    pub waiting: String,
    /// Whether it detects right now.
    pub watching: bool,
    /// One reason per state of the row.
    pub whys: Vec<Why>,
}

impl SensorView {
    /// The reasons worth having at hand in the grid: its status, and whatever is not as it should be.
    pub fn brief_whys(&self) -> impl Iterator<Item = &Why> {
        self.whys.iter().enumerate().filter(|(i, why)| *i == 0 || !why.is_calm()).map(|(_, why)| why)
    }
}

/// So many of one state.
#[derive(Clone, Debug)]
pub struct Count {
    /// The state.
    pub mark: Mark,
    /// How many.
    pub count: usize,
    /// The same as a filter of the grid; empty where it cannot be filtered by.
    pub href: String,
    /// Whether the grid is filtered by it.
    pub chosen: bool,
}

/// A bar of counts; the parts are percentages of its width.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// From left to right.
    pub parts: Vec<BarPart>,
    /// The same in words.
    pub label: String,
}

/// One part of a bar.
#[derive(Clone, Debug)]
pub struct BarPart {
    /// Where it starts, in percent.
    pub x: f64,
    /// How wide it is, in percent.
    pub width: f64,
    /// Its colour.
    pub tone: &'static str,
    /// What it says on hover.
    pub title: String,
}

impl Bar {
    /// The bar of these counts. Empty counts take no room.
    #[must_use]
    pub fn of(counts: &[Count]) -> Self {
        let total: usize = counts.iter().map(|c| c.count).sum();
        let mut bar = Self::default();
        let mut x = 0.0;
        for part in counts.iter().filter(|c| c.count > 0) {
            let title = format!("{} {}", part.count, part.mark.word);
            let width = percent(part.count, total);
            bar.parts.push(BarPart { x, width, tone: part.mark.tone.class(), title });
            x += width;
        }
        bar.label = bar.parts.iter().map(|p| p.title.as_str()).collect::<Vec<_>>().join(", ");
        bar
    }
}

/// `part` of `whole` in percent, for drawing.
#[expect(clippy::cast_precision_loss, reason = "a picture; counts stay far below 2^52")]
#[must_use]
pub fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 10_000.0 / whole as f64).round() / 100.0 }
}

/// A rollout as lanes and cells.
#[derive(Clone, Debug)]
pub struct StripView {
    /// Which release.
    pub version: String,
    /// `Minor`, `Major`, `Hotfix`.
    pub kind: &'static str,
    /// Where it stands.
    pub state: Mark,
    /// Why it stands there; empty if that needs no reason.
    pub because: String,
    /// When its release was published: where the time axis starts.
    pub published: When,
    /// Sensors by state.
    pub counts: Vec<Count>,
    /// The same as a bar.
    pub bar: Bar,
    /// Rings, in the order in which they go.
    pub lanes: Vec<LaneView>,
    /// What holds the delayed ring, if there is such a ring.
    pub gate: Option<GateView>,
    /// Who is being updated.
    pub in_flight: Vec<FlightView>,
}

impl StripView {
    /// Whether the gate still holds.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| !gate.left.is_empty())
    }
}

/// Up to so many cells a lane spells out their names.
pub const NAMED_CELLS: usize = 16;
/// Up to so many cells a lane draws every one of them; beyond, a bar by state.
pub const DRAWN_CELLS: usize = 600;

/// One ring.
#[derive(Clone, Debug)]
pub struct LaneView {
    /// `Automatic` or `Delayed`.
    pub name: &'static str,
    /// Whether it lies behind the gate.
    pub delayed: bool,
    /// How far it is, in words.
    pub note: String,
    /// Its sensors.
    pub cells: Vec<CellView>,
    /// Its sensors by state.
    pub bar: Bar,
}

impl LaneView {
    /// Whether there is room for names.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.cells.len() <= NAMED_CELLS
    }

    /// Whether there is room for cells.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.cells.len() <= DRAWN_CELLS
    }
}

/// One sensor in a ring.
#[derive(Clone, Debug)]
pub struct CellView {
    /// Id in text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is with this release.
    pub mark: Mark,
    /// More on that; may be empty.
    pub note: String,
}

/// The gate before the delayed ring.
#[derive(Clone, Debug)]
pub struct GateView {
    /// How long it holds: `72 h`.
    pub span: String,
    /// When it opens or opened.
    pub opens: When,
    /// How much of the time has passed, in percent.
    pub passed: f64,
    /// What is left, in words; empty once it is open.
    pub left: String,
    /// Where on the axis ticks stand, in percent, and what they say.
    pub ticks: Vec<(f64, String)>,
}

/// A sensor that is being updated.
#[derive(Clone, Debug)]
pub struct FlightView {
    /// Id in text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub step: Mark,
    /// Since when.
    pub since: When,
    /// What it waits for.
    pub waits_for: String,
}

/// A health issue.
#[derive(Clone, Debug)]
pub struct IssueView {
    /// Id in text.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// How bad it is.
    pub severity: Mark,
    /// Whether it is open.
    pub open: bool,
    /// Id and name of its sensor; `None` for one of the whole workspace.
    pub sensor: Option<(String, String)>,
    /// What an issue of the workspace is about; empty for one of a sensor.
    pub subject: String,
    /// Until when nobody wants to hear of it.
    pub suppressed: Option<When>,
    /// What was seen one by one, where there are several.
    pub details: Vec<String>,
    /// What happened.
    pub what: String,
    /// What to do.
    pub advice: String,
    /// Since when.
    pub opened: When,
    /// When it was closed.
    pub closed: Option<When>,
}

/// A step in a sensor's update history.
#[derive(Clone, Debug)]
pub struct HistoryView {
    /// When.
    pub at: When,
    /// What.
    pub mark: Mark,
    /// Which version.
    pub version: String,
    /// Why, if that is known.
    pub reason: String,
}

/// A fact of a sensor: label and value.
#[derive(Clone, Debug)]
pub struct FactView {
    /// What.
    pub label: &'static str,
    /// Its value.
    pub value: Value,
}

/// The value of a fact.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text as it is.
    Text(String),
    /// Text a program reads: a hash, an id, a version.
    Code(String),
    /// An instant.
    Time(When),
    /// A state.
    State(Mark),
}

/// A rollout as a row.
#[derive(Clone, Debug)]
pub struct RolloutRow {
    /// Which release.
    pub version: String,
    /// Where it stands.
    pub state: Mark,
    /// Why; may be empty.
    pub because: String,
    /// Cleared, failed, skipped, pending.
    pub cleared: u32,
    /// Went back or never came through.
    pub failed: u32,
    /// Left out for a reason.
    pub skipped: u32,
    /// Still to come, those in flight included.
    pub pending: u32,
    /// When its release was published.
    pub published: When,
}

/// A release as a row.
#[derive(Clone, Debug)]
pub struct ReleaseRow {
    /// Its version.
    pub version: String,
    /// `Minor`, `Major`, `Hotfix`.
    pub kind: &'static str,
    /// When it was published.
    pub published: When,
    /// When it was pulled back.
    pub pulled_back: Option<When>,
    /// SHA-256 of its package, in full.
    pub sha256: String,
    /// Length of its package in words.
    pub length: String,
    /// How many sensors run it.
    pub runs_on: usize,
    /// What its author says.
    pub notes: String,
}

impl ReleaseRow {
    /// The first digits of the hash, for the eye.
    #[must_use]
    pub fn short_hash(&self) -> &str {
        self.sha256.get(..12).unwrap_or(&self.sha256)
    }
}

/// A row of the audit log.
#[derive(Clone, Debug)]
pub struct AuditView {
    /// Its number, without gaps.
    pub seq: u64,
    /// When.
    pub at: When,
    /// Who.
    pub actor: String,
    /// The same with every id.
    pub actor_in_full: String,
    /// What, as a word.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The same with every id.
    pub subject_in_full: String,
    /// Before, as text; may be empty.
    pub before: String,
    /// After, as text; may be empty.
    pub after: String,
    /// Why; may be empty.
    pub reason: String,
}
