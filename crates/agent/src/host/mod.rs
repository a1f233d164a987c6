//! The only code that knows the operating system: files that survive a power cut, locks, processes, facts.
//!
//! Decides nothing.

pub mod disk;
pub mod facts;
pub mod lock;
pub mod process;
pub mod watch;
