//! Styles, scripts and the icon, embedded as they are written. One hash over all of them stands in their addresses,
//! so that a browser may keep them for ever and still never shows an old one.

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

/// How much of the hash stands in addresses: enough to tell builds apart.
const HASH_BYTES: usize = 8;
/// A year: the address changes whenever the content does.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ALL: [Asset; 6] = [
    Asset { name: "tokens.css", content_type: CSS, content: include_str!("assets/tokens.css") },
    Asset { name: "portal.css", content_type: CSS, content: include_str!("assets/portal.css") },
    Asset { name: "parts.css", content_type: CSS, content: include_str!("assets/parts.css") },
    Asset { name: "live.js", content_type: SCRIPT, content: include_str!("assets/live.js") },
    Asset { name: "sign-in.js", content_type: SCRIPT, content: include_str!("assets/sign-in.js") },
    Asset { name: "icon.svg", content_type: "image/svg+xml", content: include_str!("assets/icon.svg") },
];

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut all = digest::Context::new(&digest::SHA256);
    ALL.iter().for_each(|asset| all.update(asset.content.as_bytes()));
    let mut text = String::new();
    for byte in all.finish().as_ref().iter().take(HASH_BYTES) {
        let _ = write!(text, "{byte:02x}");
    }
    text
});

/// The hash over all assets, as it stands in their addresses.
#[must_use]
pub fn hash() -> &'static str {
    &HASH
}

/// Answers `/assets/{hash}/{name}`. A page of an older build gets today's file, but may not keep it.
pub async fn get(Path((hash, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ALL.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let keep = if hash == *HASH { FOR_EVER } else { "no-store" };
    ([(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, keep)], asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_readable_source_that_loads_nothing_from_elsewhere() {
        for asset in ALL {
            assert!(asset.content.lines().all(|line| line.len() <= 300), "{} is minified", asset.name);
            assert!(asset.content.lines().count() <= 400, "{} is too long", asset.name);
            let elsewhere = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:"), "{}", asset.name);
            assert!(!asset.content.contains("@import") && !asset.content.contains("url("), "{}", asset.name);
        }
        let script_lines: usize =
            ALL.iter().filter(|a| a.content_type == SCRIPT).map(|a| a.content.lines().count()).sum();
        assert!(script_lines <= 200, "{script_lines} lines of script");
    }
}
