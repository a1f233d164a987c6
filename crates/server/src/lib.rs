//! The control plane: use cases (`app`) and the doors to them (`api`, `portal`, `gateway`, `workers`).

pub mod app;
pub mod events;
pub mod gateway;
