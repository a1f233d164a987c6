//! Facts that only a collector of its own can observe, such as one on a Windows host.
//!
//! A collector writes them as JSON into the sensor's `facts.d`; the updater reads, checks and reports them. Each field
//! names the issue type it decides; what is absent was not observed.

use serde::{Deserialize, Serialize};

/// What came in through the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct DoorFacts {}

impl DoorFacts {
    /// Whether nothing came in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
