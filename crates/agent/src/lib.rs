//! What runs on a sensor host: the updater and the sensor.

pub mod engine;
pub mod evidence;
pub mod host;
pub mod host_config;
pub mod identity;
pub mod local;
pub mod rules;
pub mod sensor;
pub mod setup;
pub mod transport;
pub mod updater;
