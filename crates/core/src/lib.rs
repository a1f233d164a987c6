//! Everything that decides, as pure functions of `(state, event, now)`.
//!
//! No clock, no randomness, no I/O. See `ARCHITECTURE.md` for the map.

pub mod access_key;
pub mod catalogue;
pub mod clones;
pub mod connection;
pub mod content;
pub mod directory;
pub mod evidence;
pub mod facts;
pub mod guard;
pub mod health;
pub mod id;
pub mod identity;
pub mod intake;
pub mod own_health;
pub mod policy;
pub mod rehearsal;
pub mod release;
pub mod restart;
pub mod rollout;
pub mod sensor;
pub mod server_keys;
pub mod settings;
pub mod succession;
pub mod sync;
pub mod time;
pub mod trust;
pub mod updater;
pub mod version;
