//! End-to-end tests: the real programs as processes, looked at from outside.

mod clones;
mod conformance;
mod connection;
mod crash_states;
mod demo;
mod directory;
mod endpoints;
mod evidence;
mod full_disk;
mod fuzz;
mod guard;
mod halt;
mod health;
mod kill;
mod least_rights;
mod live;
mod own_health;
mod restart;
mod rotation;
mod rules;
mod server_key;
mod silent;
mod simulation;
mod trust;
mod units;
mod untouched;
