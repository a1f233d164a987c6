//! What a host believes: two repositories, judged by sigstore-tuf, over a floor of our own that never sinks.
//!
//! Never approves a package on one repository's word, nor by the host's own clock.

mod error;
mod floor;
mod judge;
mod lone;
mod mailbox;
mod store;
mod verifier;

#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod server_keys_tests;
#[cfg(test)]
mod tests;

pub use error::VerifyError;
pub use floor::{Floor, FloorHealth, RepositoryFloor, RoleFloor};
pub(crate) use judge::{Judged, Trust, judge};
pub use lone::{Lone, LoneError, LoneTarget, Weigher};
pub use mailbox::{FetchError, Fetched};
pub(crate) use store::KeepNothing;
pub use verifier::{Approved, Refreshed, Repo, TrustConfig, Verifier};
