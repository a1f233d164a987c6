//! The updater service of a host: drives `core::updater`, and is the only code that may switch a version.
//!
//! Never stops a sensor because a server is silent, and never runs what two repositories have not vouched for.

mod connection;
mod courier;
mod door;
mod driver;
mod error;
mod held;
mod installation;
mod launch;
mod layout;
mod offer;
mod pace;
mod prepare;
mod programs;
mod record_store;
mod restarter;
mod rotation;
pub(crate) mod server_keys;
mod service;
mod status;
mod status_words;
mod stop;
mod successor;
mod supervisor;
#[cfg(test)]
mod tests;
mod versions;

pub(crate) use door::{Answer, Call, Order};
pub use error::{PrepareError, in_one_line};
pub use installation::Installation;
pub use launch::{Launch, LaunchError, SensorUser};
pub use layout::Layout;
pub(crate) use offer::{Offer, PACKAGE_BYTES};
pub use prepare::Preparer;
pub(crate) use programs::hash_of;
pub use programs::{ProgramError, Programs};
pub use record_store::{RecordError, RecordStore};
pub use service::{Ended, Options, ServiceError, run};
pub use status::{HostStatus, StatusError, status};
pub use stop::Stop;
pub(crate) use versions::{Look, verify_folder};
pub use versions::{SENSOR_PROGRAM, VersionError, Versions};
