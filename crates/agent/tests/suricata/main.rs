//! The packet engine against the real Suricata, with real traffic, once for every hazard that was seen.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test whose set-up fails has failed; clippy sees helpers as product code"
)]

mod lab;
mod life;
mod loading;
mod seeing;
