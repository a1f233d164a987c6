//! What runs on a sensor host: the updater and the sensor.

pub mod host_config;
pub mod identity;
pub mod local;
pub mod transport;
