//! What of the fleet the grid shows: found, filtered, sorted, cut into pages. All of it stands in the address.

use std::cmp::Ordering;

use serde::Deserialize;

use super::mark::Mark;
use super::view::{Count, SensorView};

/// Rows on one page of the grid.
pub const ROWS_PER_PAGE: usize = 100;
/// Most characters that are looked for.
const MAX_QUERY: usize = 100;
/// Most rows that a page asks for at once to replace them.
pub const MAX_LIVE_ROWS: usize = 2 * ROWS_PER_PAGE;

/// The query part of the grid's address. Whatever it does not know it ignores.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Grid {
    /// Part of a name or domain.
    pub q: String,
    /// Slug of a sensor status.
    pub status: String,
    /// Slug of a health status.
    pub health: String,
    /// Slug of a column.
    pub sort: String,
    /// `desc` for downwards.
    pub dir: String,
    /// From 1.
    pub page: usize,
}

/// The head of one column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What it says.
    pub word: &'static str,
    /// Sorts by it, or the other way round.
    pub href: String,
    /// `ascending`, `descending` or empty.
    pub sort: &'static str,
    /// Whether it holds numbers.
    pub number: bool,
}

/// Links to the pages before and after.
#[derive(Clone, Debug)]
pub struct Pager {
    /// Which rows these are.
    pub words: String,
    /// Empty on the first page.
    pub previous: String,
    /// Empty on the last page.
    pub next: String,
}

type Compare = fn(&SensorView, &SensorView) -> Ordering;

/// Slug, words, and how to sort by it.
const COLUMNS: [(&str, &str, Compare); 13] = [
    ("name", "Name", |a, b| a.name.cmp(&b.name)),
    ("status", "Sensor status", |a, b| a.status.rank().cmp(&b.status.rank())),
    ("service", "Service status", |a, b| a.service.rank().cmp(&b.service.rank())),
    ("health", "Health status", |a, b| a.health.rank().cmp(&b.health.rank())),
    ("issues", "Open health issues", |a, b| a.open_issues.cmp(&b.open_issues)),
    ("version", "Version", |a, b| a.version_key().cmp(&b.version_key())),
    ("delayed", "Delayed update", |a, b| a.delayed.cmp(&b.delayed)),
    ("contact", "Last contact", |a, b| a.last_contact.map(|w| w.at).cmp(&b.last_contact.map(|w| w.at))),
    ("waiting", "Waiting for", |a, b| a.waiting.cmp(&b.waiting)),
    ("type", "Type", |a, b| a.kind.cmp(b.kind)),
    ("domain", "Domain", |a, b| a.domain.cmp(&b.domain)),
    ("migration", "Migration state", |a, b| a.migration.rank().cmp(&b.migration.rank())),
    ("created", "Created", |a, b| a.created.at.cmp(&b.created.at)),
];

impl Mark {
    /// Its word as it stands in addresses: `up-to-date`.
    #[must_use]
    pub fn slug(&self) -> String {
        let parts = self.word.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
    }

    fn rank(&self) -> impl Ord + use<> {
        (self.tone, self.word)
    }
}

impl SensorView {
    fn version_key(&self) -> Vec<u64> {
        self.version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    }
}

impl Grid {
    /// Whether every sensor is shown.
    #[must_use]
    pub fn is_unfiltered(&self) -> bool {
        self.q.is_empty() && self.status.is_empty() && self.health.is_empty()
    }

