//! One repository followed on its own, with no director beside it: what `tuf-client` does for a conformance suite.
//!
//! The client, the store, the limits and the floor are a host's own. What only two repositories can agree on is absent,
//! and so is the floor of time, which a director sets. No host installs anything by this.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, SHA512};
use sigstore_tuf::{TargetFile, TrustedMetadataSet};
use watchpost_core::time::Timestamp;

use crate::digest::Sha256Hex;
use crate::durable;

use super::floor::{FloorHealth, LoneFloor, Sunk};
use super::judge::{Follower, Trust};
use super::mailbox::Fetched;
use super::store::{DurableStore, Kept};

/// The first root, as it was given; the root that the client has come to stands in `root.json`.
const PINNED_ROOT: &str = "pinned-root";
/// Largest root, in bytes.
const MAX_ROOT: u64 = 512_000;

/// Why a repository that is followed on its own is not believed.
#[derive(Debug, thiserror::Error)]
pub enum LoneError {
    /// A file of the folder cannot be read or written.
    #[error("{path} cannot be read or written; check the folder and free some space")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no first root yet.
    #[error("{0} has no first root: run `init` with one")]
    NoRoot(PathBuf),
    /// Both copies of the floor are gone.
    #[error("the rollback floor in {0} is lost: look at the disk, then begin with an empty folder")]
    FloorLost(PathBuf),
    /// The repository is refused, or could not be fetched.
    #[error("the repository is refused")]
    Refused(#[source] Box<sigstore_tuf::Error>),
    /// A document is older than one that was seen.
    #[error("the {role} went back from {floor} to {offered}: ask for the newest metadata")]
    Rollback {
        /// Which document.
        role: &'static str,
        /// The highest version seen.
        floor: u64,
        /// The version offered.
        offered: u64,
    },
    /// Nobody whose word counts names the target.
    #[error("no role names the target “{0}”: check its name")]
    NotNamed(String),
    /// No hash of the target is of a kind that is known.
    #[error("the target “{0}” has neither a SHA-256 nor a SHA-512 hash, so nothing can be proven of it")]
    NoHash(String),
}

impl LoneError {
    fn refused(error: sigstore_tuf::Error) -> Self {
        Self::Refused(Box::new(error))
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

impl From<(PathBuf, io::Error)> for LoneError {
    fn from((path, source): (PathBuf, io::Error)) -> Self {
        Self::Io { path, source }
    }
}

/// One repository, and the folder in which is kept what was believed of it.
pub struct Lone {
    dir: PathBuf,
    store: DurableStore,
    floor: LoneFloor,
    follower: Follower,
}

impl Lone {
    /// Begins to trust: keeps the first root in the folder `dir`, which must not have one yet.
    ///
    /// # Errors
    /// When it is no root that its own keys vouch for, or the folder cannot be written.
    pub fn init(dir: &Path, root: &[u8]) -> Result<(), LoneError> {
        TrustedMetadataSet::from_root(root).map_err(LoneError::refused)?;
        durable::make_private_dir(dir).map_err(LoneError::io(dir))?;
        LoneFloor::fresh(Sha256Hex::of(root)).save(dir)?;
        for name in ["root.json", PINNED_ROOT] {
            let path = dir.join(name);
            durable::write_atomic(&path, root, 0o600).map_err(LoneError::io(&path))?;
        }
        Ok(())
    }

    /// Goes on from what the folder `dir` holds.
    ///
    /// # Errors
    /// When it has no first root, its floor is lost, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, LoneError> {
        let path = dir.join(PINNED_ROOT);
        let pinned = durable::read_limited(&path, MAX_ROOT).map_err(LoneError::io(&path))?;
        let pinned = pinned.ok_or_else(|| LoneError::NoRoot(dir.to_owned()))?;
        durable::sweep(dir);
        let floor = match LoneFloor::load(dir) {
            (Some(floor), FloorHealth::Intact | FloorHealth::OneCopyLost | FloorHealth::Lost) => floor,
            (None, _) => return Err(LoneError::FloorLost(dir.to_owned())),
        };
        let store = DurableStore::open(dir, Kept::Delegations).map_err(LoneError::io(dir))?;
        let trust = Trust { pinned: &pinned, store: store.clone() };
        let follower = Follower::new(trust).map_err(LoneError::refused)?;
        Ok(Self { dir: dir.to_owned(), store, floor, follower })
    }

    /// Fetches and judges the metadata by `now`. `fetch` gets a file's name and the most bytes to read; `Ok(None)`: no
    /// such file.
    ///
    /// # Errors
    /// When anything is not to be believed, or cannot be kept.
    pub fn refresh(&mut self, fetch: &mut dyn FnMut(&str, u64) -> Fetched, now: Timestamp) -> Result<(), LoneError> {
        let judged = self.follower.refresh(fetch, now);
        let judged = self.kept(judged)?;
        let mut raised = self.floor.with(&judged).map_err(rollback)?;
        if raised != self.floor {
            raised.save(&self.dir)?;
            self.floor = raised;
        }
        Ok(())
    }

    /// Looks for a target, through delegations if need be. Only after a refresh.
    ///
    /// # Errors
    /// When nobody names it, or a role on the way is not to be believed.
    pub fn find(
        &mut self,
        name: &str,
        fetch: &mut dyn FnMut(&str, u64) -> Fetched,
        now: Timestamp,
    ) -> Result<LoneTarget, LoneError> {
        let found = self.follower.find(name, fetch, now);
        let found = self.kept(found)?.ok_or_else(|| LoneError::NotNamed(name.to_owned()))?;
        LoneTarget::new(name, found, self.follower.has_consistent_snapshots())
    }

    /// What was verified must be kept, or the next run could be led back.
    fn kept<T>(&self, judged: sigstore_tuf::Result<T>) -> Result<T, LoneError> {
        let judged = judged.map_err(LoneError::refused)?;
        match self.store.take_failure() {
            Some(source) => Err(LoneError::Io { path: self.dir.clone(), source }),
            None => Ok(judged),
        }
    }
}

fn rollback(sunk: Sunk) -> LoneError {
    LoneError::Rollback { role: sunk.role, floor: sunk.floor, offered: sunk.offered }
}

/// A target that the repository vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoneTarget {
    /// Where its bytes lie in the repository.
    pub place: String,
    /// How many there are.
    pub length: u64,
    hashes: BTreeMap<&'static str, Vec<u8>>,
}

impl LoneTarget {
    fn new(name: &str, found: TargetFile, has_prefix: bool) -> Result<Self, LoneError> {
        let no_hash = || LoneError::NoHash(name.to_owned());
        let mut hashes = BTreeMap::new();
        for algorithm in ["sha256", "sha512"] {
            if let Some(text) = found.hashes.get(algorithm) {
                hashes.insert(algorithm, hex::decode(text).map_err(|_| no_hash())?);
            }
        }
        let (_, first) = hashes.first_key_value().ok_or_else(no_hash)?;
        let place = match (has_prefix, name.rsplit_once('/')) {
            (false, _) => name.to_owned(),
            (true, Some((folder, file))) => format!("{folder}/{}.{file}", hex::encode(first)),
            (true, None) => format!("{}.{name}", hex::encode(first)),
        };
        Ok(Self { place, length: found.length, hashes })
    }

