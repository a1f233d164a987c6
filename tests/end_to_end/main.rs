//! End-to-end tests: the real programs as processes, looked at from outside.

mod conformance;
mod connection;
mod demo;
mod directory;
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
mod rotation;
mod rules;
mod silent;
mod trust;
mod units;
mod untouched;