    /// The heads of all columns.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let sorted_by = if self.sort.is_empty() { "name" } else { &self.sort };
        let head = |(slug, word, _): &(&'static str, &'static str, Compare)| {
            let (sort, dir) = match (*slug == sorted_by, self.is_descending()) {
                (false, _) => ("", ""),
                (true, false) => ("ascending", "desc"),
                (true, true) => ("descending", ""),
            };
            let href = Self { sort: (*slug).to_owned(), dir: dir.to_owned(), page: 0, ..self.clone() }.href();
            Column { word, href, sort, number: *slug == "issues" }
        };
        COLUMNS.iter().map(head).collect()
    }

    fn is_descending(&self) -> bool {
        self.dir == "desc"
    }

    /// What the search form carries along.
    #[must_use]
    pub fn hidden(&self) -> Vec<(&'static str, &str)> {
        let all = [("status", &*self.status), ("health", &*self.health), ("sort", &*self.sort), ("dir", &*self.dir)];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// This grid's address.
    #[must_use]
    pub fn href(&self) -> String {
        let mut query: Vec<String> = Vec::new();
        for (name, value) in [("q", &*self.q)].into_iter().chain(self.hidden()) {
            if !value.is_empty() {
                query.push(format!("{name}={}", percent_encoded(value)));
            }
        }
        if self.page > 1 {
            query.push(format!("page={}", self.page));
        }
        if query.is_empty() { "/sensors".to_owned() } else { format!("/sensors?{}", query.join("&")) }
    }

    /// The counts with the address that filters by each, and whether this grid does.
    #[must_use]
    pub fn with_filters(&self, counts: Vec<Count>, of_health: bool) -> Vec<Count> {
        let link = |mut count: Count| {
            let slug = count.mark.slug();
            let mut to = Self { page: 0, ..self.clone() };
            let field = if of_health { &mut to.health } else { &mut to.status };
            count.chosen = *field == slug;
            *field = if count.chosen { String::new() } else { slug };
            count.href = to.href();
            count
        };
        counts.into_iter().map(link).collect()
    }

    /// The rows of this page, in order, and the way to the others.
    #[must_use]
    pub fn page_of(&self, mut sensors: Vec<SensorView>) -> (Vec<SensorView>, Option<Pager>) {
        let wanted: String = self.q.chars().take(MAX_QUERY).flat_map(char::to_lowercase).collect();
        sensors.retain(|sensor| {
            let found =
                || sensor.name.to_lowercase().contains(&wanted) || sensor.domain.to_lowercase().contains(&wanted);
            (self.status.is_empty() || sensor.status.slug() == self.status)
                && (self.health.is_empty() || sensor.health.slug() == self.health)
                && (wanted.is_empty() || found())
        });
        let by_name: Compare = |a, b| a.name.cmp(&b.name);
        let compare = COLUMNS.iter().find(|(slug, ..)| *slug == self.sort).map_or(by_name, |(.., compare)| *compare);
        sensors.sort_by(|a, b| {
            let order = compare(a, b);
            let order = if self.is_descending() { order.reverse() } else { order };
            order.then_with(|| a.name.cmp(&b.name)).then_with(|| a.id.cmp(&b.id))
        });
        let total = sensors.len();
        let last = total.div_ceil(ROWS_PER_PAGE).max(1);
        let page = self.page.clamp(1, last);
        let first = (page - 1) * ROWS_PER_PAGE;
        let rows: Vec<_> = sensors.into_iter().skip(first).take(ROWS_PER_PAGE).collect();
        let to = |page: usize| Self { page, ..self.clone() }.href();
        let pager = (last > 1).then(|| Pager {
            words: format!("{} to {} of {total}", first + 1, first + rows.len()),
            previous: if page > 1 { to(page - 1) } else { String::new() },
            next: if page < last { to(page + 1) } else { String::new() },
        });
        (rows, pager)
    }
}

/// How many rows are in each state, best known first; states nobody is in are left out.
#[must_use]
pub fn counts(sensors: &[SensorView], of: fn(&SensorView) -> Mark) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    for sensor in sensors {
        let mark = of(sensor);
        match counts.iter_mut().find(|count| count.mark == mark) {
            Some(count) => count.count += 1,
            None => counts.push(Count { mark, count: 1, href: String::new(), chosen: false }),
        }
    }
    counts.sort_by_key(|count| (count.mark.tone, count.mark.word));
    counts
}

/// A value as it stands in the query part of an address.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
