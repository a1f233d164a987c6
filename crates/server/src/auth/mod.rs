//! Who is asking: secrets, sessions, roles, and what every answer to a browser carries.

pub mod access;
pub mod browser;
pub mod rate;
pub mod secret;
