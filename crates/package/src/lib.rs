//! The release package and its trust: strict CAB, TUF repositories, verification, extraction.
//!
//! Promises never to look inside a package whose hash two repositories have not vouched for.

pub mod cab;
mod contents;
mod digest;
mod durable;
pub mod extract;
pub mod manifest;
pub mod mirror;
pub mod path;
pub mod trust;
pub mod tuf;

pub use contents::{Contents, ContentsError, Signed};
pub use digest::{Sha256Hex, hash_reader};
pub use extract::{ExtractError, PackageInfo, described, extract, extract_opened, inspect};
pub use manifest::{FileEntry, Manifest};
pub use mirror::{Mirror, MirrorError, Published, verify_folder, verify_published};
pub use path::{PackagePath, PathError};
pub use trust::{Approved, FetchError, Fetched, FloorHealth, Refreshed, Repo, TrustConfig, Verifier, VerifyError};
pub use tuf::{Director, ImageAuthor, RepositoryError, SigningKey};
