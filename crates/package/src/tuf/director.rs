//! The director repository of a control plane: which signed releases are on offer here.
//!
//! Root 2-of-3 stays with the operator; one online key signs the rest. It cannot make a host run what the image
//! repository does not name too.

use std::path::Path;

use watchpost_core::server_keys::ServerKeys;
use watchpost_core::time::Timestamp;

use crate::digest::Sha256Hex;
use crate::durable::{self, Placing};

use super::error::RepositoryError;
use super::key::SigningKey;
use super::metadata::Lifetimes;
use super::repository::{METADATA, Role, Roles, SignedTarget, Writer};

/// Root keys of a director, and how many of them must sign.
pub const DIRECTOR_ROOT_KEYS: (usize, usize) = (3, 2);
/// Largest root, in bytes.
const MAX_ROOT: u64 = 512_000;

/// A director repository and the key that keeps it fresh. One process holds it, behind one lock.
#[derive(Debug)]
pub struct Director {
    writer: Writer,
    online: SigningKey,
}

impl Director {
    /// Makes an empty director repository. The root keys are not needed again until the root is rotated.
    ///
    /// # Errors
    /// When there is one already, there are too few keys, or it cannot be written.
    pub fn create(
        dir: &Path,
        root_keys: &[SigningKey],
        online: SigningKey,
        now: Timestamp,
    ) -> Result<Self, RepositoryError> {
        let one = || Role { keys: vec![&online], threshold: 1 };
        let root = Role { keys: root_keys.iter().collect(), threshold: DIRECTOR_ROOT_KEYS.1 };
        let roles = Roles { root, targets: one(), snapshot: one(), timestamp: one() };
        let writer = Writer::create(dir, &roles, Lifetimes::DIRECTOR, now)?;
        Ok(Self { writer, online })
    }

    /// Opens the director repository in `dir`.
    ///
    /// # Errors
    /// When it is not whole or its keys do not vouch for it.
    pub fn open(dir: &Path, online: SigningKey) -> Result<Self, RepositoryError> {
        let writer = Writer::open(dir, None, Lifetimes::DIRECTOR)?;
        writer.sweep();
        Ok(Self { writer, online })
    }

    /// The digest of the first root: the part of the access key by which hosts trust this director.
    ///
    /// # Errors
    /// When the first root cannot be read.
    pub fn root_sha256(&self) -> Result<Sha256Hex, RepositoryError> {
        let path = self.writer.dir().join(METADATA).join("1.root.json");
        let bytes = durable::read_limited(&path, MAX_ROOT).map_err(RepositoryError::io(&path))?;
        Ok(Sha256Hex::of(&bytes.ok_or(RepositoryError::Absent(path))?))
    }

    /// Offers a release that the image repository names; `file` is the package, linked or copied into this repository.
    /// Offering the same again changes nothing.
    ///
    /// # Errors
    /// When the name is bad or taken by other bytes, or the disk refuses.
    pub fn add_target(&mut self, target: &SignedTarget, file: &Path, now: Timestamp) -> Result<(), RepositoryError> {
        let online = [&self.online];
        self.writer.add_target(target, (file, Placing::Link), &online, &online, now)
    }

    /// Signs snapshot and timestamp anew, and the targets when they near their end.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn resign(&mut self, now: Timestamp) -> Result<(), RepositoryError> {
        let online = [&self.online];
        self.writer.resign(Some(&online), &online, now)
    }

    /// Whether a signature is due: the last one is more than a day old.
    #[must_use]
    pub fn is_resign_due(&self, now: Timestamp) -> bool {
        self.writer.is_resign_due(now)
    }

    /// When the first document of this repository expires, the root included.
    #[must_use]
    pub fn earliest_expiry(&self) -> Timestamp {
        self.writer.earliest_expiry()
    }

    /// The keys of the server that hosts are told to trust; `None` while they know it by their access key alone.
    #[must_use]
    pub fn server_keys(&self) -> Option<&ServerKeys> {
        self.writer.server_keys()
    }

    /// Tells hosts which keys of the server to trust, under the signature that they verify everything else by.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set_server_keys(&mut self, keys: ServerKeys, now: Timestamp) -> Result<(), RepositoryError> {
        self.writer.set_server_keys(keys, &[&self.online], now)
    }

    /// The releases on offer.
    #[must_use]
    pub fn targets(&self) -> Vec<SignedTarget> {
        self.writer.targets()
    }
}
