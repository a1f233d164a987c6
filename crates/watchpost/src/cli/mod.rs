//! The operator's commands that talk to a running server over its API.

pub(crate) mod access_key;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod clones;
pub(crate) mod devices;
pub(crate) mod directory;
pub(crate) mod endpoints;
pub(crate) mod health;
pub(crate) mod output;
pub(crate) mod rollouts;
pub(crate) mod sensors;
pub(crate) mod server_key;
pub(crate) mod tokens;
pub(crate) mod trust;
