//! The strict CAB profile: one file per folder, MSZIP, manifest first, fixed order and times, no checksum left out.
//!
//! Any cabinet tool opens what the writer makes; the reader takes nothing else. `docs/package-format.md` has the byte layout.

mod block;
mod error;
mod format;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use error::CabError;
pub use format::{MAX_RATIO, MAX_UNPACKED};
pub use reader::{Sink, read};
pub use writer::{BuildError, build};
