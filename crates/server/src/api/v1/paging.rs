//! `$top` and `$skip`, as OData spells them, and lists as Graph answers them.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::problem::Problem;

/// Most rows in one answer.
pub(super) const MAX_TOP: usize = 1_000;
/// Rows in an answer to a request that does not say.
const DEFAULT_TOP: usize = 1_000;

/// The options of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    #[serde(rename = "$top")]
    pub(super) top: Option<usize>,
    #[serde(rename = "$skip")]
    pub(super) skip: Option<usize>,
    #[serde(rename = "$count")]
    pub(super) count: Option<bool>,
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) top: usize,
    pub(super) skip: usize,
    has_count: bool,
}

/// The page that was asked for.
pub(super) fn page(options: Result<Query<Options>, QueryRejection>) -> Result<Page, Problem> {
    let refuse = |why: String| Problem::new(StatusCode::BAD_REQUEST, "badQuery", why);
    let Query(options) = options.map_err(|error| refuse(format!("{error}; $top, $skip and $count are understood")))?;
    page_of(&options)
}

/// The page of options that were read.
pub(super) fn page_of(options: &Options) -> Result<Page, Problem> {
    let refuse = |why: String| Problem::new(StatusCode::BAD_REQUEST, "badQuery", why);
    let top = options.top.unwrap_or(DEFAULT_TOP);
    if top == 0 || top > MAX_TOP {
        return Err(refuse(format!("$top is {top}; ask for 1 to {MAX_TOP} rows")));
    }
    Ok(Page { top, skip: options.skip.unwrap_or(0), has_count: options.count.unwrap_or(false) })
}

/// A part of a list that goes on after the last row it gave, wherever others came in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) top: u32,
    pub(super) skip: u32,
}

/// A query that is not understood.
pub(super) fn bad_query(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "badQuery", why)
}

/// The page that was asked for by `$top` and `$skip`.
pub(super) fn keyed(top: Option<usize>, skip: Option<usize>) -> Result<Keyed, Problem> {
    let top = top.unwrap_or(DEFAULT_TOP);
    if top == 0 || top > MAX_TOP {
        return Err(bad_query(format!("$top is {top}; ask for 1 to {MAX_TOP} rows")));
    }
    let whole = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Keyed { top: whole(top), skip: whole(skip.unwrap_or(0)) })
}

impl Keyed {
    /// Leaves the rows of the page; whether there were more.
    pub(super) fn cut<T>(self, rows: &mut Vec<T>) -> bool {
        let top = usize::try_from(self.top).unwrap_or(usize::MAX);
        let has_more = rows.len() > top;
        rows.truncate(top);
        has_more
    }
}

/// A page as Graph answers it.
pub(super) fn answer(value: Vec<Value>, count: Option<u64>, next: Option<String>) -> Value {
    let mut answer = json!({ "value": value });
    if let Some(fields) = answer.as_object_mut() {
        fields.extend(count.map(|count| ("@odata.count".to_owned(), json!(count))));
        fields.extend(next.map(|next| ("@odata.nextLink".to_owned(), json!(next))));
    }
    answer
}

/// Where the page after the row `last` is, with the same filters.
pub(super) fn link(path: &str, page: Keyed, last: &str, filters: &[(&str, &Option<String>)]) -> String {
    let given = filters.iter().filter_map(|(name, value)| Some(format!("&{name}={}", encoded(value.as_ref()?))));
    format!("/api/v1/{path}?$top={}&$skiptoken={}{}", page.top, encoded(last), given.collect::<String>())
}

/// A value of a query, percent-encoded where it must be.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let write = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(write).collect()
}

impl Page {
    /// The rows of the page; `path` is where the next one is asked for.
    pub(super) fn cut<T>(self, rows: &[T], path: &str, write: impl Fn(&T) -> Value) -> Value {
        self.cut_with(rows, path, "", write)
    }

    /// The same where `filter`, such as `status=open&`, belongs into the address of the next page.
    pub(super) fn cut_with<T>(self, rows: &[T], path: &str, filter: &str, write: impl Fn(&T) -> Value) -> Value {
        let value: Vec<_> = rows.iter().skip(self.skip).take(self.top).map(write).collect();
        let mut answer = json!({ "value": value });
        let after = self.skip.saturating_add(self.top);
        if let Some(fields) = answer.as_object_mut() {
            if self.has_count {
                fields.insert("@odata.count".to_owned(), json!(rows.len()));
            }
            if after < rows.len() {
                let next = format!("/api/v1/{path}?{filter}$top={}&$skip={after}", self.top);
                fields.insert("@odata.nextLink".to_owned(), json!(next));
            }
        }
        answer
    }
}
