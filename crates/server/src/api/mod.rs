//! The door for scripts. It decides nothing: every route names the action it needs and calls a use case.

pub mod guard;
pub mod problem;
pub mod v1;
