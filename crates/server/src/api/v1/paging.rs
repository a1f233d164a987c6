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
