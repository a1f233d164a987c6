//! Shared parts of the end-to-end tests: a demo as a child process, its hosts as a stranger sees them.

pub mod cable;
pub mod crash_states;
pub mod demo;
pub mod evidence;
pub mod faults;
pub mod fuzz;
pub mod guard;
pub mod halt;
pub mod identity;
pub mod kill;
pub mod network;
pub mod rotation;
pub mod samba;
pub mod simulation;
pub mod site;
pub mod stage;
pub mod tools;
