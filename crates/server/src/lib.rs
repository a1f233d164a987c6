//! The control plane: use cases (`app`) and the doors to them (`api`, `portal`, `gateway`, `workers`).

pub mod api;
pub mod app;
pub mod auth;
pub mod config;
mod directory;
pub mod events;
pub mod folder;
pub mod founding;
pub mod gateway;
pub mod lifecycle;
mod lingering;
pub mod metrics;
pub mod pages;
mod patience;
pub mod portal;
#[cfg(test)]
mod testing;
pub mod trust;
pub mod web;
mod workers;
