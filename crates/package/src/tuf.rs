//! Writing TUF repositories: the image repository of a release author and the director repository of a control plane.
//!
//! Reading somebody else's repository is not here but in `trust` and `mirror`, and it is sigstore-tuf that judges.

mod director;
mod error;
mod expiry;
mod image;
mod key;
mod metadata;
mod name;
mod repository;
mod rotation;

#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use director::{DIRECTOR_ROOT_KEYS, Director};
pub use error::RepositoryError;
pub use expiry::{DocumentExpiry, expiries};
pub use image::{IMAGE_ROOT_KEYS, IMAGE_TARGETS_KEYS, ImageAuthor};
pub use key::{KeyError, SigningKey};
pub use metadata::{DAY, ISSUED_FIELD, Lifetimes, SERVER_KEYS_FIELD, YEAR};
pub(crate) use metadata::{issued_at, named_server_keys, to_jiff};
pub use name::{MAX_TARGET_NAME, is_target_name, target_file};
pub(crate) use repository::{METADATA, TARGETS, signed_target};
pub use repository::{Role, Roles, SignedTarget, Writer};
pub use rotation::{Rotated, rotate_director};
