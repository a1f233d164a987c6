//! The use cases: load, ask `core`, save, audit, announce — in one transaction, the store before the memory.
//!
//! Doors (API, portal, gateway, workers) call these and never write SQL or decide anything themselves.

pub mod enrollment;
pub mod sensors;

use std::sync::Arc;

/// Everything a door needs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {}