    /// Weighs bytes that are said to be this target.
    #[must_use]
    pub fn weigh(&self) -> Weigher<'_> {
        Weigher { target: self, length: 0, sha256: Context::new(&SHA256), sha512: Context::new(&SHA512) }
    }
}

/// Takes the bytes of a target as they come.
pub struct Weigher<'a> {
    target: &'a LoneTarget,
    length: u64,
    sha256: Context,
    sha512: Context,
}

impl Weigher<'_> {
    /// The next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        self.sha256.update(bytes);
        self.sha512.update(bytes);
    }

    /// Whether these were all the bytes of the target and no others: every hash that is known must match.
    #[must_use]
    pub fn is_it(self) -> bool {
        let is = [("sha256", self.sha256.finish()), ("sha512", self.sha512.finish())];
        let matches = |(algorithm, is): &(&str, aws_lc_rs::digest::Digest)| {
            let wanted = self.target.hashes.get(algorithm);
            wanted.is_none_or(|wanted| verify_slices_are_equal(wanted, is.as_ref()).is_ok())
        };
        self.length == self.target.length && is.iter().all(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Repo;
    use crate::tuf::testing::World;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    #[test]
    fn one_repository_is_followed_and_its_targets_are_weighed() {
        let mut world = World::new(NOW);
        let signed = world.release("sensor-2.255.1.0.cab", 1, NOW);
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Lone::open(dir.path()), Err(LoneError::NoRoot(_))));
        assert!(matches!(Lone::init(dir.path(), b"{}"), Err(LoneError::Refused(_))));
        Lone::init(dir.path(), &world.read(Repo::Image, "1.root.json").unwrap()).unwrap();
        let mut lone = Lone::open(dir.path()).unwrap();
        let mut fetch = |name: &str, _: u64| Ok(world.read(Repo::Image, name));
        assert!(lone.find(&signed.name, &mut fetch, NOW).is_err(), "not before a refresh");
        lone.refresh(&mut fetch, NOW).unwrap();
        let target = lone.find(&signed.name, &mut fetch, NOW).unwrap();
        assert_eq!((target.length, target.place), (signed.length, format!("{}.{}", signed.sha256, signed.name)));
        let bytes = std::fs::read(world.package(&signed.name)).unwrap();
        let weigh = |parts: &[&[u8]]| {
            let target = LoneTarget::clone(&lone.find(&signed.name, &mut fetch, NOW).unwrap());
            let mut weigher = target.weigh();
            parts.iter().for_each(|part| weigher.add(part));
            weigher.is_it()
        };
        let mut weigh = weigh;
        assert!(weigh(&[&bytes[..7], &bytes[7..]]));
        assert!(!weigh(&[&bytes[..7]]) && !weigh(&[&bytes, b"x"]) && !weigh(&[&vec![0; bytes.len()]]));
        assert!(matches!(lone.find("none", &mut fetch, NOW), Err(LoneError::NotNamed(_))));
    }

    #[test]
    fn a_lost_floor_is_told() {
        let world = World::new(NOW);
        let dir = tempfile::tempdir().unwrap();
        Lone::init(dir.path(), &world.read(Repo::Image, "1.root.json").unwrap()).unwrap();
        for slot in ["floor.0", "floor.1"] {
            std::fs::remove_file(dir.path().join(slot)).unwrap();
        }
        assert!(matches!(Lone::open(dir.path()), Err(LoneError::FloorLost(_))));
    }
}
