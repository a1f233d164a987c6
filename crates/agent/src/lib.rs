//! What runs on a sensor host: the updater and the sensor.

pub mod connection_check;
pub mod documented;
pub mod engine;
pub mod evidence;
pub mod guard;
pub mod host;
pub mod host_config;
pub mod identity;
pub mod launcher;
pub mod local;
pub mod proxy_config;
pub mod rules;
pub mod sensor;
pub mod setup;
pub mod transport;
pub mod tuf_client;
pub mod uninstall;
pub mod unpack;
pub mod update_file;
pub mod updater;
