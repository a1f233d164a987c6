//! The catalogue of issue types as data: the documented identity and network types, and the project's own.
//!
//! Numbers of types are stable: 1011, 1018 and 1031 are documented, the others are ours (11xx identity, 12xx network,
//! 13xx our own of a sensor, 14xx the control plane's own). A number is never used again for another type.

mod auditing;
mod engine;
mod identity;
mod network;
mod server;
#[cfg(test)]
mod tests;

use super::{IssueType, Severity};
use crate::sensor::{Sensor, SensorKind};

/// What an issue of a type is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One sensor.
    Sensor,
    /// A domain, a component, the workspace.
    Global,
    /// One sensor; and as soon as several have it, one more of their domain that lists them.
    Both,
}

impl Scope {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Global => "global",
            Self::Both => "both",
        }
    }
}

/// Which generation of sensors a type is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Classic sensors alone.
    Two,
    /// Generation 3 alone.
    Three,
    /// Every one.
    All,
}

impl Generation {
    /// The word of people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Two => "2",
            Self::Three => "3",
            Self::All => "all",
        }
    }
}

/// Which sensors a type is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensors {
    /// Those on or beside domain controllers and identity servers.
    Identity,
    /// Those on network taps.
    Network,
    /// Every one.
    All,
    /// None: it is about the control plane.
    None,
}

impl Sensors {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Network => "network",
            Self::All => "all",
            Self::None => "none",
        }
    }
}

/// How the documented product files a message of a network sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// High severity here.
    Critical,
    /// Medium severity here.
    Warning,
    /// Low severity here, and nobody is less healthy for it.
    Healthy,
}

impl Category {
    /// The API's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Healthy => "healthy",
        }
    }
}

/// Where the fact behind a type comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// It is measured on Linux, or by the control plane: by what.
    By(&'static str),
    /// It only comes in through the fact door: by which field.
    Door(&'static str),
    /// Nothing feeds it: why.
    NotYet(&'static str),
}

/// Everything that is known of a type.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which.
    pub kind: IssueType,
    /// Its stable number (`issueTypeId`).
    pub id: u32,
    /// Where the documents list it, such as `identity 18a`; `None`: our own.
    pub documented: Option<&'static str>,
    /// Its word in the API.
    pub word: &'static str,
    /// What people read.
    pub title: &'static str,
    /// What it is about.
    pub scope: Scope,
    /// How bad it is.
    pub severity: Severity,
    /// How the documents file it, for messages of network sensors.
    pub category: Option<Category>,
    /// Which generation it is for.
    pub generation: Generation,
    /// Which sensors it is for.
    pub sensors: Sensors,
    /// What opens it, in words.
    pub trigger: &'static str,
    /// What it means.
    pub description: &'static str,
    /// What to do, step by step.
    pub remediation: &'static [&'static str],
    /// Commands that help, in order.
    pub commands: &'static [&'static str],
    /// Where its fact comes from.
    pub measured: Measured,
}

/// The parts of the catalogue, in the order of the documents.
const PARTS: [&[Entry]; 5] = [identity::ENTRIES, auditing::ENTRIES, network::ENTRIES, engine::ENTRIES, server::ENTRIES];

/// The whole catalogue, in the order of the documents.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    PARTS.iter().flat_map(|part| part.iter())
}

pub(super) fn entry(kind: IssueType) -> &'static Entry {
    // The catalogue holds every type (a test says so); the other only closes the type.
    entries().find(|entry| entry.kind == kind).unwrap_or(&engine::ENGINE_NOT_RUNNING)
}

pub(super) fn of_word(word: &str) -> Option<&'static Entry> {
    entries().find(|entry| entry.word == word)
}

impl Entry {
    /// Whether the type is for a sensor of this kind and generation.
    #[must_use]
    pub fn is_for(&self, kind: SensorKind, generation: u32) -> bool {
        let is_kind = match self.sensors {
            Sensors::Identity => !kind.is_network(),
            Sensors::Network => kind.is_network(),
            Sensors::All => true,
            Sensors::None => false,
        };
        let is_generation = match self.generation {
            Generation::Two => generation < 3 || kind.is_network(),
            Generation::Three => generation == 3 && !kind.is_network(),
            Generation::All => true,
        };
        is_kind && is_generation
    }

    /// Whether an open issue of it makes its sensor less healthy.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.category != Some(Category::Healthy)
    }
}

/// The generation of a sensor: that of its version; one that has not said any is classic.
pub(super) fn generation(sensor: &Sensor) -> u32 {
    sensor.version().map_or(2, crate::version::Version::generation)
}
