//! The updater on real disks, real processes and real sockets, with everything cut, torn and killed.

mod crash;
mod fake_sensor;
mod flood;
mod gateway;
pub(super) mod host;
mod peers;
mod service;
